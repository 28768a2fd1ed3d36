//! A boot after a power cut with the network gone: through the agent, and with Docker's restart policy alone.

use super::clock::{ASK, Stamps};
use super::samples::Samples;
use super::{Figures, in_world, progress, turns};
use crate::error::{Outcome, Trouble};
use crate::guest::credentials::Credential;
use crate::project::Project;
use crate::run::moments::message_id;
use crate::run::steps::patience;
use crate::run::world::World;
use crate::scenario::action::{AppKind, AppSpec};
use crate::vm::disk::Disk;
use std::time::Duration;
use tokio::runtime::Handle;

/// Beside the app that the prepared device runs; each has as many containers as that one.
const MORE_APPS: [&str; 3] = ["edge", "panel", "press"];
const SERVICES: u32 = 2;
const VERSION: &str = "1.0.0";
/// A boot, or all workloads in place, on a machine that has nothing else to do.
const LONG: Duration = Duration::from_secs(180);
/// systemd's message about a unit that is up.
const UNIT_STARTED: &str = "39f53479d3a045ac8e11786248231fbf";
/// Never true, so the unit is passed over.
const AGENT_OFF: &str = "[Unit]\nConditionPathExists=/nonexistent\n";
/// Gives all containers the policy while the engine is down: with the engine up it would not take its files for true.
const POLICY: &str = "systemctl stop docker.socket docker.service && \
    sed -i 's/\"RestartPolicy\":{\"Name\":\"[a-z-]*\"/\"RestartPolicy\":{\"Name\":\"always\"/' \
    /data/docker/containers/*/hostconfig.json && \
    [ \"$(grep -l '\"RestartPolicy\":{\"Name\":\"always\"' /data/docker/containers/*/hostconfig.json | wc -l)\" = \
    \"$(ls -d /data/docker/containers/*/ | wc -l)\" ] && systemctl start --no-block docker.service";

/// Who brings the containers back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Agent,
    Policy,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Policy => "policy",
        }
    }

    fn credentials(self) -> Vec<Credential> {
        match self {
            Self::Agent => Vec::new(),
            Self::Policy => {
                vec![Credential::new("systemd.unit-dropin.margo-agent.service", AGENT_OFF)]
            }
        }
    }

    /// The disk all boots of this way begin with.
    fn disk(self) -> String {
        format!("{}.qcow2", self.name())
    }
}

/// One boot.
#[derive(Clone, Copy, Debug)]
struct Boot {
    stamps: Stamps,
    /// The last container's start, in seconds since the kernel's start.
    running_s: f64,
}

/// The boots of one way, round by round.
#[derive(Debug, Default)]
struct Boots {
    ready: Samples,
    engine: Samples,
    multi_user: Samples,
    running: Samples,
    /// The last container's start since the engine's start.
    from_engine: Samples,
}

impl Boots {
    fn push(&mut self, boot: Boot) {
        self.ready.push(boot.stamps.agent_s);
        self.engine.push(boot.stamps.engine_s);
        self.multi_user.push(boot.stamps.multi_user_s);
        self.running.push(boot.running_s);
        self.from_engine.push(boot.running_s - boot.stamps.engine_start_s);
    }
}

/// The figures of boots.
pub(super) fn measure(project: &Project, rounds: usize, runtime: &Handle) -> Outcome<Figures> {
    in_world(project, "bench-boot", runtime, |world| {
        progress("boot: a device with four apps of two containers each");
        prepare(world)?;
        for way in [Way::Agent, Way::Policy] {
            progress(&format!("boot: a disk for the way of the {}", way.name()));
            settle(world, way)?;
        }
        let (mut agent, mut policy) = (Boots::default(), Boots::default());
        for round in 0..rounds {
            for way in turns(round, [Way::Agent, Way::Policy]) {
                let boot = sample(world, way)?;
                let (name, running_s) = (way.name(), boot.running_s);
                progress(&format!(
                    "boot: round {}, {name}: all run at {running_s:.1} s",
                    round + 1
                ));
                match way {
                    Way::Agent => agent.push(boot),
                    Way::Policy => policy.push(boot),
                }
            }
        }
        Ok(figures(&agent, &policy))
    })
}

