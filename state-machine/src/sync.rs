//! Sub-machine: polling the state manifest and accepting desired state.
//!
//! Accepting is one durable step: either the whole verified state is taken or nothing changes (R123). A version
//! that is not greater than the accepted one is never taken (I3, R125).

use crate::backoff::contact_delay_ms;
use crate::desired::DesiredState;
use crate::effect::{Effect, ManifestHead};
use crate::failure::{Code, Failure};
use crate::ids::{EffectId, ManifestVersion};
use crate::step::Cx;
use crate::transition::{Edge, MachineName, Transition, Why, edge};
use alloc::format;
use alloc::string::String;
use serde::{Deserialize, Serialize};

/// Every change of the sync machine.
pub const EDGES: &[Edge] = &[
    edge("idle", Why::PollDue, "polling"),
    edge("polling", Why::Unchanged, "idle"),
    edge("polling", Why::ManifestOlder, "idle"),
    edge("polling", Why::ManifestReceived, "fetching"),
    edge("polling", Why::Failed, "idle"),
    edge("polling", Why::IdentityChanged, "idle"),
    edge("fetching", Why::Accepted, "idle"),
    edge("fetching", Why::Failed, "idle"),
    edge("fetching", Why::IdentityChanged, "idle"),
    edge("polling", Why::FirmwareFirst, "idle"),
    edge("fetching", Why::FirmwareFirst, "idle"),
    edge("idle", Why::Preloaded, "idle"),
    edge("idle", Why::Requested, "idle"),
];

/// The manifest last accepted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Accepted {
    /// Its version: nothing that is not greater is accepted (R125).
    pub version: ManifestVersion,
    /// Its entity tag (R124).
    pub etag: Option<String>,
}

/// Durable: what was accepted under the present identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sync {
    /// `None`: no manifest was ever accepted.
    pub accepted: Option<Accepted>,
    /// A manifest was once accepted, from whichever WFM, or the state was lost: what ships in the image is history,
    /// and taking it would remove or set back what runs (I3, I5).
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub preload_ended: bool,
}

/// What is under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Waiting for the next poll.
    #[default]
    Idle,
    /// A poll is under way.
    Polling {
        /// Its effect.
        id: EffectId,
    },
    /// A manifest's artifacts are being fetched.
    Fetching {
        /// Its effect.
        id: EffectId,
        /// The manifest.
        head: ManifestHead,
    },
}

impl Stage {
    /// Lowercase name.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Polling { .. } => "polling",
            Self::Fetching { .. } => "fetching",
        }
    }
}

/// Volatile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Live {
    /// What is under way.
    pub stage: Stage,
    /// Not before this, in monotonic milliseconds. `None`: at once.
    pub poll_at_ms: Option<u64>,
    /// The WFM asked not to be contacted before this (R202), in monotonic milliseconds.
    pub asked_until_ms: Option<u64>,
    /// Failed attempts in a row.
    pub attempt: u32,
    /// The WFM has answered since the agent started, and what it said has been accepted, refused, or not to be had.
    pub contacted: bool,
    /// A poll was asked for while one was under way, which may have missed what it was asked for.
    pub again: bool,
    /// Why the last attempt failed, if it did.
    pub last_failure: Option<Failure>,
}

impl Sync {
    /// Starts a poll if one is due. Call only when the WFM may be polled.
    pub(crate) fn schedule(&self, live: &mut Live, cx: &mut Cx<'_>) {
        if live.stage != Stage::Idle || !cx.now.reached(live.poll_at_ms) {
            return;
        }
        let etag = self.accepted.as_ref().and_then(|accepted| accepted.etag.clone());
        let id = cx.start(Effect::PollManifest { etag });
        live.go(Stage::Polling { id }, Why::PollDue, None, cx);
    }

    /// The poll found another manifest.
    pub(crate) fn on_manifest(&self, live: &mut Live, head: &ManifestHead, cx: &mut Cx<'_>) {
        let floor = self.accepted.as_ref().map_or(ManifestVersion(0), |accepted| accepted.version);
        if head.version <= floor {
            live.contacted = true;
            let message = format!("offered version {}, accepted version {floor}", head.version);
            live.fail(&Failure::new(Code::ManifestOlder, message), Why::ManifestOlder, cx);
            return;
        }
        let id = cx.start(Effect::FetchDeployments { manifest: head.manifest.clone() });
        live.go(Stage::Fetching { id, head: head.clone() }, Why::ManifestReceived, None, cx);
    }

