//! The device of a transcript: the machine, its stable storage, the effects under way, the clock. It writes down
//! what the machine answers, and holds it to the contract at every step.

use crate::support::{is_allowed, version_of};
use crate::words::{order, seconds};
use state_machine::desired::DesiredState;
use state_machine::effect::{Bundle, Effect, FirmwareSource, ManifestHead, Outcome};
use state_machine::event::{BootSlot, Event, Observation, StoreCondition};
use state_machine::ids::{BootId, Digest, EffectId, IdentityKey, SlotName};
use state_machine::policy::{Policy, RetryPolicy};
use state_machine::state::State;
use state_machine::time::Now;
use std::collections::BTreeMap;

/// More answers than any script needs: reaching it is a loop.
const ANSWERS_MAX: usize = 2_000;

/// A poll that found nothing new, once shortened.
const QUIET_POLL: [&str; 1] = ["sync: polling -> idle (unchanged)"];

/// See the module.
pub(crate) struct Device {
    pub(crate) policy: Policy,
    pub(crate) state: State,
    /// Stable storage: the document, as bytes.
    disk: String,
    under_way: BTreeMap<EffectId, Effect>,
    now: Now,
    wake_at_ms: Option<u64>,
    /// What the world around it is like.
    pub(crate) offered: Option<DesiredState>,
    pub(crate) preload: Option<DesiredState>,
    pub(crate) boot: Option<BootSlot>,
    boots: u32,
    pub(crate) identity: IdentityKey,
    pub(crate) capabilities: Digest,
    answer: Vec<String>,
}

impl Device {
    pub(crate) fn new() -> Self {
        let retry = RetryPolicy { jitter_percent: 0, ..Policy::default().retry };
        Self {
            policy: Policy { retry, ..Policy::default() },
            state: State::default(),
            disk: serde_json::to_string(&State::default().durable).unwrap(),
            under_way: BTreeMap::new(),
            now: Now::monotonic(0),
            wake_at_ms: None,
            offered: None,
            preload: None,
            boot: None,
            boots: 0,
            identity: IdentityKey::from("wfm-1"),
            capabilities: Digest::from("c1"),
            answer: Vec::new(),
        }
    }

    /// The device boots, and the agent starts on what is on stable storage. Time begins anew; wall time is as far as
    /// it was.
    pub(crate) fn start(&mut self, store: StoreCondition) {
        self.boots += 1;
        self.now.monotonic_ms = 0;
        if let Some(boot) = &mut self.boot {
            boot.boot = BootId::new(format!("boot-{}", self.boots));
        }
        self.restart(store);
    }

    /// Only the agent starts.
    pub(crate) fn restart(&mut self, store: StoreCondition) {
        if store == StoreCondition::Lost {
            self.disk = "{}".to_owned();
        }
        self.state = State::with_durable(serde_json::from_str(&self.disk).unwrap());
        self.under_way.clear();
        let observation = Observation {
            store,
            capabilities: self.capabilities.clone(),
            preload: self.preload.clone(),
            boot: self.boot.clone(),
        };
        self.feed(&Event::Started { observation });
    }

    /// What is known of a boot from this slot from now on.
    pub(crate) fn set_slot(&mut self, slot: &str, committed: bool, version: Option<String>) {
        let other = if slot == "rootfs.0" { "rootfs.1" } else { "rootfs.0" };
        self.boot = Some(BootSlot {
            slot: SlotName::from(slot),
            other: Some(SlotName::from(other)),
            committed,
            boot: BootId::new(format!("boot-{}", self.boots)),
            version: version.or_else(|| self.boot.as_ref()?.version.clone()),
            note: None,
        });
    }