fn figures(agent: &Boots, policy: &Boots) -> Figures {
    [
        ("boot_ready_s", agent.ready.to_json()),
        ("boot_engine_s", agent.engine.to_json()),
        ("boot_multi_user_s", agent.multi_user.to_json()),
        ("boot_policy_engine_s", policy.engine.to_json()),
        ("boot_policy_multi_user_s", policy.multi_user.to_json()),
        ("restore_running_s", agent.running.to_json()),
        ("restore_policy_running_s", policy.running.to_json()),
        ("restore_from_engine_start_s", agent.from_engine.to_json()),
        ("restore_policy_from_engine_start_s", policy.from_engine.to_json()),
        (
            "restore_from_engine_start_ratio",
            agent.from_engine.ratios(&policy.from_engine).to_json(),
        ),
        ("restore_ratio_vs_restart_policy", agent.running.ratios(&policy.running).to_json()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .collect()
}

/// A device with all apps up, its power cut.
fn prepare(world: &mut World) -> Outcome {
    let timeout = LONG * patience();
    world.device_from("running")?;
    for app in MORE_APPS {
        world.deploy(&AppSpec {
            name: app.to_owned(),
            version: VERSION.to_owned(),
            kind: AppKind::Good,
            services: SERVICES,
            ballast_mib: 0,
        })?;
    }
    for app in MORE_APPS {
        world.expect_report(app, "installed", None, timeout)?;
    }
    for app in apps(world) {
        world.expect_running(&app, VERSION, timeout)?;
        world.remember(&app)?;
    }
    world.sh("sync")?;
    world.cut()
}

fn apps(world: &World) -> Vec<String> {
    world.facts.deployed.keys().cloned().collect()
}

/// A boot of this way from the common disk, up to where all containers run, then a power cut: what its boots begin with.
fn settle(world: &mut World, way: Way) -> Outcome {
    boot(world, way, "disk.qcow2", &way.disk())?;
    if way == Way::Policy {
        world.mounted(LONG * patience())?;
        world.wait("the engine", LONG * patience(), |world| {
            world.sh("systemctl is-active --quiet docker.service")
        })?;
        world.sh(POLICY)?;
    } else {
        await_brought_back(world, way)?;
    }
    await_running(world)?;
    world.sh("sync")?;
    world.cut()
}

fn boot(world: &mut World, way: Way, base: &str, disk: &str) -> Outcome {
    let (base, disk) = (world.dir.join(base), world.dir.join(disk));
    world.disk = Some(Disk::over(&world.project, &base, disk, None)?);
    world.credentials = way.credentials();
    world.boot(false, LONG * patience())
}

/// Waits without asking the device anything: looking would take its processor.
fn await_brought_back(world: &mut World, way: Way) -> Outcome {
    let (id, field) = match way {
        Way::Agent => (message_id("RESTORE_FINISHED")?, None),
        Way::Policy => (UNIT_STARTED, Some(("unit".to_owned(), "docker.service".to_owned()))),
    };
    let what = format!("the way of the {} to bring everything back", way.name());
    world.wait(&what, LONG * patience(), |world| {
        let found = world.journal.find(world.boot_mark, |entry| entry.is(id, field.as_ref()));
        found.map(drop).ok_or_else(|| Trouble::new("not in the journal of this boot"))
    })
}

/// All containers that were there before run; when they were started, by the engine's own record.
fn await_running(world: &mut World) -> Outcome<Vec<String>> {
    let mut starts = Vec::new();
    for app in apps(world) {
        let noted = world.facts.remembered.get(&app).cloned().unwrap_or_default();
        let found = world.wait(&format!("{app} to run"), LONG * patience(), |world| {
            let found = world.is_running(&app, VERSION)?;
            if found.iter().map(|container| &container.id).eq(&noted) {
                return Ok(found);
            }
            Err(Trouble::new(format!("other containers than before: {found:?}")))
        })?;
        starts.extend(found.into_iter().map(|container| container.started_at));
    }
    Ok(starts)
}

fn sample(world: &mut World, way: Way) -> Outcome<Boot> {
    boot(world, way, &way.disk(), "boot.qcow2")?;
    await_brought_back(world, way)?;
    let starts = await_running(world)?;
    let stamps = world.wait("the end of the boot", LONG * patience(), |world| {
        let text = world.sh(ASK)?;
        let stamps = Stamps::parse(&text);
        let stamps = stamps.filter(|stamps| stamps.engine_s > 0.0 && stamps.multi_user_s > 0.0);
        stamps.ok_or_else(|| Trouble::new(format!("the stamps are {text:?}")))
    })?;
    world.cut()?;
    if (stamps.agent_s > 0.0) != (way == Way::Agent) {
        let text =
            format!("the agent is not as the way of the {} needs it: {stamps:?}", way.name());
        return Err(Trouble::new(text));
    }
    let running_s = last_start(&stamps, &starts)
        .ok_or_else(|| Trouble::new(format!("no starts of this boot: {starts:?}, {stamps:?}")))?;
    Ok(Boot { stamps, running_s })
}

/// The last of the starts, all of which must be of this boot.
fn last_start(stamps: &Stamps, starts: &[String]) -> Option<f64> {
    let since_boot = |date: &String| stamps.since_boot(date).filter(|start| *start > 0.0);
    let starts: Option<Vec<f64>> = starts.iter().map(since_boot).collect();
    starts?.into_iter().max_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_start_counts_and_none_may_be_of_an_earlier_boot() {
        let text = "1000000\n1000000\n1000000\n500000\n110\n10\n";
        let stamps = Stamps::parse(text).unwrap();
        let date = |second: u32| format!("1970-01-01T00:02:{second:02}.5Z");
        assert_eq!(last_start(&stamps, &[date(0), date(9), date(3)]), Some(29.5));
        let earlier = "1970-01-01T00:01:00Z".to_owned();
        assert_eq!(last_start(&stamps, &[date(0), earlier]), None);
        assert_eq!(last_start(&stamps, &[]), None);
    }

    #[test]
    fn only_the_policys_way_keeps_the_agent_off() {
        assert!(Way::Agent.credentials().is_empty());
        let [dropin] = &Way::Policy.credentials()[..] else { panic!("one drop-in") };
        assert_eq!(dropin.name, "systemd.unit-dropin.margo-agent.service");
    }
}