    /// Everything the manifest names is stored. Returns whether it may be accepted, which the caller then does.
    pub(crate) fn on_fetched(
        &mut self,
        live: &mut Live,
        desired: &DesiredState,
        cx: &mut Cx<'_>,
    ) -> bool {
        let expected = match &live.stage {
            Stage::Fetching { head, .. } => head.version,
            Stage::Idle | Stage::Polling { .. } => return false,
        };
        if desired.version != expected {
            let message = format!("fetched version {}, expected {expected}", desired.version);
            live.fail(&Failure::new(Code::Internal, message), Why::Failed, cx);
            return false;
        }
        self.preload_ended = true;
        self.accepted = Some(Accepted { version: desired.version, etag: desired.etag.clone() });
        live.succeed(Why::Accepted, cx);
        true
    }
}

impl Live {
    fn go(&mut self, stage: Stage, why: Why, failure: Option<&Failure>, cx: &mut Cx<'_>) {
        let prev = self.stage.as_str();
        self.stage = stage;
        self.note(prev, why, failure, cx);
    }

    /// Records a transition that ends in the present stage.
    pub(crate) fn note(
        &self,
        prev: &'static str,
        why: Why,
        failure: Option<&Failure>,
        cx: &mut Cx<'_>,
    ) {
        cx.transitions.push(Transition {
            machine: MachineName::Sync,
            subject: None,
            component: None,
            prev,
            next: self.stage.as_str(),
            why,
            failure: failure.cloned(),
        });
    }

    /// The effect under way, if one.
    pub(crate) fn effect(&self) -> Option<EffectId> {
        match &self.stage {
            Stage::Idle => None,
            Stage::Polling { id } | Stage::Fetching { id, .. } => Some(*id),
        }
    }

    /// The WFM answered as it should.
    pub(crate) fn succeed(&mut self, why: Why, cx: &mut Cx<'_>) {
        self.contacted = true;
        self.attempt = 0;
        self.last_failure = None;
        self.asked_until_ms = None;
        let asked = core::mem::take(&mut self.again);
        self.poll_at_ms = (!asked).then(|| cx.now.after(cx.policy.poll_interval_ms));
        self.go(Stage::Idle, why, None, cx);
    }

    /// The attempt failed; nothing that was accepted changes.
    pub(crate) fn fail(&mut self, failure: &Failure, why: Why, cx: &mut Cx<'_>) {
        // What the manifest says could not be had: what is held is the WFM's last word that can be.
        self.contacted |= matches!(self.stage, Stage::Fetching { .. });
        self.attempt = self.attempt.saturating_add(1);
        let wait_ms = contact_delay_ms(self.attempt, failure, 6, cx.policy);
        self.poll_at_ms = Some(cx.now.after(wait_ms));
        self.asked_until_ms = failure.retry_after_ms.map(|ms| cx.now.after(ms));
        self.again = false;
        self.last_failure = Some(failure.clone());
        self.go(Stage::Idle, why, Some(failure), cx);
    }

    /// Gives up on what is under way: identity or endpoint changed.
    pub(crate) fn reset(&mut self, cx: &mut Cx<'_>) {
        cx.cancel(self.effect());
        if self.stage != Stage::Idle {
            self.go(Stage::Idle, Why::IdentityChanged, None, cx);
        }
        self.attempt = 0;
        self.poll_at_ms = None;
        self.asked_until_ms = None;
    }

    /// Gives up on what is under way, to begin anew when firmware is done.
    pub(crate) fn pause(&mut self, cx: &mut Cx<'_>) {
        if self.stage != Stage::Idle {
            cx.cancel(self.effect());
            self.go(Stage::Idle, Why::FirmwareFirst, None, cx);
            self.again = false;
            self.poll_at_ms = self.asked_until_ms;
        }
    }

    /// A poll is wanted now, or as soon as the WFM will have it.
    pub(crate) fn on_requested(&mut self, cx: &mut Cx<'_>) {
        self.poll_at_ms = self.asked_until_ms;
        self.attempt = 0;
        if self.stage == Stage::Idle {
            self.note("idle", Why::Requested, None, cx);
        } else {
            self.again = true;
        }
    }
}
