//! Plays a script: each line is a thing that happens, and below it goes what the machine answers.
//!
//! The language is told in the README. A line that fits nothing under way is an error, never skipped.

use crate::device::Device;
use crate::firmware;
use crate::words::{desired, duration, failure, minute};
use state_machine::effect::{Effect, Outcome};
use state_machine::event::{Event, StoreCondition};
use state_machine::failure::Failure;
use state_machine::ids::{ComponentName, DeploymentId, Digest, EffectId, IdentityKey};
use state_machine::policy::{DaySpan, FirstBoot, MismatchPolicy, PartialFailure, Policy, Restore};
use std::fmt::Write;

pub(crate) type Played = Result<(), String>;

/// The whole transcript for the script in `golden`, whose present answers are ignored.
pub(crate) fn play(golden: &str) -> Result<String, String> {
    let mut device = Device::new();
    let mut transcript = String::new();
    for (index, line) in golden.lines().enumerate() {
        if line.starts_with(' ') {
            continue;
        }
        writeln!(transcript, "{line}").unwrap();
        let wording = line.trim();
        if wording.is_empty() || wording.starts_with('#') {
            continue;
        }
        happen(&mut device, wording).map_err(|problem| {
            format!("{}: {problem} ({wording}; under way: {})", index + 1, device.under_way())
        })?;
        if wording.starts_with("policy ") {
            continue;
        }
        for answer in device.take_answer() {
            writeln!(transcript, "    {answer}").unwrap();
        }
    }
    Ok(transcript)
}

fn happen(device: &mut Device, line: &str) -> Played {
    if let Some(setting) = line.strip_prefix("policy ") {
        return set(&mut device.policy, setting);
    }
    if let Some(list) = line.strip_prefix("given running ") {
        device.offered = Some(desired(list)?);
        device.start(StoreCondition::Fresh);
        device.all_goes_well();
        device.take_answer();
        return Ok(());
    }
    if let Some(time) = line.strip_prefix("time passes") {
        return match time.trim_start_matches(':').trim() {
            "" => device.wait_for_alarm(),
            "until it polls" => device.wait_until(is_poll),
            "until it reports" => device.wait_until(is_report),
            "until it commits" => device.wait_until(|effect| *effect == Effect::CommitSlot),
            "until it installs" => {
                device.wait_until(|effect| matches!(effect, Effect::InstallFirmware { .. }))
            }
            time => match time.strip_suffix(", all goes well") {
                Some(time) => device.wait(duration(time)?, true),
                None => device.wait(duration(time)?, false),
            },
        };
    }
    if let Some(rest) = line.strip_prefix("wfm ") {
        return wfm(device, rest);
    }
    world(device, line)
        .or_else(|| firmware::happen(device, line))
        .unwrap_or_else(|| about_deployment(device, line))
}

fn set(policy: &mut Policy, setting: &str) -> Played {
    let unknown = || format!("no such setting: {setting}");
    let (key, value) = setting.split_once(" = ").ok_or_else(unknown)?;
    match (key, value) {
        ("first_boot", "preload") => policy.first_boot = FirstBoot::Preload,
        ("restore", "wait-for-wfm") => policy.restore = Restore::WaitForWfm,
        ("partial_failure", "rollback") => policy.partial_failure = PartialFailure::Rollback,
        ("partial_failure", "all-or-nothing") => {
            policy.partial_failure = PartialFailure::AllOrNothing;
        }
        ("mismatch", "report") => policy.mismatch = MismatchPolicy::Report,
        ("poll_hours", span) => policy.poll_hours = vec![day_span(span)?],
        ("downtime", span) => policy.downtime = vec![day_span(span)?],
        ("downgrade", "true") => policy.firmware.downgrade = true,
        ("firmware_hours", span) => policy.firmware.hours = vec![day_span(span)?],
        ("poll_interval", time) => policy.poll_interval_ms = duration(time)?,
        _ => return Err(unknown()),
    }
    Ok(())
}

fn day_span(text: &str) -> Result<DaySpan, String> {
    let (from, to) = text.split_once('-').ok_or("expected from-to")?;
    Ok(DaySpan { from_minute: minute(from)?, to_minute: minute(to)? })
}

