//! `margo-qemu test`.

use super::closing;
use crate::cli::Test;
use crate::error::{Doing as _, Outcome, Trouble};
use crate::project::Project;
use crate::run::suite::{self, Options, Verdict};
use crate::run::timeline::say;
use crate::scenario::action::Action;
use crate::scenario::{Scenario, files};
use crate::vm::write_log::WriteLog;
use std::collections::BTreeSet;
use std::path::PathBuf;

pub(super) fn run(
    project: &Project,
    test: &Test,
    runtime: &tokio::runtime::Handle,
) -> Outcome<bool> {
    let scenarios = chosen(project, test)?;
    if test.check {
        say(&format!("{} scenario files are well written", scenarios.len()));
        return Ok(true);
    }
    if test.bundles {
        bundles(project, &scenarios)?.iter().for_each(|bundle| say(bundle));
        return Ok(true);
    }
    if test.list {
        for scenario in &scenarios {
            let covers = scenario.covers.join(" ");
            say(&format!("{:28} {} [{covers}]", scenario.name, scenario.title));
        }
        return Ok(true);
    }
    project.require_image()?;
    let write_log = test.write_log.as_deref().map(WriteLog::at).transpose()?;
    if write_log.is_some() && (scenarios.len() != 1 || test.repeat != 1) {
        return Err(Trouble::new(
            "--write-log records one device: name one scenario, to be run once",
        ));
    }
    let options = Options {
        jobs: test.jobs.max(1),
        repeat: test.repeat,
        is_shown: test.verbose,
        keep: test.keep || write_log.is_some(),
        write_log,
    };
    let results = suite::run(project, &scenarios, &options, runtime);
    let kept = project.root.join("target/qemu/results.json");
    let json = serde_json::to_string_pretty(&results).doing("results")?;
    std::fs::create_dir_all(project.root.join("target/qemu")).doing("results")?;
    std::fs::write(&kept, &json).doing(format!("cannot write {}", kept.display()))?;
    if test.json {
        say(&json);
    } else if test.verbose {
        for result in results.iter().filter(|result| result.verdict == Verdict::Passed) {
            let timeline = closing(&result.name, result.timeline.clone());
            say(&format!("\n{}: {}\n{timeline}", result.name, result.title));
        }
    }
    let (text, is_well) = suite::summary(&results);
    say(&text);
    Ok(is_well)
}

/// The scenarios that were named, or all.
fn chosen(project: &Project, test: &Test) -> Outcome<Vec<Scenario>> {
    let dir = project.root.join("qemu/scenarios");
    let mut scenarios = if test.scenarios.is_empty() {
        files::read_all(&dir)?
    } else {
        let path = |name: &String| match name.ends_with(".scenario") {
            true => PathBuf::from(name),
            false => dir.join(format!("{name}.scenario")),
        };
        let read = |name: &String| files::read(&path(name));
        test.scenarios.iter().map(read).collect::<Outcome<Vec<Scenario>>>()?
    };
    if let Some(only) = &test.only {
        scenarios.retain(|scenario| scenario.name.contains(only.as_str()));
    }
    scenarios.retain(|scenario| !(test.quick && scenario.is_nightly));
    if scenarios.is_empty() {
        return Err(Trouble::new(
            "no scenario has such a name; `margo-qemu test --list` lists them",
        ));
    }
    Ok(scenarios)
}

/// The bundles that scenarios and the prepared devices they begin with order.
fn bundles(project: &Project, scenarios: &[Scenario]) -> Outcome<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for scenario in scenarios {
        if suite::lacking(project, scenario).is_some() {
            continue;
        }
        for step in &scenario.steps {
            match &step.action {
                Action::OrderFirmware { version, bundle } => {
                    found.insert(format!("{version}:{bundle}"));
                }
                Action::DeviceFrom { prepared } => {
                    let file = format!("qemu/scenarios/prepared/{prepared}.scenario");
                    let prepared = files::read(&project.root.join(file))?;
                    found.extend(bundles(project, &[prepared])?);
                }
                _ => {}
            }
        }
    }
    Ok(found)
}
