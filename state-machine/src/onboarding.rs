//! Sub-machine: from first power-on to being known to the WFM. Each stage retries for ever and is visible locally.

use crate::backoff::contact_delay_ms;
use crate::effect::Effect;
use crate::failure::Failure;
use crate::ids::{Digest, EffectId, IdentityKey};
use crate::step::Cx;
use crate::transition::{Edge, MachineName, Transition, Why, edge};
use serde::{Deserialize, Serialize};

/// Every change of the onboarding machine.
pub const EDGES: &[Edge] = &[
    edge("unprovisioned", Why::Started, "unprovisioned"),
    edge("unprovisioned", Why::StateHealed, "unprovisioned"),
    edge("unprovisioned", Why::StateLost, "unprovisioned"),
    edge("unprovisioned", Why::Failed, "unprovisioned"),
    edge("unprovisioned", Why::IdentityLoaded, "provisioned"),
    edge("provisioned", Why::TrustLoaded, "trusted"),
    edge("provisioned", Why::TrustLoaded, "registered"),
    edge("provisioned", Why::Failed, "provisioned"),
    edge("provisioned", Why::IdentityChanged, "unprovisioned"),
    edge("trusted", Why::CapabilitiesAccepted, "registered"),
    edge("trusted", Why::Failed, "trusted"),
    edge("trusted", Why::CapabilitiesChanged, "trusted"),
    edge("trusted", Why::IdentityChanged, "unprovisioned"),
    edge("registered", Why::CapabilitiesChanged, "trusted"),
    edge("registered", Why::IdentityChanged, "unprovisioned"),
    edge("unprovisioned", Why::IdentityChanged, "unprovisioned"),
];

/// How far the device has come. `synced`, the last stage shown to people, is "registered and contacted".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// No usable key, SVID or endpoint.
    #[default]
    Unprovisioned,
    /// There is a usable identity.
    Provisioned,
    /// There is a trust bundle as well.
    Trusted,
    /// The WFM knows the device's present capabilities.
    Registered,
}

impl Stage {
    /// Lowercase name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unprovisioned => "unprovisioned",
            Self::Provisioned => "provisioned",
            Self::Trusted => "trusted",
            Self::Registered => "registered",
        }
    }
}

/// Durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Onboarding {
    /// The relationship everything else here belongs to.
    pub identity: Option<IdentityKey>,
    /// Digest of the capabilities the WFM last took.
    pub capabilities: Option<Digest>,
    /// Digest of capabilities that may have reached the WFM without its answer having been recorded: while this
    /// is set, what the WFM believes is not known, whatever the present capabilities are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered: Option<Digest>,
}

/// Volatile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Live {
    /// How far.
    pub stage: Stage,
    /// The effect under way.
    pub job: Option<EffectId>,
    /// Digest of the capabilities as they are now.
    pub capabilities: Option<Digest>,
    /// Failed attempts at the present stage.
    pub attempt: u32,
    /// Not before this, in monotonic milliseconds.
    pub retry_at_ms: Option<u64>,
    /// The WFM asked not to be contacted before this (R202), in monotonic milliseconds.
    pub asked_until_ms: Option<u64>,
    /// Why the present stage is not left.
    pub last_failure: Option<Failure>,
}

impl Onboarding {
    /// Starts the next stage's effect, if one is due.
    pub(crate) fn schedule(&mut self, live: &mut Live, cx: &mut Cx<'_>) {
        if live.job.is_some() || !cx.now.reached(live.retry_at_ms) {
            return;
        }
        let effect = match live.stage {
            Stage::Unprovisioned => Effect::LoadIdentity,
            Stage::Provisioned => Effect::LoadTrust,
            Stage::Trusted if cx.policy.may_talk(cx.now) => match &live.capabilities {
                Some(capabilities) => {
                    self.offered = Some(capabilities.clone());
                    Effect::PutCapabilities { capabilities: capabilities.clone() }
                }
                None => return,
            },
            Stage::Trusted | Stage::Registered => return,
        };
        live.job = Some(cx.start(effect));
    }

