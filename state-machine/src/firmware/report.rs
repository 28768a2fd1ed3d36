//! What a firmware deployment's record means to the WFM. All its components share its state: a slot is one thing.

use super::{Firmware, FirmwareRecord, Phase, Verdict};
use crate::failure::Failure;
use crate::ids::ManifestVersion;
use crate::report::{ComponentReport, DeploymentState, Report};

/// The status of one record. `None`: the WFM knows nothing of it.
pub(crate) fn status_of(firmware: &Firmware, record: &FirmwareRecord) -> Option<Report> {
    let (state, failure) = state_of(firmware, record);
    let adopted = record.adopted.filter(|adopted| adopted.0 > 0);
    let version = record.dropped_by.or(adopted).unwrap_or(record.desired.version);
    report(record, version, state, failure)
}

/// The last word on a deployment: it is gone.
pub(crate) fn removed(record: &FirmwareRecord) -> Option<Report> {
    report(record, record.dropped_by?, DeploymentState::Removed, None)
}

fn report(
    record: &FirmwareRecord,
    version: ManifestVersion,
    state: DeploymentState,
    failure: Option<&Failure>,
) -> Option<Report> {
    let deployment = &record.desired;
    let part = |component: &crate::desired::Component| ComponentReport {
        name: component.name.clone(),
        state,
        failure: failure.cloned(),
    };
    // What came with the image, or from another WFM, the present one never listed.
    (deployment.version.0 > 0).then(|| Report {
        deployment: deployment.id.clone(),
        name: deployment.name.clone(),
        version,
        state,
        failure: failure.cloned(),
        components: deployment.components.iter().map(part).collect(),
    })
}

fn state_of<'a>(
    firmware: &'a Firmware,
    record: &'a FirmwareRecord,
) -> (DeploymentState, Option<&'a Failure>) {
    if record.dropped_by.is_some() {
        return (DeploymentState::Removing, None);
    }
    let update = firmware.update.as_ref().filter(|update| update.is_of(&record.desired.id));
    match (&record.verdict, update) {
        (Verdict::Installed { .. }, _) => (DeploymentState::Installed, None),
        (Verdict::Failed | Verdict::Surplus, _) => {
            (DeploymentState::Failed, record.failure.as_ref())
        }
        (Verdict::Open, None) => (DeploymentState::Pending, None),
        (Verdict::Open, Some(update)) => match (update.phase, &update.failure) {
            (Phase::Preparing, Some(failure)) => (DeploymentState::Failed, Some(failure)),
            (Phase::Preparing | Phase::Ready, _) => (DeploymentState::Pending, None),
            (
                Phase::Installing
                | Phase::Installed
                | Phase::Returning
                | Phase::Discarding
                | Phase::Trial
                | Phase::Committing
                | Phase::Rejecting,
                _,
            ) => (DeploymentState::Installing, None),
        },
    }
}
