//! Deployments of firmware: listed, changed, dropped; and which one of them is acted on.

use super::live::Live;
use super::{Booted, Firmware, FirmwareRecord, Origin, Phase, Verdict};
use crate::desired::{Deployment, Kind};
use crate::failure::{Code, Failure};
use crate::ids::{DeploymentId, ManifestVersion};
use crate::step::Cx;
use crate::transition::Why;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

impl Firmware {
    /// An accepted manifest lists this revision.
    pub(crate) fn on_desired(
        &mut self,
        live: &mut Live,
        desired: &Arc<Deployment>,
        cx: &mut Cx<'_>,
    ) {
        let known = self.deployments.get_mut(&desired.id);
        if let Some(record) = known
            && record.dropped_by.is_none()
            && record.desired.revision == desired.revision
        {
            // Known so far from the image or from another WFM: from now on the WFM is told of it. Naming what failed
            // once more is no reason to try it again.
            if record.desired.version.0 == 0 && desired.version.0 > 0 {
                Arc::make_mut(&mut record.desired).version = desired.version;
            }
            return;
        }
        self.give_up_early(live, &desired.id, cx);
        let adopted = self.deployments.get(&desired.id).and_then(|record| {
            // What was adopted before it was dropped is history: versions told of it never fall.
            record.adopted.filter(|_| record.dropped_by.is_none())
        });
        let mut record = FirmwareRecord {
            desired: Arc::clone(desired),
            dropped_by: None,
            adopted,
            verdict: Verdict::Open,
            failure: None,
        };
        if desired.kind != Kind::Firmware {
            let text = "it was firmware: remove the deployment before it becomes something else";
            record.fail(Failure::new(Code::DeploymentInvalid, text));
        } else if let Some(other) = self.chosen(&desired.id) {
            let text = format!("firmware is deployed already by deployment {other}");
            record.fail(Failure::new(Code::DeploymentInvalid, text));
            record.verdict = Verdict::Surplus;
        }
        if let Some(failure) = record.failure.clone() {
            self.refuse(live, Some(desired.id.clone()), failure, cx);
        }
        self.deployments.insert(desired.id.clone(), record);
    }

    /// The one deployment that is acted on, if it is not this one.
    fn chosen(&self, besides: &DeploymentId) -> Option<DeploymentId> {
        let is_chosen = |(id, record): &(&DeploymentId, &FirmwareRecord)| {
            *id != besides && record.dropped_by.is_none() && record.verdict != Verdict::Surplus
        };
        self.deployments.iter().find(is_chosen).map(|(id, _)| id.clone())
    }

    /// An accepted manifest no longer lists these deployments.
    pub(crate) fn on_dropped(
        &mut self,
        live: &mut Live,
        is_listed: &dyn Fn(&DeploymentId) -> bool,
        by: ManifestVersion,
        cx: &mut Cx<'_>,
    ) {
        let ids: Vec<DeploymentId> =
            self.deployments.keys().filter(|id| !is_listed(id)).cloned().collect();
        for id in ids {
            self.give_up_early(live, &id, cx);
            if let Some(record) = self.deployments.get_mut(&id)
                && record.dropped_by.is_none()
            {
                record.dropped_by = Some(by);
            }
        }
    }

    /// With the one that was acted on gone, the next one is: a manifest still names it, and nothing is in its way.
    pub(crate) fn choose(&mut self) {
        let is_taken = self
            .deployments
            .values()
            .any(|record| record.dropped_by.is_none() && record.verdict != Verdict::Surplus);
        let mut rest = self.deployments.values_mut();
        if let (false, Some(next)) = (is_taken, rest.find(|record| record.dropped_by.is_none())) {
            next.verdict = Verdict::Open;
            next.failure = None;
        }
    }

    /// An attempt at this deployment of which nothing shows yet ends here.
    fn give_up_early(&mut self, live: &mut Live, id: &DeploymentId, cx: &mut Cx<'_>) {
        let is_early = |update: &super::Update| update.is_of(id) && update.phase.is_early();
        if self.update.as_ref().is_some_and(is_early) {
            self.abandon(live, Why::Unwanted, cx);
        }
    }

    /// An operator asks for another attempt at a deployment. Returns whether it is one of firmware.
    pub(crate) fn on_retry_requested(
        &mut self,
        live: &mut Live,
        id: &DeploymentId,
        cx: &mut Cx<'_>,
    ) -> bool {
        let Some(record) = self.deployments.get_mut(id) else { return false };
        let is_firmware = record.desired.kind == Kind::Firmware;
        match &record.verdict {
            Verdict::Failed if is_firmware && record.dropped_by.is_none() => {
                record.verdict = Verdict::Open;
                record.failure = None;
            }
            Verdict::Open
                if self
                    .update
                    .as_ref()
                    .is_some_and(|update| update.is_of(id) && update.phase == Phase::Preparing) =>
            {
                live.retry_at_ms = None;
                self.note(self.as_str(), Why::Requested, Some(id.clone()), None, cx);
            }
            Verdict::Open | Verdict::Installed { .. } | Verdict::Failed | Verdict::Surplus => {
                self.note(self.as_str(), Why::Ignored, Some(id.clone()), None, cx);
            }
        }
        true
    }

    /// The device now belongs to another WFM, which never listed these. What is under way goes on.
    pub(crate) fn on_identity_replaced(&mut self) {
        for record in self.deployments.values_mut() {
            Arc::make_mut(&mut record.desired).version = ManifestVersion(0);
            record.adopted = None;
        }
    }

    /// Takes out what is dropped and no longer under way.
    pub(crate) fn sweep(&mut self) -> Vec<FirmwareRecord> {
        let update = self.update.as_ref();
        let is_gone = |id: &DeploymentId, record: &FirmwareRecord| {
            record.dropped_by.is_some() && !update.is_some_and(|update| update.is_of(id))
        };
        let gone: Vec<DeploymentId> = self
            .deployments
            .iter()
            .filter(|(id, record)| is_gone(id, record))
            .map(|(id, _)| id.clone())
            .collect();
        gone.iter().filter_map(|id| self.deployments.remove(id)).collect()
    }

    /// Begins the next attempt that the desired state asks for, if there is one.
    pub(crate) fn start_next(&mut self, live: &mut Live, cx: &mut Cx<'_>) {
        if self.update.is_some() {
            return;
        }
        let is_next = |record: &&mut FirmwareRecord| {
            record.dropped_by.is_none() && record.verdict == Verdict::Open
        };
        let Some(record) = self.deployments.values_mut().find(is_next) else { return };
        let (id, revision) = (record.desired.id.clone(), record.desired.revision.clone());
        if self.booted == Booted::Unmanaged {
            let text = "the firmware of this device is not managed";
            let failure = Failure::new(Code::UnsupportedProfile, text);
            record.fail(failure.clone());
            self.refuse(live, Some(id), failure, cx);
            return;
        }
        let prev = self.as_str();
        self.begin(live, Origin::Deployment { id: id.clone(), revision }, Phase::Preparing, cx);
        self.note(prev, Why::Desired, Some(id), None, cx);
    }
}

impl FirmwareRecord {
    fn fail(&mut self, failure: Failure) {
        self.adopted = Some(self.desired.version);
        self.verdict = Verdict::Failed;
        self.failure = Some(failure);
    }
}
