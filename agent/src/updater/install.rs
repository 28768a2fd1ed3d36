//! One installation, from the wish to the proof.
//!
//! `Completed` carries no transaction, may belong to somebody else's installation, and never comes when RAUC dies.
//! So it only wakes us up: what happened is read from the slots once RAUC answers about them again.

use super::bundle::Origin;
use super::dbus::{InstallerProxy, error_text};
use super::rauc::{Progress, Rauc, Refusal, sort};
use super::reason::{self, Doing, classify};
use super::slots::Slots;
use futures_util::StreamExt;
use state_machine::failure::{Code, Failure};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;
use zbus::Variant;

/// Looks at an installation between two questions whether it is still one.
const LOOKS_PER_QUESTION: u32 = 10;
/// Progress is logged when it passes a multiple of this, in percent.
const LOG_STEP_PERCENT: u8 = 25;

/// What is to be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) transaction: String,
    pub(super) origin: Origin,
    /// The manifest that preparing found.
    pub(super) manifest: Option<String>,
    pub(super) target: String,
}

/// Why waiting for an installation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// RAUC said `Completed`, with success or not.
    Completed { success: bool },
    /// RAUC answers about slots: nothing is being installed, and `Completed` was lost.
    Silent,
    /// RAUC or the bus went away.
    Died,
    /// It took too long.
    Late,
}

impl Rauc {
    /// Installs, joins what is under way, or finds it done.
    ///
    /// # Errors
    /// The booted slot is the next one to boot then, or the message says that it could not be made so.
    pub(super) async fn install(&self, order: &Order) -> Result<(), Failure> {
        let _turn = self.turn.lock().await;
        let result = self.install_in_turn(order).await;
        self.progress.send_replace(None);
        result
    }

    /// Waits until nothing is being installed; says whether this transaction's bundle is there then.
    pub(super) async fn join(&self, transaction: &str, target: &str) -> Result<bool, Failure> {
        let _turn = self.turn.lock().await;
        let until = Instant::now() + Duration::from_millis(self.pace.install_timeout_ms);
        let settled = self.settled(until).await;
        self.progress.send_replace(None);
        Ok(settled?.0.holds(target, transaction))
    }

    async fn install_in_turn(&self, order: &Order) -> Result<(), Failure> {
        let until = Instant::now() + Duration::from_millis(self.pace.install_timeout_ms);
        loop {
            // Whoever installs now: this agent before its restart, or somebody else.
            let (slots, waited) = self.settled(until).await?;
            if slots.holds(&order.target, &order.transaction) {
                return Ok(());
            }
            if waited {
                tracing::warn!(
                    "an installation that is not this agent's present one was waited for"
                );
            }
            admit(&slots, order)?;
            match self.run(order, until).await {
                Ok(end) => return self.verdict(order, end, until).await,
                // Somebody was quicker.
                Err(Refusal::Busy) if Instant::now() < until => {}
                Err(Refusal::Said(said)) => {
                    return Err(classify(doing(order), &said));
                }
                Err(refusal) => return Err(refusal.to_failure("starting the installation")),
            }
        }
    }

    /// The slots at a moment at which nothing is being installed, and whether that had to be waited for.
    async fn settled(&self, until: Instant) -> Result<(Slots, bool), Failure> {
        let mut waited = false;
        let mut gone_since = None;
        loop {
            match self.slots_within(Duration::ZERO).await {
                Ok(slots) => return Ok((slots, waited)),
                Err(Refusal::Busy) if Instant::now() < until => {
                    waited = true;
                    gone_since = None;
                    self.publish().await;
                }
                Err(refusal @ Refusal::Gone(_)) => {
                    // It is started again by the service manager, or by our own question.
                    let since = *gone_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= Duration::from_millis(self.pace.patience_ms) {
                        return Err(refusal.to_failure("reading the slots"));
                    }
                }
                Err(refusal) => return Err(refusal.to_failure("reading the slots")),
            }
            tokio::time::sleep(Duration::from_millis(self.pace.look_ms)).await;
        }
    }

    /// Starts the installation and waits for its end, whatever that is.
    async fn run(&self, order: &Order, until: Instant) -> Result<End, Refusal> {
        let rauc = self.bus.installer().await.map_err(|error| sort(&error))?;
        // Listening first: an installation that fails at once is over before its call returns.
        let mut completed = rauc.receive_completed().await.map_err(|error| sort(&error))?;
        let owners = rauc.inner().receive_owner_changed().await;
        let mut owners = owners.map_err(|error| sort(&error))?;
        self.begin(&rauc, order).await?;
        tracing::info!(transaction = order.transaction, target = order.target, "installing");
        let mut looks = 0_u32;
        loop {
            tokio::select! {
                signal = completed.next() => {
                    let Some(signal) = signal else { return Ok(End::Died) };
                    let success = signal.args().is_ok_and(|args| args.result == 0);
                    return Ok(End::Completed { success });
                }
                _ = owners.next() => return Ok(End::Died),
                () = tokio::time::sleep(Duration::from_millis(self.pace.look_ms)) => {}
            }
            if Instant::now() >= until {
                return Ok(End::Late);
            }
            self.publish().await;
            looks = looks.saturating_add(1);
            if looks.is_multiple_of(LOOKS_PER_QUESTION)
                && self.slots_within(Duration::ZERO).await.is_ok()
            {
                return Ok(End::Silent);
            }
        }
    }

