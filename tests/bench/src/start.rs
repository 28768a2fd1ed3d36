//! From the start of the process to `READY=1`.

use crate::Fault;
use crate::options::Options;
use crate::process::{Log, Process};
use crate::samples::{Samples, as_ms};
use crate::scene::Scene;
use serde_json::{Map, Value};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

/// Longest wait for the message.
const PATIENCE: Duration = Duration::from_secs(10);

/// `start_ready_ms`, with the scene's deployments held and running.
///
/// # Errors
/// The agent does not get ready.
pub(crate) async fn measure(scene: &Scene, options: &Options) -> Result<Map<String, Value>, Fault> {
    let rounds = options.pick(10, 30);
    crate::say(&format!("start: {rounds} times"));
    let path = scene.root().join("notify");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut samples = Samples::default();
    for _ in 0..rounds {
        let began = Instant::now();
        let process = Process::start_notifying(options, scene.root(), Log::Kept, path.as_os_str())?;
        samples.push(as_ms(wait_for_ready(&socket, began)?));
        process.kill().await?;
    }
    std::fs::remove_file(&path)?;
    Ok(Map::from_iter([("start_ready_ms".to_owned(), samples.to_json())]))
}

fn wait_for_ready(socket: &UnixDatagram, began: Instant) -> Result<Duration, Fault> {
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).map_err(|error| format!("no READY=1: {error}"))?;
        let elapsed = began.elapsed();
        let message = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
        if message.lines().any(|line| line == "READY=1") {
            return Ok(elapsed);
        }
    }
}
