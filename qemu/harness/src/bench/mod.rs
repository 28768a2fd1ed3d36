//! Figures of the real image: how long a boot, a restored workload and a firmware install take, how large things are.
//!
//! Each way is compared with the same device doing the same without the agent, round by round, one machine at a time.

mod aims;
mod boot;
mod clock;
mod install;
mod machine;
mod memory;
mod report;
mod samples;
mod sizes;
mod suite;

use crate::cli::{Bench, BenchPart};
use crate::error::{Doing as _, Outcome, Trouble};
use crate::project::Project;
use crate::run::suite::last_words;
use crate::run::timeline::say;
use crate::run::world::World;
use serde_json::{Map, Value, json};
use std::io::Write as _;
use tokio::runtime::Handle;

/// What was measured, by name; units are part of the names.
type Figures = Map<String, Value>;

/// Measures and tells; false when a budget is exceeded.
pub(crate) fn run(project: &Project, bench: &Bench, runtime: &Handle) -> Outcome<bool> {
    project.require_image()?;
    let mut figures = Figures::new();
    if bench.wants(BenchPart::Boot) {
        figures.extend(boot::measure(project, bench.rounds, runtime)?);
    }
    if bench.wants(BenchPart::Install) {
        figures.extend(install::measure(project, bench.rounds, runtime)?);
    }
    figures.extend(sizes::measure(project)?);
    figures.extend(suite::read(project));
    let document = json!({
        "benchmark": "margo-qemu",
        "machine": machine::facts(project),
        "aims": aims::table(&figures),
        "figures": figures,
    });
    let text = serde_json::to_string_pretty(&document).doing("figures")?;
    let kept = project.root.join("target/qemu/bench.json");
    std::fs::write(&kept, &text).doing(format!("cannot write {}", kept.display()))?;
    say(&if bench.json { text } else { report::text(&document) });
    let exceeded = aims::check(&figures);
    exceeded.iter().for_each(|aim| progress(&format!("over budget: {aim}")));
    Ok(exceeded.is_empty())
}

/// A line for whoever watches; standard output is for the figures.
fn progress(line: &str) {
    // With standard error closed there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// An empty world of its own, with what is left of it when something goes wrong.
fn in_world<T>(
    project: &Project,
    name: &str,
    runtime: &Handle,
    take: impl FnOnce(&mut World) -> Outcome<T>,
) -> Outcome<T> {
    let mut world = World::new(project, project.run_dir(name), 0, runtime.clone())?;
    match take(&mut world) {
        Ok(taken) => {
            world.end(false)?;
            Ok(taken)
        }
        Err(trouble) => {
            let text = format!("{trouble}\n{}", last_words(&world));
            // The failure itself is what matters.
            let _ = world.end(true);
            Err(Trouble::new(text))
        }
    }
}

/// Which of two ways begins a round: they take turns, so that neither always finds the warmer caches.
fn turns<T: Copy>(round: usize, ways: [T; 2]) -> [T; 2] {
    let [one, other] = ways;
    if round.is_multiple_of(2) { [one, other] } else { [other, one] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_begins_every_other_round() {
        assert_eq!([0, 1, 2].map(|round| turns(round, ['a', 'b'])[0]), ['a', 'b', 'a']);
        assert_eq!(turns(1, ['a', 'b']), ['b', 'a']);
    }
}