    /// One event, and what the driver's contract makes of the answer.
    pub(crate) fn feed(&mut self, event: &Event) {
        let step = state_machine::step(&self.state, event, &self.now, &self.policy);
        for transition in &step.transitions {
            assert!(is_allowed(transition), "not in EDGES: {transition}");
            self.answer.push(transition.to_string());
        }
        let document = serde_json::to_string(&step.next.durable).unwrap();
        assert_eq!(step.persist, document != self.disk, "persist is not what changed");
        assert_eq!(step.next.durable, serde_json::from_str(&document).unwrap(), "not round-trip");
        if step.persist {
            self.disk = document;
            self.answer.push("saved".to_owned());
        }
        for id in &step.cancels {
            let effect = self.under_way.remove(id).expect("only what is under way is cancelled");
            self.answer.push(format!("stop: {}", order(&effect)));
        }
        self.state = step.next;
        self.wake_at_ms = step.wake_at_ms;
        assert!(step.wake_at_ms.is_none_or(|at| at > self.now.monotonic_ms), "wakes in the past");
        let mut collecting = None;
        for (id, effect) in step.effects {
            self.answer.push(format!("do: {}", order(&effect)));
            if effect == Effect::CollectGarbage {
                collecting = Some(id);
            }
            self.under_way.insert(id, effect);
        }
        // Nothing a reader wants to decide about.
        if let Some(id) = collecting {
            self.finish(id, Outcome::GarbageCollected);
        }
    }

    /// Ends an effect.
    pub(crate) fn finish(&mut self, id: EffectId, outcome: Outcome) {
        self.under_way.remove(&id);
        self.feed(&Event::EffectFinished { id, outcome });
    }

    /// The oldest effect under way that fits.
    pub(crate) fn find(&self, fits: impl Fn(&Effect) -> bool) -> Option<EffectId> {
        self.under_way.iter().find(|(_, effect)| fits(effect)).map(|(id, _)| *id)
    }

    /// What is under way, for an error message.
    pub(crate) fn under_way(&self) -> String {
        let all: Vec<String> = self.under_way.values().map(order).collect();
        if all.is_empty() { "nothing".to_owned() } else { all.join("; ") }
    }

    /// Everything under way succeeds, and whatever follows from it.
    pub(crate) fn all_goes_well(&mut self) {
        for _ in 0..ANSWERS_MAX {
            let mut ending = self.under_way.iter().filter(|(_, effect)| **effect != Effect::Reboot);
            let Some((&id, effect)) = ending.next() else { return };
            let outcome = self.success(&effect.clone());
            self.finish(id, outcome);
        }
        panic!("the machine goes on for ever: {}", self.under_way());
    }

    fn success(&self, effect: &Effect) -> Outcome {
        match effect {
            Effect::LoadIdentity => Outcome::IdentityLoaded { identity: self.identity.clone() },
            Effect::LoadTrust => Outcome::TrustLoaded,
            Effect::PutCapabilities { .. } => Outcome::CapabilitiesAccepted,
            Effect::ConnectEngine => Outcome::EngineReady,
            Effect::PollManifest { .. } => self.poll_answer(),
            Effect::FetchDeployments { .. } => {
                let desired =
                    self.offered.clone().expect("a manifest is fetched after it was offered");
                Outcome::DeploymentsFetched { desired }
            }
            Effect::PrepareDeployment { .. } => Outcome::DeploymentPrepared,
            Effect::ApplyComponent { .. } => Outcome::ComponentApplied,
            Effect::ObserveDeployment { .. } => Outcome::DeploymentObserved { mismatches: vec![] },
            Effect::PruneDeployment { .. } => Outcome::DeploymentPruned,
            Effect::RemoveDeployment { .. } => Outcome::DeploymentRemoved,
            Effect::SendReport { .. } => Outcome::ReportAccepted,
            Effect::CollectGarbage => Outcome::GarbageCollected,
            Effect::PrepareFirmware { source } => {
                let version = match source {
                    FirmwareSource::Deployment { revision, .. } => version_of(revision),
                    FirmwareSource::Location { .. } => "9".to_owned(),
                };
                Outcome::FirmwarePrepared { bundle: Bundle { version, manifest: None } }
            }
            Effect::InstallFirmware { .. } => Outcome::FirmwareInstalled,
            Effect::DiscardFirmware
            | Effect::CommitSlot
            | Effect::RejectSlot
            | Effect::ActivateOther => Outcome::SlotMarked,
            Effect::CheckSystem => Outcome::SystemChecked { failures: Vec::new() },
            Effect::Reboot => unreachable!("it never comes back"),
        }
    }

