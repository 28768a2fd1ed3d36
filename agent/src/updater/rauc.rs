//! RAUC, asked calmly: refused while busy, gone while it restarts, silent while it opens a remote bundle.
//!
//! RAUC refuses nearly everything while it runs a method, and says nothing when it dies. So each call here is tried
//! again, with growing pauses, until its patience ends. Nobody asks `Operation`: a refused call sets it back to
//! `idle` in the middle of an installation. What proves that nothing is being installed is an answer to
//! `GetSlotStatus`, which RAUC refuses until then.

use super::bundle::{Contents, Origin};
use super::dbus::{Bus, InstallerProxy, error_text};
use super::reason::{self, Doing, classify};
use super::slots::Slots;
use state_machine::failure::{Code, Failure};
use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long things may take, and how often they are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// First pause after a refusal, in milliseconds; doubled with each further one, to at most 32 times.
    pub pause_ms: u64,
    /// How long a busy or absent RAUC is asked again, in milliseconds.
    pub patience_ms: u64,
    /// Longest single call, in milliseconds.
    pub call_timeout_ms: u64,
    /// Longest look at a bundle, in milliseconds: a remote one is opened over the network.
    pub inspect_timeout_ms: u64,
    /// Between two looks at an installation, in milliseconds.
    pub look_ms: u64,
    /// Longest installation, in milliseconds. RAUC cannot be told to stop.
    pub install_timeout_ms: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            pause_ms: 200,
            patience_ms: 60_000,
            call_timeout_ms: 30_000,
            inspect_timeout_ms: 180_000,
            look_ms: 1_000,
            install_timeout_ms: 2 * 3600 * 1000,
        }
    }
}

/// How far an installation is, as RAUC says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// 0 to 100.
    pub percent: u8,
    /// What it does, for a person.
    pub message: String,
}

/// Why a call gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Another method ran all the time.
    Busy,
    /// Nobody answered.
    Gone(String),
    /// RAUC's own words.
    Said(String),
}

impl Refusal {
    /// For calls whose failing means that RAUC is of no use.
    pub(super) fn to_failure(&self, what: &str) -> Failure {
        let message = match self {
            Self::Busy => format!("{what}: RAUC is busy with something this agent did not start"),
            Self::Gone(why) => format!("{what}: RAUC does not answer: {why}"),
            Self::Said(why) => format!("{what}: {why}"),
        };
        Failure::new(Code::FirmwareUnavailable, message)
    }
}

/// RAUC.
#[derive(Debug)]
pub(super) struct Rauc {
    pub(super) bus: Bus,
    pub(super) pace: Pace,
    /// Held by whoever changes slots or installs: this agent never makes RAUC busy for itself.
    pub(super) turn: tokio::sync::Mutex<()>,
    pub(super) progress: watch::Sender<Option<Progress>>,
    /// False once RAUC said that it does not know `require-manifest-hash` (before 1.14).
    pub(super) requires_manifest: AtomicBool,
}

impl Rauc {
    pub(super) fn new(pace: Pace, bus: Option<String>) -> Self {
        Self {
            bus: Bus::new(bus),
            pace,
            turn: tokio::sync::Mutex::default(),
            progress: watch::channel(None).0,
            requires_manifest: AtomicBool::new(true),
        }
    }

    /// Slots and primary, at one moment at which nothing was being installed.
    pub(super) async fn slots(&self) -> Result<Slots, Refusal> {
        self.slots_within(Duration::from_millis(self.pace.patience_ms)).await
    }

