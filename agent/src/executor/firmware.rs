//! Firmware orders: to the updater, with the bundle found for it; and which slot is booted, told to the machine.

use super::{Shared, lock};
use crate::updater::{Origin, Updater};
use state_machine::effect::{Bundle, FirmwareSource, Outcome};
use state_machine::event::Event;
use state_machine::failure::{Code, Failure};
use state_machine::ids::{SlotName, TransactionId};
use std::time::Duration;
use tokio::sync::mpsc;

/// First pause before the booted slot is asked for again; doubled up to the longest.
const BOOT_PAUSE: Duration = Duration::from_millis(500);
const BOOT_PAUSE_MAX: Duration = Duration::from_secs(30);

/// The fields of `Effect::InstallFirmware`.
#[derive(Debug)]
pub(super) struct Installation {
    pub(super) transaction: TransactionId,
    pub(super) source: FirmwareSource,
    pub(super) bundle: Bundle,
    pub(super) target: SlotName,
}

impl Shared {
    fn firmware(&self) -> Result<&Updater, Failure> {
        self.updater.as_ref().ok_or_else(|| {
            let message =
                "the firmware of this device is not managed by the agent (`firmware.mode`)";
            Failure::new(Code::FirmwareUnavailable, message)
        })
    }

    pub(super) async fn prepare_firmware(
        &self,
        source: &FirmwareSource,
    ) -> Result<Outcome, Failure> {
        let updater = self.firmware()?;
        let bundle = match source {
            FirmwareSource::Deployment { deployment, revision } => {
                self.refetch_if_lost(deployment, revision).await;
                self.workloads.prepare_firmware(updater, deployment, revision).await?
            }
            FirmwareSource::Location { location } => {
                updater.inspect(&Origin::plain(location)).await?
            }
        };
        tracing::info!(version = bundle.version, "firmware bundle found and verified");
        Ok(Outcome::FirmwarePrepared { bundle })
    }

    pub(super) async fn install_firmware(&self, order: &Installation) -> Result<Outcome, Failure> {
        let updater = self.firmware()?;
        // Needs no network: it may be done already, or under way since before a restart of this agent.
        if !updater.join(&order.transaction, &order.target).await? {
            let origin = match &order.source {
                FirmwareSource::Deployment { deployment, revision } => {
                    self.refetch_if_lost(deployment, revision).await;
                    self.workloads.firmware_origin(deployment, revision).await?
                }
                FirmwareSource::Location { location } => Origin::plain(location),
            };
            let is_streamed = origin.is_streamed();
            let (transaction, target) = (&order.transaction, &order.target);
            let installed = updater.install(transaction, origin, &order.bundle, target).await;
            if let (Err(failure), FirmwareSource::Deployment { revision, .. }) =
                (&installed, &order.source)
                && is_streamed
                && failure.code == Code::FirmwareFetchFailed
            {
                self.workloads.do_not_stream(revision);
            }
            installed?;
        }
        self.drop_staged().await;
        Ok(Outcome::FirmwareInstalled)
    }

    pub(super) async fn discard_firmware(&self) -> Result<Outcome, Failure> {
        self.firmware()?.discard().await?;
        self.drop_staged().await;
        Ok(Outcome::SlotMarked)
    }

    pub(super) async fn check_system(&self) -> Result<Outcome, Failure> {
        let mut failures = self.firmware()?.check_system().await?;
        if self.settings.firmware.require_wfm && !lock(&self.connection).is_reached {
            let message = "the fleet manager has not answered (`firmware.require_wfm`)";
            failures.push(Failure::new(Code::FirmwareUnhealthy, message));
        }
        Ok(Outcome::SystemChecked { failures })
    }

    pub(super) async fn commit_slot(&self) -> Result<Outcome, Failure> {
        let updater = self.firmware()?;
        updater.commit().await?;
        // What RAUC says of the slot from now on, beside what the order's end says.
        drop(tokio::spawn(watch_boot(updater.clone(), self.events.clone())));
        Ok(Outcome::SlotMarked)
    }

    pub(super) async fn reject_slot(&self) -> Result<Outcome, Failure> {
        self.firmware()?.reject().await?;
        Ok(Outcome::SlotMarked)
    }

    pub(super) async fn activate_other(&self) -> Result<Outcome, Failure> {
        self.firmware()?.activate_other().await?;
        Ok(Outcome::SlotMarked)
    }

    pub(super) async fn reboot(&self) -> Result<Outcome, Failure> {
        Err(self.firmware()?.reboot().await)
    }

    /// The bundle is in its slot, or nobody wants it. Space that is not freed now is freed at the next collection.
    async fn drop_staged(&self) {
        if let Err(failure) = self.workloads.sweep_staged(false).await {
            tracing::warn!(%failure, "a staged bundle stays for now");
        }
    }
}

/// Tells the machine which slot is booted, as soon as RAUC can say. Nothing else waits for it (I4).
pub async fn watch_boot(updater: Updater, events: mpsc::Sender<Event>) {
    let mut pause = BOOT_PAUSE;
    let boot = loop {
        match updater.boot().await {
            Ok(boot) => break boot,
            Err(failure) => {
                tracing::warn!(
                    %failure,
                    "which slot is booted is not known yet; firmware and new desired state wait"
                );
            }
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(BOOT_PAUSE_MAX);
    };
    tracing::info!(slot = %boot.slot, committed = boot.committed, version = boot.version, "booted");
    // With the driver gone nobody needs to know.
    let _ = events.send(Event::BootObserved { boot: Some(boot) }).await;
}
