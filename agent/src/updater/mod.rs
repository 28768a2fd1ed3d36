//! Firmware: RAUC over D-Bus, the system's own health, and restarting. See `README.md` beside this file.
//!
//! | file | what it owns |
//! |---|---|
//! | `dbus` | the interfaces and the bus |
//! | `rauc` | calls that are tried again while RAUC is busy or away |
//! | `install` | one installation, from the wish to the proof |
//! | `slots`, `bundle` | what RAUC says, read into types |
//! | `reason` | what RAUC's error texts mean |
//! | `boot`, `first_sight` | what is known of this boot without D-Bus |
//! | `system` | health of the system, restart |
//!
//! Decides nothing: what is installed, judged and marked when is the machine's.

mod boot;
mod bundle;
mod dbus;
mod first_sight;
mod install;
mod rauc;
mod reason;
mod slots;
mod system;

pub use boot::BootFacts;
pub use first_sight::first_sight;
pub use rauc::{Pace, Progress};
pub use slots::{Slot, Slots};
pub use system::Health;

pub use bundle::Origin;
use dbus::text;
use install::Order;
use rauc::Rauc;
use state_machine::effect::Bundle;
use state_machine::event::BootSlot;
use state_machine::failure::{Code, Failure};
use state_machine::ids::{BootId, SlotName, TransactionId};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// The updater. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Updater {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    rauc: Rauc,
    facts: BootFacts,
    health: Health,
    wanted_checked: AtomicBool,
}

impl Updater {
    /// An updater that has asked nothing yet.
    pub fn new(facts: BootFacts, health: Health, pace: Pace) -> Self {
        Self::on_bus(facts, health, pace, None)
    }

    /// The same on another bus than the system's, named by its D-Bus address.
    pub fn on_bus(facts: BootFacts, health: Health, pace: Pace, address: Option<String>) -> Self {
        let rauc = Rauc::new(pace, address);
        let wanted_checked = AtomicBool::new(false);
        Self { inner: Arc::new(Inner { rauc, facts, health, wanted_checked }) }
    }

    /// What is known of this boot without RAUC.
    pub fn facts(&self) -> &BootFacts {
        &self.inner.facts
    }

    /// How far the installation under way is; `None` while there is none.
    pub fn progress(&self) -> watch::Receiver<Option<Progress>> {
        self.inner.rauc.progress.subscribe()
    }

    /// All slots.
    ///
    /// # Errors
    /// [`Code::FirmwareUnavailable`].
    pub async fn slots(&self) -> Result<Slots, Failure> {
        let slots = self.inner.rauc.slots().await;
        slots.map_err(|refusal| refusal.to_failure("reading the slots"))
    }

    /// The slot the device booted from.
    ///
    /// # Errors
    /// [`Code::FirmwareUnavailable`]: also when the boot loader's opinion of the slot is unknown, since taking a
    /// committed slot for a trial, or a trial for a committed slot, are both worse than not knowing.
    pub async fn boot(&self) -> Result<BootSlot, Failure> {
        let slots = self.slots().await?;
        let unknown = |what: &str| Failure::new(Code::FirmwareUnavailable, what);
        let booted = slots.booted().ok_or_else(|| unknown("RAUC does not know the booted slot"))?;
        let committed =
            booted.is_good.ok_or_else(|| unknown("RAUC cannot read the boot environment"))?;
        let facts = &self.inner.facts;
        Ok(BootSlot {
            slot: SlotName::new(&*booted.name),
            other: slots.other().map(|other| SlotName::new(&*other.name)),
            committed,
            boot: BootId::new(&*facts.boot),
            version: facts.version.clone(),
            note: None,
        })
    }

    /// Reads a bundle, its signature verified, and judges whether it is made for this device.
    ///
    /// # Errors
    /// [`Code::FirmwareRejected`], [`Code::FirmwareFetchFailed`], [`Code::FirmwareUnavailable`].
    pub async fn inspect(&self, origin: &Origin) -> Result<Bundle, Failure> {
        let rauc = &self.inner.rauc;
        let compatible = rauc.compatible().await;
        let compatible = compatible.map_err(|refusal| refusal.to_failure("asking RAUC"))?;
        rauc.inspect(origin).await?.judge(&compatible)
    }