/// Ends the oldest effect that fits.
pub(crate) fn end(device: &mut Device, fits: impl Fn(&Effect) -> bool, outcome: Outcome) -> Played {
    let id = device.find(fits).ok_or("nothing under way that this would answer")?;
    device.finish(id, outcome);
    Ok(())
}

pub(crate) fn failed(text: &str) -> Result<Outcome, String> {
    Ok(Outcome::Failed { failure: failure(text)? })
}

fn is_poll(effect: &Effect) -> bool {
    matches!(effect, Effect::PollManifest { .. })
}

fn is_fetch(effect: &Effect) -> bool {
    matches!(effect, Effect::FetchDeployments { .. })
}

fn is_report(effect: &Effect) -> bool {
    matches!(effect, Effect::SendReport { .. })
}

/// What the WFM does.
fn wfm(device: &mut Device, rest: &str) -> Played {
    if let Some(list) = rest.strip_prefix("offers ") {
        device.offered = Some(desired(list)?);
        let is_awaited = device.find(is_poll).is_some();
        return if is_awaited { answer_poll(device) } else { Ok(()) };
    }
    if let Some(text) = rest.strip_prefix("fails ") {
        let asked = |effect: &Effect| {
            let is_put = matches!(effect, Effect::PutCapabilities { .. });
            is_put || is_poll(effect) || *effect == Effect::LoadTrust
        };
        return end(device, asked, failed(text)?);
    }
    match rest {
        "answers" => answer_poll(device),
        "sends the artifacts" => {
            let desired = device.offered.clone().ok_or("it offered nothing")?;
            end(device, is_fetch, Outcome::DeploymentsFetched { desired })
        }
        "takes the report" => end(device, is_report, Outcome::ReportAccepted),
        "takes all reports" => {
            while let Some(id) = device.find(is_report) {
                device.finish(id, Outcome::ReportAccepted);
            }
            Ok(())
        }
        "takes the capabilities" => {
            let is_put = |effect: &Effect| matches!(effect, Effect::PutCapabilities { .. });
            end(device, is_put, Outcome::CapabilitiesAccepted)
        }
        other => match other.split_once(' ') {
            Some(("fetch", text)) => {
                end(device, is_fetch, failed(text.trim_start_matches("fails "))?)
            }
            Some(("report", text)) => {
                end(device, is_report, failed(text.trim_start_matches("fails "))?)
            }
            _ => Err("not a known line".to_owned()),
        },
    }
}

fn answer_poll(device: &mut Device) -> Played {
    let outcome = device.poll_answer();
    end(device, is_poll, outcome)
}

/// What happens to the device as a whole. `None`: the line is about something else.
fn world(device: &mut Device, line: &str) -> Option<Played> {
    match line {
        "start fresh" => device.start(StoreCondition::Fresh),
        "power cut" => device.start(StoreCondition::Intact),
        "power cut, one state copy damaged" => device.start(StoreCondition::Healed),
        "agent restarts" => device.restart(StoreCondition::Intact),
        "power cut, state lost" => device.start(StoreCondition::Lost),
        "all goes well" => device.all_goes_well(),
        "engine goes away" => device.feed(&Event::EngineDisconnected),
        "identity files change" => device.feed(&Event::IdentityChanged),
        "network is back" | "operator asks for a poll" => device.feed(&Event::SyncRequested),
        "identity loads" => {
            let identity = device.identity.clone();
            let outcome = Outcome::IdentityLoaded { identity };
            return Some(end(device, |effect| *effect == Effect::LoadIdentity, outcome));
        }
        "trust loads" => {
            return Some(end(device, |effect| *effect == Effect::LoadTrust, Outcome::TrustLoaded));
        }
        "engine answers" => {
            let connects = |effect: &Effect| *effect == Effect::ConnectEngine;
            return Some(end(device, connects, Outcome::EngineReady));
        }
        _ => return world_with_argument(device, line),
    }
    Some(Ok(()))
}

