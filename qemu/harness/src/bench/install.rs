//! A firmware install ordered through Margo, and `rauc install` of the same bundle from the same registry.

use super::memory::{self, Memory};
use super::samples::{Samples, as_f64, seconds};
use super::sizes::{Programs, bundle_bytes};
use super::{Figures, in_world, progress, turns};
use crate::error::{Doing as _, Outcome, Trouble};
use crate::guest::journal::{Entry, Mark};
use crate::project::Project;
use crate::run::firmware;
use crate::run::moments::message_id;
use crate::run::steps::patience;
use crate::run::world::World;
use margo_lab::RequestRecord;
use std::time::Duration;
use tokio::runtime::Handle;

/// The version that is installed; its bundle is made by `qemu/bench`.
pub(super) const VERSION: &str = "2.0.0";
/// An install, or a reboot into a trial.
const LONG: Duration = Duration::from_secs(600);
/// RAUC's messages about the end of an installation. Neither is prose: the ids are part of its interface.
const SUCCEEDED: &str = "0163db5468ac4237b090d28490c301ed";
const FAILED: [&str; 2] = ["c48141f7fd49443aafff862b4809168f", "60bea7e4fea549ccad68af457308b13a"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Agent,
    Rauc,
}

/// One install.
#[derive(Clone, Copy, Debug)]
struct Install {
    took_s: f64,
    /// Bytes of the bundle that the registry sent.
    fetched_bytes: u64,
}

/// All rounds.
#[derive(Debug, Default)]
struct Rounds {
    agent: Samples,
    agent_share: Samples,
    rauc: Samples,
    rauc_share: Samples,
    steady: Vec<Memory>,
    trial: Vec<Memory>,
    programs: Option<Programs>,
}

/// The figures of installs, and of the memory before and after them.
pub(super) fn measure(project: &Project, rounds: usize, runtime: &Handle) -> Outcome<Figures> {
    let mut taken = Rounds::default();
    let bundle_bytes = as_f64(bundle_bytes(project)?);
    for round in 0..rounds {
        for way in turns(round, [Way::Agent, Way::Rauc]) {
            let install = in_world(project, "bench-install", runtime, |world| {
                sample(world, way, &mut taken)
            })?;
            let Install { took_s, fetched_bytes } = install;
            progress(&format!("install: round {}, {way:?}: {took_s:.1} s", round + 1));
            let (times, shares) = match way {
                Way::Agent => (&mut taken.agent, &mut taken.agent_share),
                Way::Rauc => (&mut taken.rauc, &mut taken.rauc_share),
            };
            times.push(took_s);
            shares.push(as_f64(fetched_bytes) / bundle_bytes);
        }
    }
    Ok(figures(&taken))
}