    /// What the WFM says to a poll now.
    pub(crate) fn poll_answer(&self) -> Outcome {
        let accepted = self.state.durable.sync.accepted.as_ref();
        match &self.offered {
            Some(offered) if accepted.is_none_or(|a| a.etag != offered.etag) => {
                let manifest = Digest::new(format!("manifest v{}", offered.version));
                Outcome::ManifestReceived {
                    head: ManifestHead { version: offered.version, manifest },
                }
            }
            _ => Outcome::ManifestUnchanged,
        }
    }

    /// Time passes up to the machine's next alarm.
    pub(crate) fn wait_for_alarm(&mut self) -> Result<(), String> {
        let at = self.wake_at_ms.ok_or("the machine set no alarm")?;
        self.advance(at);
        self.feed(&Event::TimerElapsed);
        Ok(())
    }

    /// This much time passes, with every alarm in between. `well`: whatever is ordered meanwhile succeeds at once.
    pub(crate) fn wait(&mut self, ms: u64, well: bool) -> Result<(), String> {
        let end = self.now.monotonic_ms + ms;
        let mut quiet_polls = 0_u32;
        for _ in 0..ANSWERS_MAX {
            let Some(at) = self.wake_at_ms.filter(|at| *at <= end) else {
                self.advance(end);
                if quiet_polls > 0 {
                    self.answer.push(format!("(polls that found nothing new: {quiet_polls})"));
                }
                return Ok(());
            };
            let begun = self.answer.len();
            let passed = seconds(at - (end - ms));
            self.advance(at);
            self.feed(&Event::TimerElapsed);
            if well {
                self.all_goes_well();
                self.shorten_poll(begun);
            }
            if self.answer[begun..].iter().map(String::as_str).eq(QUIET_POLL) {
                quiet_polls += 1;
                self.answer.truncate(begun);
            } else if self.answer.len() > begun {
                self.answer.insert(begun, format!("after {passed}:"));
            }
        }
        Err("the machine wakes for ever".to_owned())
    }

    /// Time passes, alarm by alarm, until an effect that fits is under way. What merely compares finds all right.
    pub(crate) fn wait_until(&mut self, fits: impl Fn(&Effect) -> bool) -> Result<(), String> {
        let (begun, asleep) = (self.answer.len(), self.now.monotonic_ms);
        for _ in 0..100 {
            self.wait_for_alarm()?;
            let looks =
                |e: &Effect| matches!(e, Effect::ObserveDeployment { .. } | Effect::CheckSystem);
            while let Some(id) = self.find(looks) {
                let effect = self.under_way[&id].clone();
                self.finish(id, self.success(&effect));
            }
            if self.find(&fits).is_some() {
                let passed = seconds(self.now.monotonic_ms - asleep);
                self.answer.insert(begun, format!("after {passed}:"));
                return Ok(());
            }
        }
        Err("it is not done within 100 alarms".to_owned())
    }

    /// Replaces a poll that found nothing new by one line.
    fn shorten_poll(&mut self, begun: usize) {
        let is_part = |line: &String| {
            line == "sync: idle -> polling (poll due)"
                || line.starts_with("do: poll")
                || line == QUIET_POLL[0]
        };
        let parts = self.answer[begun..].iter().filter(|line| is_part(line)).count();
        if parts == 3 && self.answer[begun..].iter().any(|line| line == QUIET_POLL[0]) {
            let kept: Vec<String> =
                self.answer.drain(begun..).filter(|line| !is_part(line)).collect();
            self.answer.push(QUIET_POLL[0].to_owned());
            self.answer.extend(kept);
        }
    }

    fn advance(&mut self, to_ms: u64) {
        let passed = to_ms - self.now.monotonic_ms;
        self.now.monotonic_ms = to_ms;
        self.now.wall_unix_ms = self.now.wall_unix_ms.map(|wall| wall + passed);
    }

    /// The wall clock is set.
    pub(crate) fn set_clock(&mut self, minute_of_day: u16) {
        self.now.wall_unix_ms = Some(u64::from(minute_of_day) * 60_000);
    }

    /// What the machine answered since the last call, ending with its alarm.
    pub(crate) fn take_answer(&mut self) -> Vec<String> {
        let mut answer = std::mem::take(&mut self.answer);
        if let Some(at) = self.wake_at_ms {
            let left = at.saturating_sub(self.now.monotonic_ms);
            answer.push(format!("wakes in {}", seconds(left)));
        }
        answer
    }
}