    /// The same with another patience; none at all gives one attempt.
    pub(super) async fn slots_within(&self, patience: Duration) -> Result<Slots, Refusal> {
        let timeout = Duration::from_millis(self.pace.call_timeout_ms);
        let call = |rauc: InstallerProxy<'static>| async move {
            let entries = rauc.slot_status().await?;
            match rauc.primary().await {
                Ok(primary) => Ok(Slots::read(entries, Some(primary))),
                Err(error) if reason::is_busy(&error_text(&error)) => Err(error),
                // A boot loader that cannot be read: the rest is still worth knowing.
                Err(_) => Ok(Slots::read(entries, None)),
            }
        };
        self.calmly(patience, timeout, call).await
    }

    /// What this device's bundles must be made for.
    pub(super) async fn compatible(&self) -> Result<String, Refusal> {
        self.call(|rauc| async move { rauc.compatible().await }).await.map(|one| super::text(&one))
    }

    /// Why the last installation failed, in RAUC's words; empty if it did not.
    pub(super) async fn last_error(&self) -> String {
        let said = self.call(|rauc| async move { rauc.last_error().await }).await;
        said.map(|said| super::text(&said)).unwrap_or_default()
    }

    /// `state` is `good`, `bad` or `active`; `which` is `booted` or `other`.
    pub(super) async fn mark(
        &self,
        state: &'static str,
        which: &'static str,
    ) -> Result<(), Failure> {
        let call = |rauc: InstallerProxy<'static>| async move { rauc.mark(state, which).await };
        let (slot, said) = self
            .call(call)
            .await
            .map_err(|refusal| refusal.to_failure(&format!("marking the {which} slot {state}")))?;
        tracing::info!(slot = super::text(&slot), said = super::text(&said), "slot marked {state}");
        Ok(())
    }

    /// Opens a bundle and reads it, its signature verified. Writes nothing.
    pub(super) async fn inspect(&self, origin: &Origin) -> Result<Contents, Failure> {
        let patience = Duration::from_millis(self.pace.patience_ms);
        let timeout = Duration::from_millis(self.pace.inspect_timeout_ms);
        let call = |rauc: InstallerProxy<'static>| async move {
            rauc.inspect_bundle(&origin.location, origin.arguments()).await
        };
        match self.calmly(patience, timeout, call).await {
            Ok(answer) => Ok(Contents::read(&answer)),
            Err(Refusal::Said(said)) => Err(classify(Doing::Reading, &said)),
            Err(refusal) => Err(refusal.to_failure("reading the bundle")),
        }
    }

    async fn call<T, W>(&self, call: impl Fn(InstallerProxy<'static>) -> W) -> Result<T, Refusal>
    where
        W: Future<Output = zbus::Result<T>>,
    {
        let patience = Duration::from_millis(self.pace.patience_ms);
        let timeout = Duration::from_millis(self.pace.call_timeout_ms);
        self.calmly(patience, timeout, call).await
    }

    /// Calls until there is an answer other than "busy" and "nobody here", or the patience ends.
    async fn calmly<T, W>(
        &self,
        patience: Duration,
        timeout: Duration,
        call: impl Fn(InstallerProxy<'static>) -> W,
    ) -> Result<T, Refusal>
    where
        W: Future<Output = zbus::Result<T>>,
    {
        let until = Instant::now() + patience;
        let mut pause_ms = self.pace.pause_ms;
        loop {
            let refusal = match tokio::time::timeout(timeout, self.once(&call)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => sort(&error),
                Err(_) => Refusal::Gone(format!("no answer in {} s", timeout.as_secs())),
            };
            let pause = Duration::from_millis(pause_ms);
            if matches!(refusal, Refusal::Said(_)) || Instant::now() + pause > until {
                return Err(refusal);
            }
            tokio::time::sleep(pause).await;
            pause_ms = pause_ms.saturating_mul(2).min(self.pace.pause_ms.saturating_mul(32));
        }
    }

    async fn once<T, W>(&self, call: impl Fn(InstallerProxy<'static>) -> W) -> zbus::Result<T>
    where
        W: Future<Output = zbus::Result<T>>,
    {
        call(self.bus.installer().await?).await
    }
}

/// Tells "busy" and "nobody here" from what RAUC has to say.
pub(super) fn sort(error: &zbus::Error) -> Refusal {
    let said = error_text(error);
    match error {
        zbus::Error::MethodError(..) if reason::is_busy(&said) => Refusal::Busy,
        zbus::Error::MethodError(..) => Refusal::Said(said),
        // The bus, the name or the service: absent, restarting, or not permitted. None of them is RAUC's verdict.
        _ => Refusal::Gone(said),
    }
}