fn figures(taken: &Rounds) -> Figures {
    let of = |memory: &[Memory], part: fn(&Memory) -> u64| {
        memory.iter().map(|memory| as_f64(part(memory))).collect::<Samples>().to_json()
    };
    let mut figures: Figures = [
        ("install_s", taken.agent.to_json()),
        ("install_rauc_s", taken.rauc.to_json()),
        ("install_ratio_vs_rauc", taken.agent.ratios(&taken.rauc).to_json()),
        ("install_fetched_per_bundle", taken.agent_share.to_json()),
        ("install_rauc_fetched_per_bundle", taken.rauc_share.to_json()),
        ("agent_pss_kib", of(&taken.steady, |memory| memory.pss_kib)),
        ("agent_pss_anonymous_kib", of(&taken.steady, |memory| memory.anonymous_kib)),
        ("agent_trial_pss_kib", of(&taken.trial, |memory| memory.pss_kib)),
        ("agent_trial_pss_anonymous_kib", of(&taken.trial, |memory| memory.anonymous_kib)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .collect();
    figures.extend(taken.programs.iter().flat_map(Programs::figures));
    figures
}

fn sample(world: &mut World, way: Way, taken: &mut Rounds) -> Outcome<Install> {
    world.device_from("running")?;
    world.expect_stage("synced", LONG * patience())?;
    if taken.programs.is_none() {
        taken.programs = Some(Programs::ask(world)?);
    }
    let mark = world.journal.mark();
    match way {
        Way::Agent => {
            taken.steady.push(memory::of_agent(world, "good")?);
            let install = by_agent(world, mark)?;
            world.await_reboot(LONG * patience())?;
            // The trial is committed soon after this, when all has been well for its window.
            await_entry(world, world.boot_mark, message_id("RESTORE_FINISHED")?)?;
            taken.trial.push(memory::of_agent(world, "trial")?);
            Ok(install)
        }
        Way::Rauc => by_rauc(world, mark),
    }
}

fn by_agent(world: &mut World, mark: Mark) -> Outcome<Install> {
    world.order_firmware(VERSION, "good")?;
    let accepted = await_entry(world, mark, message_id("MANIFEST_ACCEPTED")?)?;
    let ended = await_entry(world, mark, SUCCEEDED)?;
    let took = monotonic_us(&ended)?.saturating_sub(monotonic_us(&accepted)?);
    let path = firmware::bundle(&world.project, VERSION, "good")?;
    let bundle = std::fs::read(&path).doing(format!("cannot read {}", path.display()))?;
    let digest = margo_lab::ids::sha256_digest(&bundle);
    Ok(Install { took_s: seconds(took), fetched_bytes: fetched(&world.lab()?.requests(), &digest) })
}

fn by_rauc(world: &mut World, mark: Mark) -> Outcome<Install> {
    let path = firmware::bundle(&world.project, VERSION, "good")?;
    let registry = world.lab()?.registry();
    let pushed = registry.push_firmware("firmware/os", VERSION, &path);
    let pushed = pushed.doing("cannot push the bundle")?;
    let digest = pushed.layers.first().cloned().unwrap_or_default();
    let url = format!("http://{}/v2/firmware/os/blobs/{digest}", registry.host());
    let command = format!("read -r up rest </proc/uptime; echo $up; exec rauc install {url}");
    let ran = world.vm()?.probe.run(&command, LONG * patience())?;
    if ran.exit != 0 {
        return Err(Trouble::new(format!("rauc install: {}", ran.output.trim())));
    }
    let began_s: Option<f64> = ran.output.lines().next().and_then(|line| line.parse().ok());
    let began_s = began_s.ok_or_else(|| Trouble::new(format!("no time: {}", ran.output)))?;
    let ended = await_entry(world, mark, SUCCEEDED)?;
    let took_s = seconds(monotonic_us(&ended)?) - began_s;
    Ok(Install { took_s, fetched_bytes: fetched(&world.lab()?.requests(), &digest) })
}

/// The first entry with this id since the mark. Waits without asking the device anything.
fn await_entry(world: &mut World, mark: Mark, id: &str) -> Outcome<Entry> {
    let is_failure = |entry: &Entry| FAILED.iter().any(|id| entry.is(id, None));
    let found = world.wait(&format!("the message {id}"), LONG * patience(), |world| {
        let found = world.journal.find(mark, |entry| entry.is(id, None) || is_failure(entry));
        found.ok_or_else(|| Trouble::new("not in the journal"))
    })?;
    if is_failure(&found) {
        return Err(Trouble::new(format!("RAUC failed: {}", found.field("MESSAGE"))));
    }
    Ok(found)
}

/// When the journal got an entry, in microseconds since the kernel's start.
fn monotonic_us(entry: &Entry) -> Outcome<u64> {
    let stamp = entry.field("__MONOTONIC_TIMESTAMP");
    stamp.parse().doing(format!("the journal's monotonic stamp {stamp:?}"))
}

/// Bytes of a blob that the registry sent.
fn fetched(requests: &[RequestRecord], digest: &str) -> u64 {
    let end = format!("/blobs/{digest}");
    let is_it = |request: &&RequestRecord| request.method == "GET" && request.path.ends_with(&end);
    requests.iter().filter(is_it).map(|request| request.response_bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use margo_lab::Service;

    fn request(method: &str, path: &str, response_bytes: u64) -> RequestRecord {
        RequestRecord {
            index: 1,
            time_ms: 1,
            service: Service::Registry,
            operation: None,
            connection: 1,
            client: None,
            method: method.to_owned(),
            path: path.to_owned(),
            if_none_match: None,
            range: None,
            status: Some(206),
            request_bytes: 0,
            response_bytes,
            faults: Vec::new(),
            note: None,
        }
    }

    #[test]
    fn only_what_was_sent_of_the_bundle_counts() {
        let requests = [
            request("GET", "/v2/firmware/os/blobs/sha256:ab", 100),
            request("HEAD", "/v2/firmware/os/blobs/sha256:ab", 1_000),
            request("GET", "/v2/firmware/os/blobs/sha256:cd", 10_000),
            request("GET", "/v2/firmware/os/blobs/sha256:ab", 20),
        ];
        assert_eq!(fetched(&requests, "sha256:ab"), 120);
    }
}
