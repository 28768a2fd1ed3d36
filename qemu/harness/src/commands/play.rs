//! `margo-qemu run`: a device to play with.

use crate::cli::Play;
use crate::error::{Doing as _, Outcome, Trouble};
use crate::project::Project;
use crate::run::timeline::say;
use crate::run::world::World;
use margo_lab::control::ControlServer;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

const BOOT_MAX: Duration = Duration::from_secs(300);

pub(super) fn run(
    project: &Project,
    play: &Play,
    runtime: &tokio::runtime::Handle,
) -> Outcome<bool> {
    project.require_image()?;
    let dir = project.run_dir("play");
    let mut world = World::new(project, dir, 0, runtime.clone())?;
    for forward in &play.forward {
        world.forwards.push(ports(forward)?);
    }
    match &play.from {
        Some(name) => world.device_from(name)?,
        None => {
            world.device_new(play.memory, play.cpus, None, None)?;
            if !play.unprovisioned {
                world.plug_config_drive(None)?;
            }
            say("booting");
            world.boot(true, BOOT_MAX)?;
        }
    }
    if let Some(command) = &play.command {
        let ran = world.vm()?.probe.run(command, BOOT_MAX)?;
        say(ran.output.trim_end());
        world.end(false)?;
        return Ok(ran.exit == 0);
    }
    let lab = Arc::clone(world.lab()?);
    let control = runtime.block_on(ControlServer::open(lab)).doing("the lab's control socket")?;
    tell(&world)?;
    console(&mut world)?;
    drop(control);
    world.end(false)?;
    Ok(true)
}

fn ports(text: &str) -> Outcome<(u16, u16)> {
    let parse = |text: &str| text.parse::<u16>().ok();
    let both = text.split_once(':').and_then(|(host, guest)| Some((parse(host)?, parse(guest)?)));
    both.ok_or_else(|| Trouble::new(format!("--forward {text}: write HOST:GUEST, such as 8080:80")))
}

fn tell(world: &World) -> Outcome {
    let endpoints = world.lab()?.endpoints();
    say(&format!("fleet manager  {} (for the device)", endpoints.wfm_url));
    say(&format!("registry       {}", endpoints.registry));
    let lab = world.dir.join("lab");
    say(&format!("lab commands   target/debug/margo-lab --dir {} …", lab.display()));
    say(&format!("logs, sockets  {}", world.dir.display()));
    say(
        "This is the device's shell, as root: try `margoctl status`. `exit` switches the device off.\n",
    );
    Ok(())
}

/// A shell over the probe port, line by line, until the end of the input. The serial console's socket is beside the logs.
fn console(world: &mut World) -> Outcome {
    loop {
        let mut out = std::io::stdout().lock();
        // A closed terminal ends the loop below.
        let _ = write!(out, "device# ");
        let _ = out.flush();
        drop(out);
        let mut line = String::new();
        let count = std::io::stdin().read_line(&mut line).doing("standard input")?;
        let line = line.trim();
        if count == 0 || line == "exit" {
            return Ok(());
        }
        if line.is_empty() {
            continue;
        }
        match world.vm()?.probe.run(line, Duration::from_secs(600)) {
            Ok(ran) => say(ran.output.trim_end()),
            Err(trouble) => {
                say(&trouble.to_string());
                if !world.vm()?.is_running() {
                    return Ok(());
                }
            }
        }
    }
}