    /// Installs, joins what is under way, or finds it done.
    ///
    /// # Errors
    /// Why there is no new firmware in `target`; the booted slot is the next to boot then.
    pub async fn install(
        &self,
        transaction: &TransactionId,
        origin: Origin,
        bundle: &Bundle,
        target: &SlotName,
    ) -> Result<(), Failure> {
        let order = Order {
            transaction: transaction.to_string(),
            origin,
            manifest: bundle.manifest.clone(),
            target: target.to_string(),
        };
        self.inner.rauc.install(&order).await
    }

    /// Waits until nothing is being installed; says whether the transaction's bundle is complete in its slot then, and
    /// that slot the next to boot.
    ///
    /// # Errors
    /// [`Code::FirmwareUnavailable`].
    pub async fn join(
        &self,
        transaction: &TransactionId,
        target: &SlotName,
    ) -> Result<bool, Failure> {
        self.inner.rauc.join(transaction.as_str(), target.as_str()).await
    }

    /// Makes the booted slot the next one to boot, and the other one not bootable.
    ///
    /// # Errors
    /// [`Code::FirmwareUnavailable`]; do it again.
    pub async fn discard(&self) -> Result<(), Failure> {
        let rauc = &self.inner.rauc;
        let _turn = rauc.turn.lock().await;
        let slots = self.slots().await?;
        let booted = slots.booted().map(|booted| booted.name.as_str()).unwrap_or_default();
        if !slots.is_primary(booted) {
            rauc.mark("active", "booted").await?;
        }
        // Also one that RAUC calls bad: a trial that is still to be tried is called so too.
        if slots.other().is_some() {
            rauc.mark("bad", "other").await?;
        }
        Ok(())
    }

    /// Marks the booted slot good: a trial ends well.
    ///
    /// # Errors
    /// [`Code::FirmwareUnavailable`]: it was looked at afterwards and is not good, or could not be looked at.
    pub async fn commit(&self) -> Result<(), Failure> {
        let rauc = &self.inner.rauc;
        let _turn = rauc.turn.lock().await;
        let Err(failure) = rauc.mark("good", "booted").await else { return Ok(()) };
        // The answer may have been lost, and not the deed.
        let slots = rauc.slots().await;
        let is_good = |slots: Slots| slots.booted().is_some_and(|slot| slot.is_good == Some(true));
        if slots.is_ok_and(is_good) { Ok(()) } else { Err(failure) }
    }

    /// Marks the booted slot bad: the next boot leaves it. A committed slot is never left by itself (I9).
    ///
    /// # Errors
    /// [`Code::FirmwareRejected`] if the slot is good; [`Code::FirmwareUnavailable`], do it again.
    pub async fn reject(&self) -> Result<(), Failure> {
        let rauc = &self.inner.rauc;
        let _turn = rauc.turn.lock().await;
        let slots = self.slots().await?;
        if let Some(booted) = slots.booted().filter(|booted| booted.is_good == Some(true)) {
            let message = format!("slot {} is committed, it is not left", booted.name);
            return Err(Failure::new(Code::FirmwareRejected, message));
        }
        rauc.mark("bad", "booted").await
    }

    /// Makes the other slot the next one to boot.
    ///
    /// # Errors
    /// [`Code::FirmwareUnavailable`]; [`Code::FirmwareRejected`] if there is nothing in it to boot.
    pub async fn activate_other(&self) -> Result<(), Failure> {
        let rauc = &self.inner.rauc;
        let _turn = rauc.turn.lock().await;
        let slots = self.slots().await?;
        let refused = |why: String| Err(Failure::new(Code::FirmwareRejected, why));
        let Some(other) = slots.other() else { return refused("there is no other slot".into()) };
        if other.is_good == Some(false) || matches!(other.status.as_str(), "pending" | "failed") {
            return refused(format!("slot {} is not bootable", other.name));
        }
        rauc.mark("active", "other").await
    }

    /// Looks at the system: everything that is not as it must be. What is only wanted is run once and logged.
    ///
    /// # Errors
    /// [`Code::FirmwareUnavailable`]: the service manager does not answer.
    pub async fn check_system(&self) -> Result<Vec<Failure>, Failure> {
        let inner = &self.inner;
        let failures = system::check(&inner.rauc.bus, &inner.health).await?;
        if failures.is_empty() && !inner.wanted_checked.swap(true, Ordering::Relaxed) {
            system::check_wanted(&inner.rauc.bus, &inner.health).await;
        }
        Ok(failures)
    }

    /// Restarts the device. Comes back only as a failure.
    pub async fn reboot(&self) -> Failure {
        system::reboot(&self.inner.rauc.bus).await
    }
}
