//! margo-write-log: figures of a recorded write log on the command line. Exit status 1: a state could not be read.

mod args;

use args::What;
use margo_write_log::device;
use margo_write_log::run::{Figures, run};
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match work(&words) {
        Ok((text, readable)) => {
            // A reader that went away needs no answer.
            let _ = std::io::stdout().write_all(text.as_bytes());
            if readable { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(error) => {
            let mut text = format!("error: {error}");
            let mut cause = error.source();
            while let Some(next) = cause {
                let _ = write!(text, ": {next}");
                cause = next.source();
            }
            let _ = writeln!(std::io::stderr(), "{text}");
            ExitCode::from(2)
        }
    }
}

fn work(words: &[String]) -> Result<(String, bool), Box<dyn Error>> {
    let Some(work) = args::parse(words)? else {
        return Ok((args::HELP.to_owned(), true));
    };
    let dir = tempfile::tempdir_in(&work.scratch)?;
    let json = |figures: serde_json::Result<String>| figures.map(|text| text + "\n");
    match &work.what {
        What::Partition(job) => {
            let figures = run(job, dir.path())?;
            let (text, is_well) = report(&figures);
            let text =
                if work.is_json { json(serde_json::to_string_pretty(&figures))? } else { text };
            Ok((text, is_well))
        }
        What::Device(job) => {
            let figures = device::run(job, dir.path(), &mut progress())?;
            let text = if work.is_json {
                json(serde_json::to_string_pretty(&figures))?
            } else {
                figures.table()
            };
            Ok((text, figures.is_well()))
        }
    }
}

/// Says on standard error how far it is, every few seconds.
fn progress() -> impl FnMut(&str) {
    const EVERY: Duration = Duration::from_secs(10);
    let mut last = Instant::now();
    move |text| {
        if last.elapsed() >= EVERY {
            last = Instant::now();
            // A reader that went away needs no progress.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }
}

/// The figures for people, and whether every state could be read.
fn report(figures: &Figures) -> (String, bool) {
    let mut text = format!(
        "{} sectors in {} epochs ({} complete), {} flushes; {} states, {} distinct{}\n",
        figures.sectors,
        figures.epochs,
        figures.epochs_complete,
        figures.flushes,
        figures.states,
        figures.distinct,
        if figures.left_out { " (more were left out: --distinct-max)" } else { "" }
    );
    let mut readable = figures.distinct > 0;
    if let Some(env) = &figures.env {
        let _ = writeln!(
            text,
            "unreadable: {} (first copy alone: {}) of {}",
            env.unreadable, env.first_unreadable, figures.distinct
        );
        for (content, times) in &env.contents {
            let _ = writeln!(text, "  {times:6}  {content}");
        }
        readable &= env.unreadable == 0;
    }
    if let Some(store) = &figures.store {
        let _ = writeln!(
            text,
            "unreadable: {} of {}; healed {}, fresh {}, file system repaired {}",
            store.unreadable, figures.distinct, store.healed, store.fresh, store.unclean
        );
        for (generation, times) in &store.generations {
            let _ = writeln!(text, "  {times:6}  generation {generation}");
        }
        readable &= store.unreadable == 0;
    }
    (text, readable)
}
