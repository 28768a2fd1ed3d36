//! A durable part with one of everything: each phase, each failure code and class, reports, a trial.

use state_machine::desired::{Component, Deployment, Kind};
use state_machine::effect::Bundle;
use state_machine::failure::{Code, Failure, FailureClass};
use state_machine::firmware::{Attempt, Booted, Firmware, FirmwareRecord, Origin, Update, Verdict};
use state_machine::ids::{
    BootId, ComponentName, DeploymentId, Digest, IdentityKey, ManifestVersion,
};
use state_machine::ids::{SlotName, TransactionId};
use state_machine::onboarding::Onboarding;
use state_machine::report::{ComponentReport, DeploymentState, Outbox, Queue, Report};
use state_machine::state::Durable;
use state_machine::sync::{Accepted, Sync};
use state_machine::workload::{Held, Phase, Workload};
use std::sync::Arc;

fn component(name: &str) -> Component {
    Component { name: ComponentName::from(name), wait: name == "web", timeout_ms: 90_000 }
}

fn deployment(id: &str, revision: u32, version: u64) -> Arc<Deployment> {
    Arc::new(Deployment {
        id: DeploymentId::from(id),
        revision: Digest::new(format!("sha256:{id}-{revision}")),
        version: ManifestVersion(version),
        name: format!("{id} (a \"name\", ü)"),
        kind: Kind::Compose,
        components: vec![component("web"), component("db")],
    })
}

fn workload(id: &str, phase: Phase) -> Workload {
    let good = deployment(id, 1, 4);
    let held = |(order, name): (u32, &str)| {
        let held = Held { revision: good.revision.clone(), order, component: component(name) };
        (ComponentName::from(name), held)
    };
    Workload {
        desired: deployment(id, 2, u64::MAX),
        dropped_by: None,
        adopted: Some(ManifestVersion(4)),
        held: [(0, "web"), (1, "db")].map(held).into(),
        good: Some(Arc::clone(&good)),
        phase,
        failure: None,
        untidy: false,
    }
}

fn workloads() -> Vec<Workload> {
    let web = || ComponentName::from("web");
    let dropped = |workload| Workload { dropped_by: Some(ManifestVersion(7)), ..workload };
    let failure = Failure::new(Code::StartFailed, "exit 1").in_component(web());
    let mut all = vec![
        workload("d-keep", Phase::Running),
        workload("d-prepared", Phase::Prepared),
        workload("d-applying", Phase::Applying { component: web() }),
        Workload { untidy: true, ..workload("d-pruning", Phase::Pruning) },
        Workload {
            failure: Some(failure.with_class(FailureClass::Retryable)),
            ..workload("d-back-one", Phase::Restoring { component: Some(web()) })
        },
        workload("d-back-all", Phase::Restoring { component: None }),
        dropped(workload("d-leaving", Phase::Leaving)),
        dropped(workload("d-removing", Phase::Removing)),
        Workload {
            adopted: None,
            good: None,
            held: [].into(),
            ..workload("d-new", Phase::Preparing)
        },
    ];
    // One for each way to fail.
    for code in Code::ALL {
        let failure = Failure::new(*code, "why it failed").retry_after(Some(30_000));
        let id = format!("f-{}", code.as_str().to_lowercase());
        all.push(Workload { failure: Some(failure), ..workload(&id, Phase::Preparing) });
    }
    all
}

fn report(state: DeploymentState) -> Arc<Report> {
    let is_failed = state == DeploymentState::Failed;
    let failure = Failure::new(Code::Unhealthy, "no answer").in_component("db".into());
    let failure = is_failed.then_some(failure);
    Arc::new(Report {
        deployment: DeploymentId::from("d-keep"),
        name: "keep".to_owned(),
        version: ManifestVersion(4),
        state,
        failure: failure.clone(),
        components: vec![ComponentReport { name: ComponentName::from("db"), state, failure }],
    })
}

/// A trial, with a record of each verdict and an attempt of each origin.
fn firmware() -> Firmware {
    let slot = |name: &str| SlotName::from(name);
    let record = |id: &str, verdict: Verdict| {
        let desired = Deployment { kind: Kind::Firmware, ..(*deployment(id, 2, 6)).clone() };
        let is_bad = matches!(verdict, Verdict::Failed | Verdict::Surplus);
        let record = FirmwareRecord {
            desired: Arc::new(desired),
            dropped_by: (id == "fw-open").then_some(ManifestVersion(7)),
            adopted: is_bad.then_some(ManifestVersion(6)),
            verdict,
            failure: is_bad.then(|| Failure::new(Code::FirmwareRolledBack, "why")),
        };
        (DeploymentId::from(id), record)
    };
    let origins = [
        Origin::Operator { location: "/run/usb/a.raucb".to_owned() },
        Origin::Rollback,
        Origin::Foreign,
    ];
    let attempt = |origin: Origin| Attempt {
        transaction: TransactionId::from("boot-0-1"),
        version: (origin != Origin::Foreign).then(|| "1.2.3".to_owned()),
        origin,
        failure: Failure::new(Code::FirmwareUnhealthy, "why"),
    };
    Firmware {
        booted: Booted::Trial { slot: slot("rootfs.1") },
        deployments: [
            record("fw-open", Verdict::Open),
            record("fw-failed", Verdict::Failed),
            record("fw-surplus", Verdict::Surplus),
            record("fw-in", Verdict::Installed { slot: slot("rootfs.0"), version: "1".to_owned() }),
        ]
        .into(),
        update: Some(Update {
            transaction: TransactionId::from("boot-1-4"),
            origin: Origin::Deployment {
                id: DeploymentId::from("fw-open"),
                revision: Digest::from("sha256:fw-open-2"),
            },
            phase: state_machine::firmware::Phase::Trial,
            bundle: Some(Bundle {
                version: "2.0.0-rc.1".to_owned(),
                manifest: Some("0123".to_owned()),
            }),
            from: Some(slot("rootfs.0")),
            target: Some(slot("rootfs.1")),
            boot: Some(BootId::from("boot-1")),
            baseline: vec![DeploymentId::from("d-keep")],
            engine: true,
            failure: Some(Failure::new(Code::FirmwareFetchFailed, "why")),
        }),
        history: origins.map(attempt).into(),
        transactions: 4,
    }
}

/// See the module.
pub(crate) fn durable() -> Durable {
    use DeploymentState::{Failed, Installed, Installing, Pending, Removed, Removing};
    let waiting = [Pending, Installing, Installed, Removing, Removed, Failed].map(report);
    let queue = Queue { latest: waiting.last().cloned(), waiting: waiting.into() };
    let silent = Queue { latest: Some(report(Installed)), waiting: [].into() };
    let workloads = workloads().into_iter().map(|w| (w.desired.id.clone(), w));
    Durable {
        onboarding: Onboarding {
            identity: Some(IdentityKey::from("example.org/wfm-1/device-1")),
            capabilities: Some(Digest::from("sha256:c1")),
            offered: Some(Digest::from("sha256:c2")),
        },
        sync: Sync {
            accepted: Some(Accepted {
                version: ManifestVersion(u64::MAX),
                etag: Some("\"sha256:m\"".to_owned()),
            }),
            preload_ended: true,
        },
        workloads: workloads.collect(),
        outbox: Outbox {
            deployments: [("d-keep", queue), ("d-new", silent)]
                .map(|(id, queue)| (DeploymentId::from(id), queue))
                .into(),
        },
        firmware: firmware(),
    }
}
