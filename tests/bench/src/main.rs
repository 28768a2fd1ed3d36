//! `margo-bench`: what the release agent costs and how fast it is, as one JSON document on stdout.
//!
//! The lab runs in this process, the agent is a process of its own, the engine is a real one. Progress goes to stderr.
//! What each figure means: the README beside `src`.

mod aims;
mod apply;
mod engine;
mod idle;
mod machine;
mod options;
mod polls;
mod proc;
mod process;
mod proxy;
mod restore;
mod samples;
mod scene;
mod size;
mod start;
mod step;

use options::Options;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::process::ExitCode;

/// Any reason why a figure could not be taken.
type Fault = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    match bench() {
        Ok(code) => code,
        Err(fault) => {
            say(&format!("margo-bench: {fault}"));
            ExitCode::FAILURE
        }
    }
}

/// A line of progress.
fn say(line: &str) {
    // With stderr closed there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn bench() -> Result<ExitCode, Fault> {
    let options = Options::from_args(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let figures = runtime.block_on(measure(&options))?;
    let missed = aims::check(&figures);
    let document = json!({
        "benchmark": "margo-agent",
        "version": env!("CARGO_PKG_VERSION"),
        "mode": if options.is_full { "full" } else { "quick" },
        "config": options.config,
        "machine": runtime.block_on(machine::facts(&options))?,
        "figures": figures,
        "aims": aims::table(&figures),
    });
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{document:#}")?;
    for aim in &missed {
        say(&format!("over budget: {aim}"));
    }
    let failed = options.is_checked && !missed.is_empty();
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Takes the figures that are asked for, those of one device in one scene.
async fn measure(options: &Options) -> Result<Map<String, Value>, Fault> {
    let mut figures = Map::new();
    if options.wants("size") {
        figures.extend(size::measure(options)?);
    }
    if options.wants("step") {
        say("step: the state machine by itself");
        figures.extend(step::measure(options));
    }
    if !["start", "idle", "polls", "apply", "restore"].iter().any(|part| options.wants(part)) {
        return Ok(figures);
    }
    let mut scene = scene::Scene::new(options).await?;
    let taken = measure_in(&mut scene, options, &mut figures).await;
    scene.end().await;
    taken.map(|()| figures)
}

async fn measure_in(
    scene: &mut scene::Scene,
    options: &Options,
    figures: &mut Map<String, Value>,
) -> Result<(), Fault> {
    if options.wants("start") {
        figures.extend(start::measure(scene, options).await?);
    }
    if options.wants("idle") {
        figures.extend(idle::measure(scene, options).await?);
    }
    if options.wants("polls") {
        figures.extend(polls::measure(scene, options).await?);
    }
    if options.wants("apply") {
        figures.extend(apply::measure(scene, options).await?);
    }
    if options.wants("restore") {
        figures.extend(restore::measure(scene, options).await?);
    }
    Ok(())
}