    /// Whether the WFM knows the capabilities as they are now.
    fn is_registered(&self, live: &Live) -> bool {
        live.capabilities.is_some()
            && self.capabilities == live.capabilities
            && self.offered.is_none()
    }

    /// Whether the manifest may be polled: once registered, a mere change of capabilities does not stop it.
    pub(crate) fn may_sync(&self, live: &Live) -> bool {
        live.stage >= Stage::Trusted && self.capabilities.is_some()
    }

    /// Key and SVID are usable. Returns whether they stand for another relationship than before.
    pub(crate) fn on_identity(
        &mut self,
        live: &mut Live,
        identity: &IdentityKey,
        cx: &mut Cx<'_>,
    ) -> bool {
        let replaced = self.identity.as_ref().is_some_and(|old| old != identity);
        if replaced {
            self.capabilities = None;
            self.offered = None;
        }
        self.identity = Some(identity.clone());
        live.go(Stage::Provisioned, Why::IdentityLoaded, cx);
        replaced
    }

    /// There is a trust bundle.
    pub(crate) fn on_trust(&self, live: &mut Live, cx: &mut Cx<'_>) {
        let stage = if self.is_registered(live) { Stage::Registered } else { Stage::Trusted };
        live.go(stage, Why::TrustLoaded, cx);
    }

    /// The WFM took the capabilities.
    pub(crate) fn on_capabilities_accepted(&mut self, live: &mut Live, cx: &mut Cx<'_>) {
        // What was sent, which need not be what they are by now.
        self.capabilities = self.offered.take();
        live.go(Stage::Registered, Why::CapabilitiesAccepted, cx);
    }

    /// The capabilities are now these.
    pub(crate) fn on_capabilities_changed(
        &self,
        live: &mut Live,
        digest: &Digest,
        cx: &mut Cx<'_>,
    ) {
        if live.capabilities.as_ref() == Some(digest) {
            return;
        }
        live.capabilities = Some(digest.clone());
        if live.stage >= Stage::Trusted && !self.is_registered(live) {
            cx.cancel(live.job.take());
            let asked_until_ms = live.asked_until_ms;
            live.go(Stage::Trusted, Why::CapabilitiesChanged, cx);
            live.retry_at_ms = asked_until_ms;
        }
    }
}

impl Live {
    fn go(&mut self, stage: Stage, why: Why, cx: &mut Cx<'_>) {
        let prev = core::mem::replace(&mut self.stage, stage);
        self.job = None;
        self.attempt = 0;
        self.retry_at_ms = None;
        self.asked_until_ms = None;
        self.last_failure = None;
        self.note(prev, why, cx);
    }

    fn note(&self, prev: Stage, why: Why, cx: &mut Cx<'_>) {
        cx.transitions.push(Transition {
            machine: MachineName::Onboarding,
            subject: None,
            component: None,
            prev: prev.as_str(),
            next: self.stage.as_str(),
            why,
            failure: self.last_failure.clone(),
        });
    }

    /// The present stage's effect failed.
    pub(crate) fn fail(&mut self, failure: &Failure, cx: &mut Cx<'_>) {
        self.job = None;
        self.attempt = self.attempt.saturating_add(1);
        let wait_ms = contact_delay_ms(self.attempt, failure, 4, cx.policy);
        self.retry_at_ms = Some(cx.now.after(wait_ms));
        self.asked_until_ms = failure.retry_after_ms.map(|ms| cx.now.after(ms));
        self.last_failure = Some(failure.clone());
        self.note(self.stage, Why::Failed, cx);
    }

    /// Key, SVID, bundle or endpoint may have changed: look at them again.
    pub(crate) fn on_identity_changed(&mut self, cx: &mut Cx<'_>) {
        cx.cancel(self.job.take());
        self.go(Stage::Unprovisioned, Why::IdentityChanged, cx);
    }
}