    /// Has RAUC begin. It answers at once, even about a bundle that does not exist.
    async fn begin(&self, rauc: &InstallerProxy<'_>, order: &Order) -> Result<(), Refusal> {
        const MANIFEST_KEY: &str = "require-manifest-hash";
        let location = order.origin.location.as_str();
        let mut arguments = order.origin.arguments();
        arguments.insert("transaction-id", Variant::new(order.transaction.clone()));
        if let Some(manifest) = &order.manifest
            && self.requires_manifest.load(Ordering::Relaxed)
        {
            arguments.insert(MANIFEST_KEY, Variant::new(manifest.clone()));
            match rauc.install_bundle(location, arguments).await {
                Ok(()) => return Ok(()),
                Err(error) if reason::is_unsupported(&error_text(&error), MANIFEST_KEY) => {
                    self.requires_manifest.store(false, Ordering::Relaxed);
                    arguments = order.origin.arguments();
                    arguments.insert("transaction-id", Variant::new(order.transaction.clone()));
                }
                Err(error) => return Err(sort(&error)),
            }
        }
        self.check_manifest(order).await?;
        rauc.install_bundle(location, arguments).await.map_err(|error| sort(&error))
    }

    /// For a RAUC that cannot be told which manifest is meant: looks just before.
    async fn check_manifest(&self, order: &Order) -> Result<(), Refusal> {
        let Some(expected) = &order.manifest else { return Ok(()) };
        let found = self.inspect(&order.origin).await;
        let found = found.map_err(|failure| Refusal::Said(failure.message))?.manifest;
        if found.as_ref() == Some(expected) {
            return Ok(());
        }
        let found = found.as_deref().unwrap_or("none");
        Err(Refusal::Said(format!("manifest hash is {found}, prepared was {expected}")))
    }

    /// Reads from the slots what came of it, and sees to it that a failure leaves the booted slot the next to boot.
    async fn verdict(&self, order: &Order, end: End, until: Instant) -> Result<(), Failure> {
        let patience = Duration::from_millis(self.pace.patience_ms);
        let (slots, waited) = self.settled(until.max(Instant::now() + patience)).await?;
        // Having waited, the signal was another installation's, and ours went on.
        let end = if waited && matches!(end, End::Completed { .. }) { End::Silent } else { end };
        let is_there = slots.holds(&order.target, &order.transaction);
        if is_there && end != (End::Completed { success: false }) {
            return Ok(());
        }
        let failure = match end {
            End::Completed { .. } | End::Silent => classify(doing(order), &self.last_error().await),
            End::Died => Failure::new(
                Code::FirmwareUnavailable,
                "RAUC went away in the middle of the installation; the target slot is not usable",
            ),
            End::Late => Failure::new(
                Code::FirmwareInstallFailed,
                format!("not done after {} s", self.pace.install_timeout_ms / 1_000),
            ),
        };
        match self.secure(&slots, order).await {
            Ok(()) => Err(failure),
            Err(worse) => {
                let message = format!("{}; and then: {}", failure.message, worse.message);
                Err(Failure { message, ..failure })
            }
        }
    }

    /// After a failure. A post-install handler that fails leaves the new slot the next to boot; a slot that was
    /// written to in part must not be booted. A slot that was not touched stays the fallback it is.
    async fn secure(&self, slots: &Slots, order: &Order) -> Result<(), Failure> {
        let stayed = slots.booted().is_some_and(|booted| slots.is_primary(&booted.name));
        if !stayed {
            self.mark("active", "booted").await?;
        }
        let is_touched = slots.named(&order.target).is_some_and(|target| {
            target.transaction.as_deref() == Some(&order.transaction)
                || matches!(target.status.as_str(), "pending" | "failed")
        });
        // Also if RAUC calls it bad: a trial that is still to be tried is called so too.
        if is_touched || !stayed {
            self.mark("bad", "other").await?;
        }
        Ok(())
    }

    /// Passes RAUC's progress on. Not worth an error.
    async fn publish(&self) {
        let Ok(rauc) = self.bus.installer().await else { return };
        let timeout = Duration::from_millis(self.pace.call_timeout_ms);
        let Ok(Ok(said)) = tokio::time::timeout(timeout, rauc.progress()).await else { return };
        let (percent, message, _): (i32, String, i32) = said;
        let percent = u8::try_from(percent.clamp(0, 100)).unwrap_or_default();
        let next = Progress { percent, message: super::text(&message) };
        let step = |percent: u8| percent.checked_div(LOG_STEP_PERCENT);
        let before = self.progress.borrow().as_ref().map(|before| before.percent);
        if before.is_none_or(|before| step(before) != step(percent)) {
            tracing::info!(percent, doing = next.message, "installing");
        }
        self.progress.send_replace(Some(next));
    }
}

/// An installation would mark the only other slot bad: never while the booted one may have to be left.
fn admit(slots: &Slots, order: &Order) -> Result<(), Failure> {
    let unavailable = |message: String| Err(Failure::new(Code::FirmwareUnavailable, message));
    let Some(booted) = slots.booted() else {
        return unavailable("RAUC does not know which slot is booted".to_owned());
    };
    if booted.is_good == Some(false) {
        return unavailable(format!("slot {} is on trial: commit or leave it first", booted.name));
    }
    match slots.other() {
        Some(other) if other.name == order.target => Ok(()),
        Some(other) => {
            unavailable(format!("RAUC would write {}, not {}", other.name, order.target))
        }
        None => unavailable("there is no other slot to install to".to_owned()),
    }
}

fn doing(order: &Order) -> Doing {
    if order.origin.is_streamed() { Doing::Streaming } else { Doing::Installing }
}
