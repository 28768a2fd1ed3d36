//! What the figures were taken on.

use crate::Fault;
use crate::options::Options;
use margo_e2e::{Engine, Settings};
use serde_json::{Value, json};
use std::thread::available_parallelism;

/// Processor, memory, kernel, engine, docker compose.
///
/// # Errors
/// `/proc` is not readable.
pub(crate) async fn facts(options: &Options) -> Result<Value, Fault> {
    let read = |path: &str| {
        std::fs::read_to_string(path).map_err(|error| Fault::from(format!("{path}: {error}")))
    };
    let line = |text: &str, name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
        found.map(|(_, value)| value.trim().to_owned())
    };
    let load = read("/proc/loadavg")?;
    Ok(json!({
        "cores": available_parallelism()?.get(),
        "processor": line(&read("/proc/cpuinfo")?, "model name"),
        "architecture": std::env::consts::ARCH,
        "memory": line(&read("/proc/meminfo")?, "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease")?.trim(),
        "load_average_at_end": load.split(' ').take(3).collect::<Vec<_>>(),
        "engine": engine().await,
        "docker_compose": compose(options).await,
    }))
}

async fn engine() -> Option<Value> {
    let socket = Settings::default().engine_socket;
    std::os::unix::net::UnixStream::connect(&socket).ok()?;
    let version = Engine::on(&socket).api().await.version().await.ok()?;
    Some(json!({ "release": version.version, "api": version.api_version }))
}

async fn compose(options: &Options) -> Option<String> {
    let program = options.compose.as_ref()?;
    let output = tokio::process::Command::new(program).args(["version", "--short"]).output().await;
    Some(String::from_utf8_lossy(&output.ok()?.stdout).trim().to_owned())
}