fn world_with_argument(device: &mut Device, line: &str) -> Option<Played> {
    let after = |start: &str| line.strip_prefix(start);
    if let Some(text) = after("engine fails ") {
        let connects = |effect: &Effect| *effect == Effect::ConnectEngine;
        return Some(failed(text).and_then(|outcome| end(device, connects, outcome)));
    }
    if let Some(text) = after("identity fails ") {
        let loads = |effect: &Effect| *effect == Effect::LoadIdentity;
        return Some(failed(text).and_then(|outcome| end(device, loads, outcome)));
    }
    if let Some(list) = after("image ships ") {
        return Some(desired(list).map(|desired| device.preload = Some(desired)));
    }
    if let Some(name) = after("identity is ") {
        device.identity = IdentityKey::from(name);
    } else if let Some(digest) = after("capabilities are ") {
        device.capabilities = Digest::from(digest);
        let capabilities = device.capabilities.clone();
        device.feed(&Event::CapabilitiesChanged { capabilities });
    } else if let Some(time) = after("clock says ") {
        return Some(minute(time).map(|minute| device.set_clock(minute)));
    } else if let Some(slot) = after("slot ") {
        let (slot, word) = slot.split_once(" is ")?;
        device.set_slot(slot, word == "committed", None);
        if device.state.live.next_effect > 0 {
            device.feed(&Event::BootObserved { boot: device.boot.clone() });
        }
    } else if let Some(slot) = after("power cut, boots on trial: ") {
        device.set_slot(slot, false, None);
        device.start(StoreCondition::Intact);
    } else if let Some(id) = after("operator retries ") {
        device.feed(&Event::RetryRequested { deployment: DeploymentId::from(id) });
    } else {
        return None;
    }
    Some(Ok(()))
}

/// `app-a prepared`, `app-a/web fails START_FAILED "exit 1"`, `app-a observed: web MISMATCH "gone"`.
fn about_deployment(device: &mut Device, line: &str) -> Played {
    let (subject, what) = line.split_once(' ').ok_or("not a known line")?;
    if let Some((id, component)) = subject.split_once('/') {
        let outcome = match what.split_once(' ') {
            None if what == "applied" => Outcome::ComponentApplied,
            Some(("fails", text)) => failed(text)?,
            _ => return Err("not a known line".to_owned()),
        };
        let id = find_apply(device, id, component)?;
        device.finish(id, outcome);
        return Ok(());
    }
    let id = DeploymentId::from(subject);
    if let Some(list) = what.strip_prefix("observed: ") {
        let mismatches: Result<Vec<Failure>, String> = list.split("; ").map(mismatch).collect();
        let outcome = Outcome::DeploymentObserved { mismatches: mismatches? };
        return end(device, |effect| kind(effect, &id) == Some("observe"), outcome);
    }
    let (wanted, outcome) = match what {
        "changed" => {
            device.feed(&Event::WorkloadChanged { deployment: id });
            return Ok(());
        }
        "prepared" => ("prepare", Outcome::DeploymentPrepared),
        "is all right" => ("observe", Outcome::DeploymentObserved { mismatches: Vec::new() }),
        "pruned" => ("prune", Outcome::DeploymentPruned),
        "removed" => ("remove", Outcome::DeploymentRemoved),
        other => match other.split_once(" fails ") {
            Some((wanted, text)) => (wanted, failed(text)?),
            None => return Err("not a known line".to_owned()),
        },
    };
    end(device, |effect| kind(effect, &id) == Some(wanted), outcome)
}

fn find_apply(device: &Device, id: &str, name: &str) -> Result<EffectId, String> {
    let (id, name) = (DeploymentId::from(id), ComponentName::from(name));
    let fits = |effect: &Effect| {
        matches!(effect, Effect::ApplyComponent { deployment, component, .. }
            if *deployment == id && *component == name)
    };
    device.find(fits).ok_or_else(|| "nothing under way that this would answer".to_owned())
}

/// `web MISMATCH "removed"`.
fn mismatch(text: &str) -> Result<Failure, String> {
    let (component, text) = text.split_once(' ').ok_or("expected a component and a failure")?;
    Ok(failure(text)?.in_component(ComponentName::from(component)))
}

/// The word for an effect on this deployment as a whole.
fn kind(effect: &Effect, id: &DeploymentId) -> Option<&'static str> {
    match effect {
        Effect::PrepareDeployment { deployment, .. } if deployment == id => Some("prepare"),
        Effect::ObserveDeployment { deployment, .. } if deployment == id => Some("observe"),
        Effect::PruneDeployment { deployment, .. } if deployment == id => Some("prune"),
        Effect::RemoveDeployment { deployment } if deployment == id => Some("remove"),
        _ => None,
    }
}
