//! The commands of the program.

mod play;
mod test;

use crate::bench;
use crate::cli::{Args, Command};
use crate::error::{Doing as _, Outcome};
use crate::project::Project;
use crate::run::suite::{self, Options, Verdict};
use crate::run::timeline::{Line, Timeline, say};
use crate::scenario::files;

/// Does what was asked; false when a test failed.
pub(crate) fn run(args: Args) -> Outcome<bool> {
    let project = Project::find(args.arch, args.image)?;
    let runtime = tokio::runtime::Runtime::new().doing("cannot start the runtime")?;
    match args.command {
        Command::Test(test) => test::run(&project, &test, runtime.handle()),
        Command::Demo => demo(&project, runtime.handle()),
        Command::Run(play) => play::run(&project, &play, runtime.handle()),
        Command::Bench(taken) => bench::run(&project, &taken, runtime.handle()),
        Command::Docs => {
            for (path, text) in files::pages(&project.root)? {
                std::fs::write(&path, text).doing(format!("cannot write {}", path.display()))?;
                say(&format!("wrote {}", path.display()));
            }
            Ok(true)
        }
    }
}

/// The demonstration is a scenario like the others, told as it goes.
fn demo(project: &Project, runtime: &tokio::runtime::Handle) -> Outcome<bool> {
    project.require_image()?;
    let scenario = files::read(&project.root.join("qemu/scenarios/demo/demo.scenario"))?;
    let options = Options { jobs: 1, repeat: 1, is_shown: true, keep: false, write_log: None };
    let result = suite::one(project, &scenario, 0, &options, runtime);
    say(&format!("\nWhat happened\n{}", closing(&result.name, result.timeline)));
    if let Some(why) = &result.why {
        say(why);
    }
    Ok(result.verdict == Verdict::Passed)
}

fn closing(name: &str, lines: Vec<Line>) -> String {
    let mut timeline = Timeline::new(name, false);
    timeline.lines = lines;
    timeline.closing()
}
