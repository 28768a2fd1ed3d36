//! What every test of the machine needs: short ways to write desired states, and the tables of edges.

use state_machine::desired::{Component, Deployment, DesiredState, Kind};
use state_machine::ids::{ComponentName, DeploymentId, Digest, ManifestVersion};
use state_machine::transition::{Edge, MachineName, Transition, Why};
use state_machine::{engine, firmware, onboarding, report, sync, workload};
use std::sync::Arc;

/// Every sub-machine with its allowed changes.
pub(crate) const MACHINES: &[(MachineName, &[Edge])] = &[
    (MachineName::Onboarding, onboarding::EDGES),
    (MachineName::Sync, sync::EDGES),
    (MachineName::Workload, workload::EDGES),
    (MachineName::Report, report::EDGES),
    (MachineName::Firmware, firmware::EDGES),
    (MachineName::Engine, engine::EDGES),
];

/// Whether the sub-machine may do this. What changes nothing is always allowed.
pub(crate) fn is_allowed(transition: &Transition) -> bool {
    let harmless = matches!(transition.why, Why::Ignored | Why::Stale);
    let edge = Edge { prev: transition.prev, why: transition.why, next: transition.next };
    let table = MACHINES.iter().find(|(name, _)| *name == transition.machine);
    (harmless && transition.prev == transition.next)
        || table.is_some_and(|(_, edges)| edges.contains(&edge))
}

/// `app("a", 2, &["web", "db"])`: deployment `a` at revision `a-r2`. Its version is set by [`manifest`].
pub(crate) fn app(id: &str, revision: u32, components: &[&str]) -> Deployment {
    let component = |name: &&str| Component {
        name: ComponentName::from(*name),
        wait: true,
        timeout_ms: 60_000,
    };
    Deployment {
        id: DeploymentId::from(id),
        revision: Digest::new(format!("{id}-r{revision}")),
        version: ManifestVersion(0),
        name: format!("{id}-name"),
        kind: Kind::Compose,
        components: components.iter().map(component).collect(),
    }
}

/// `firmware("fw", 2)`: a firmware deployment at revision `fw-r2`, whose bundle brings version 2.
pub(crate) fn firmware(id: &str, revision: u32) -> Deployment {
    Deployment { kind: Kind::Firmware, ..app(id, revision, &["os"]) }
}

/// The version of the bundle of a deployment made by [`firmware`].
pub(crate) fn version_of(revision: &Digest) -> String {
    revision.as_str().rsplit("-r").next().unwrap_or("0").to_owned()
}

/// A desired state of this version, as the WFM would offer it.
pub(crate) fn manifest(version: u64, etag: &str, deployments: Vec<Deployment>) -> DesiredState {
    let version = ManifestVersion(version);
    let stamp = |deployment| Arc::new(Deployment { version, ..deployment });
    DesiredState {
        version,
        etag: Some(etag.to_owned()),
        deployments: deployments.into_iter().map(stamp).collect(),
    }
}
