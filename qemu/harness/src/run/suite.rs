//! Many scenarios, some at the same time: results, and what is kept of a failure.

use super::steps;
use super::timeline::{Line, Timeline, say};
use super::world::World;
use crate::error::{Outcome, Trouble};
use crate::project::Project;
use crate::scenario::Scenario;
use crate::vm::write_log::WriteLog;
use serde::Serialize;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use tokio::runtime::Handle;

/// Lines of the console and the journal shown of a failed scenario.
const TAIL_LINES: usize = 15;

/// How a suite is run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) jobs: usize,
    pub(crate) repeat: usize,
    /// Show every step as it begins.
    pub(crate) is_shown: bool,
    /// Keep the disks of scenarios that passed, too.
    pub(crate) keep: bool,
    /// Where everything asked of the disk is recorded; then there is one scenario, run once.
    pub(crate) write_log: Option<WriteLog>,
}

/// What became of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Passed,
    Failed,
    Skipped,
}

/// One run of one scenario.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RunResult {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) verdict: Verdict,
    pub(crate) seconds: f64,
    /// Why it failed or was skipped.
    pub(crate) why: Option<String>,
    pub(crate) timeline: Vec<Line>,
}

/// Runs all, `jobs` at a time, and shows each result as it comes.
pub(crate) fn run(
    project: &Project,
    scenarios: &[Scenario],
    options: &Options,
    runtime: &Handle,
) -> Vec<RunResult> {
    let rounds = (0..options.repeat).flat_map(|_| scenarios.iter());
    let queue: Mutex<VecDeque<&Scenario>> = Mutex::new(rounds.collect());
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for slot in 0..options.jobs {
            let (queue, results) = (&queue, &results);
            scope.spawn(move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(scenario) = next else { break };
                    let result = one(project, scenario, slot, options, runtime);
                    show(&result);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push(result);
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Runs one scenario from its first step to its last.
pub(crate) fn one(
    project: &Project,
    scenario: &Scenario,
    slot: usize,
    options: &Options,
    runtime: &Handle,
) -> RunResult {
    let mut timeline = Timeline::new(&scenario.name, options.is_shown);
    let result = |verdict, why, timeline: Timeline| RunResult {
        name: scenario.name.clone(),
        title: scenario.title.clone(),
        verdict,
        seconds: timeline.seconds(),
        why,
        timeline: timeline.lines,
    };
    if let Some(why) = lacking(project, scenario) {
        return result(Verdict::Skipped, Some(why), timeline);
    }
    match carry_out(project, scenario, slot, options, runtime, &mut timeline) {
        Ok(()) => result(Verdict::Passed, None, timeline),
        Err(trouble) => result(Verdict::Failed, Some(trouble.to_string()), timeline),
    }
}

fn carry_out(
    project: &Project,
    scenario: &Scenario,
    slot: usize,
    options: &Options,
    runtime: &Handle,
    timeline: &mut Timeline,
) -> Outcome {
    // Of two runs at the same time each needs its own.
    let dir = match options.repeat {
        1 => project.run_dir(&scenario.name),
        _ => project.run_dir(&format!("{}-{slot}", scenario.name)),
    };
    let mut world = World::new(project, dir, slot, runtime.clone())?;
    world.write_log.clone_from(&options.write_log);
    for step in &scenario.steps {
        let did = steps::run(&mut world, step, timeline);
        let Err(trouble) = did else { continue };
        let at = format!("{}:{}", scenario.path.display(), step.line);
        let text = format!("{at}: {}\n{trouble}\n{}", step.text, last_words(&world));
        // The failure itself is what matters.
        let _ = world.end(true);
        return Err(Trouble::new(text));
    }
    world.end(options.keep)
}

/// The end of the console and of the journal, and where everything is.
pub(crate) fn last_words(world: &World) -> String {
    let console = std::fs::read(world.dir.join("console.log")).unwrap_or_default();
    let console = String::from_utf8_lossy(&console).into_owned();
    let lines: Vec<&str> = console.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    let console = lines.get(from..).unwrap_or_default().join("\n  ");
    let journal = world.journal.tail(TAIL_LINES).join("\n  ");
    let dir = world.dir.display();
    format!("console:\n  {console}\njournal:\n  {journal}\neverything is kept in {dir}")
}

/// An image that lacks something says what it has in a file beside it, one word a line; a scenario that needs more is
/// skipped. Without the file the image has everything.
pub(crate) fn lacking(project: &Project, scenario: &Scenario) -> Option<String> {
    let file = features_file(&project.image);
    let has = std::fs::read_to_string(&file).ok()?;
    let has: Vec<&str> = has.split_whitespace().collect();
    let missing: Vec<&String> =
        scenario.needs.iter().filter(|need| !has.contains(&need.as_str())).collect();
    if missing.is_empty() {
        return None;
    }
    let missing: Vec<&str> = missing.into_iter().map(String::as_str).collect();
    Some(format!("{} does not list: {}", file.display(), missing.join(", ")))
}

fn features_file(image: &Path) -> std::path::PathBuf {
    image.with_extension("features")
}

fn show(result: &RunResult) {
    let RunResult { name, seconds, title, .. } = result;
    let why = result.why.as_deref().unwrap_or_default();
    match result.verdict {
        Verdict::Passed => say(&format!("ok       {name} ({seconds:.1} s): {title}")),
        Verdict::Skipped => say(&format!("skipped: {name}: {why}")),
        Verdict::Failed => say(&format!("FAILED   {name} ({seconds:.1} s): {title}\n{why}")),
    }
}

/// The last line, and whether all is well: nothing failed, and something was run.
pub(crate) fn summary(results: &[RunResult]) -> (String, bool) {
    let count = |verdict| results.iter().filter(|result| result.verdict == verdict).count();
    let (passed, failed, skipped) =
        (count(Verdict::Passed), count(Verdict::Failed), count(Verdict::Skipped));
    let seconds: f64 = results.iter().map(|result| result.seconds).sum();
    let verdict = if failed == 0 && passed > 0 { "ok" } else { "FAILED" };
    // The words that tests/run adds up.
    let text = format!(
        "test result: {verdict}. {passed} passed; {failed} failed; {skipped} ignored; \
         {seconds:.0} s of devices"
    );
    (text, verdict == "ok")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(verdict: Verdict) -> RunResult {
        RunResult {
            name: String::new(),
            title: String::new(),
            verdict,
            seconds: 1.0,
            why: None,
            timeline: Vec::new(),
        }
    }

    #[test]
    fn a_suite_is_well_only_if_something_passed_and_nothing_failed() {
        let of = |verdicts: &[Verdict]| {
            summary(&verdicts.iter().map(|verdict| result(*verdict)).collect::<Vec<_>>()).1
        };
        assert!(of(&[Verdict::Passed, Verdict::Skipped]));
        assert!(!of(&[Verdict::Passed, Verdict::Failed]));
        assert!(!of(&[Verdict::Skipped]));
        assert!(!of(&[]));
    }
}
