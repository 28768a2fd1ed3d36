//! Whatever the fleet manager says or does wrong: what runs keeps running, also across a restart under the fault (I4,
//! I5); the message names what is wrong; and the agent goes on when the fault ends (I7).

use margo_e2e::{App, Container, Settings, World, require_engine};
use margo_lab::{
    ComponentSpec, DeploymentId, DeploymentSpec, Fault, FaultKind, ManifestDefect, Operation,
    State, SvidDefect,
};

/// A world in which `still` is never changed and `moving` is updated while faults are on.
struct Rig {
    world: World,
    still: DeploymentId,
    still_runs: Vec<Container>,
    moving: DeploymentId,
    round: u32,
}

/// What is wrong, and what the agent is to make of it.
struct Case {
    faults: Vec<Fault>,
    /// The fault shows only when something new is to be fetched.
    needs_news: bool,
    /// The fault shows only on new connections.
    needs_connection: bool,
    code: &'static str,
    /// Part of the message.
    text: &'static str,
}

impl Case {
    fn of(fault: Fault, code: &'static str, text: &'static str) -> Self {
        Self { faults: vec![fault], needs_news: false, needs_connection: false, code, text }
    }

    fn with_news(self) -> Self {
        Self { needs_news: true, ..self }
    }

    fn with_connection(self) -> Self {
        Self { needs_connection: true, ..self }
    }

    fn and(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }
}

impl Rig {
    async fn begin() -> Self {
        let extra = "[wfm]\nrequest_timeout_secs = 2\n[retry]\nmax_ms = 500\n".to_owned();
        let mut world = World::with(Settings { extra, ..Settings::default() }).await;
        world.agent.start();
        let still = world.deploy(&App::sleeping("still", "1.0.0", "one", 2));
        let moving = world.deploy(&App::sleeping("moving", "1.0.0", "0", 1));
        world.reported(&still, State::Installed).await;
        world.reported(&moving, State::Installed).await;
        let still_runs = world.running(&still, &["still/s1", "still/s2"]).await;
        Self { world, still, still_runs, moving, round: 0 }
    }

    fn news(&mut self) {
        self.round += 1;
        let (revision, marker) = (format!("1.{}.0", self.round), self.round.to_string());
        self.world.update(&self.moving, &App::sleeping("moving", &revision, &marker, 1));
    }

    /// Both deployments are exactly as they were.
    async fn nothing_happened(&self, moving_runs: &[Container], what: &str) {
        let still = self.world.running(&self.still, &["still/s1", "still/s2"]).await;
        assert_eq!(still, self.still_runs, "{what}");
        let moving = self.world.running(&self.moving, &["moving/s1"]).await;
        assert_eq!(moving, moving_runs, "{what}");
    }

    async fn endure(&mut self, case: Case) {
        let kinds: Vec<String> = case.faults.iter().map(|fault| fault.kind.to_string()).collect();
        let name = kinds.join(" and ");
        let moving_runs = self.world.running(&self.moving, &["moving/s1"]).await;
        let version = self.world.agent.status().await.expect("status").manifest_version;
        for fault in case.faults {
            self.world.lab.fault(fault).expect("fault");
        }
        if case.needs_news {
            self.news();
        }
        if case.needs_connection {
            self.world.lab.stop_wfm().await;
            self.world.lab.start_wfm().await.expect("fleet manager");
        }
        let message = self.world.wfm_error(case.code, case.text).await;
        println!("{name}: {}: {message}", case.code);
        self.nothing_happened(&moving_runs, &name).await;

        // The same after a restart that finds a container missing.
        self.world.agent.kill().await;
        self.world.engine.destroy(&self.still_runs[1].id).await;
        self.world.agent.start();
        self.world.wfm_error(case.code, case.text).await;
        let after = self.world.running(&self.still, &["still/s1", "still/s2"]).await;
        assert_eq!(after[0], self.still_runs[0], "{name}");
        self.still_runs = after;
        self.nothing_happened(&moving_runs, &name).await;
        let status = self.world.agent.status().await.expect("status");
        assert_eq!(status.manifest_version, version, "{name}: {status:?}");

        self.world.lab.clear_faults();
        self.world.synced().await;
        if case.needs_news {
            self.world.reported(&self.moving, State::Installed).await;
            let marker = self.round.to_string();
            self.world.running_at(&self.moving, &[("moving/s1", &marker)]).await;
        } else {
            self.nothing_happened(&moving_runs, &name).await;
        }
        let reports = self.world.lab.reports_of(&self.still);
        assert!(reports.iter().all(|report| report.state != State::Failed), "{name}: {reports:#?}");
    }
}

async fn endure_all(cases: Vec<Case>) {
    if !require_engine() {
        return;
    }
    let mut rig = Rig::begin().await;
    for case in cases {
        rig.endure(case).await;
    }
    rig.world.end().await;
}

fn manifest(kind: FaultKind) -> Fault {
    Fault::wfm(kind).on(Operation::GetManifest)
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_that_break_a_rule() {
    let of =
        |defect, text| Case::of(manifest(FaultKind::Manifest(defect)), "MANIFEST_INVALID", text);
    endure_all(vec![
        of(ManifestDefect::BadAlgorithm, "deployments[0].digest"),
        of(ManifestDefect::DuplicateIds, "deployments["),
        of(ManifestDefect::NullBundle, "bundle is"),
        of(ManifestDefect::MissingBundle, "bundle is"),
        of(ManifestDefect::FloatVersion, "manifestVersion"),
        of(ManifestDefect::ZeroVersion, "manifestVersion is 0"),
        of(ManifestDefect::Garbage, "malformed"),
        Case::of(
            manifest(FaultKind::Manifest(ManifestDefect::Oversize)),
            "WFM_PROTOCOL",
            "larger than",
        ),
        Case::of(manifest(FaultKind::OldVersion), "MANIFEST_OLDER", "accepted version"),
        Case::of(manifest(FaultKind::EqualVersion), "MANIFEST_OLDER", "accepted version"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none() {
    let of = |code, class, text| {
        let kind = FaultKind::Status { code, retry_after_secs: None };
        Case::of(manifest(kind), class, text)
    };
    let wait = FaultKind::Status { code: 429, retry_after_secs: Some(1) };
    endure_all(vec![
        of(403, "WFM_DENIED", "polling the desired state: denied"),
        of(404, "WFM_PROTOCOL", "not found"),
        of(406, "WFM_PROTOCOL", "not acceptable"),
        Case::of(manifest(wait), "WFM_BUSY", "429"),
        of(500, "WFM_BUSY", "500"),
        of(503, "WFM_BUSY", "503"),
        Case::of(manifest(FaultKind::Hang), "WFM_UNREACHABLE", "polling the desired state"),
        Case::of(manifest(FaultKind::Cut { after_bytes: 10 }), "WFM_UNREACHABLE", "polling")
            .with_news(),
        Case::of(Fault::wfm(FaultKind::Refuse), "WFM_UNREACHABLE", "").with_connection(),
        Case::of(manifest(FaultKind::WrongContentType), "WFM_PROTOCOL", "text/html").with_news(),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_not_what_was_promised() {
    if !require_engine() {
        return;
    }
    let mut rig = Rig::begin().await;
    let bundle = |kind| Fault::wfm(kind).on(Operation::GetBundle);
    let single = |kind| Fault::wfm(kind).on(Operation::GetDeployment);
    let both = |kind: FaultKind, code, text| {
        Case::of(bundle(kind.clone()), code, text).and(single(kind)).with_news()
    };
    let missing = FaultKind::Status { code: 404, retry_after_secs: None };
    for case in [
        both(FaultKind::WrongBytes, "ARTIFACT_DIGEST_MISMATCH", "expected sha256:"),
        both(missing.clone(), "WFM_PROTOCOL", "not found"),
        both(FaultKind::Cut { after_bytes: 20 }, "WFM_UNREACHABLE", "fetching"),
        Case::of(manifest(FaultKind::ExtraFile), "ARTIFACT_DIGEST_MISMATCH", "expected sha256:")
            .and(single(FaultKind::WrongBytes))
            .with_news(),
    ] {
        rig.endure(case).await;
    }
    // One way of fetching is enough; sizes are advice.
    for fault in [
        bundle(FaultKind::WrongBytes),
        single(FaultKind::WrongBytes),
        bundle(missing),
        manifest(FaultKind::ExtraFile),
        manifest(FaultKind::WrongSize),
        manifest(FaultKind::NoEtag),
    ] {
        let name = fault.kind.to_string();
        rig.world.lab.fault(fault).expect("fault");
        rig.news();
        let report = rig.world.reported(&rig.moving, State::Installed).await;
        assert!(report.error.is_none(), "{name}: {report}");
        let marker = rig.round.to_string();
        rig.world.running_at(&rig.moving, &[("moving/s1", &marker)]).await;
        rig.world.synced().await;
        rig.world.lab.clear_faults();
    }
    rig.world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_are_refused_are_reported_component_by_component() {
    if !require_engine() {
        return;
    }
    let mut rig = Rig::begin().await;
    let still = rig.still.clone();
    let bad = |revision: &str| {
        let repository = format!("oci://{}/apps/two", rig.world.lab.registry().host());
        let components =
            ["web", "db"].map(|name| ComponentSpec::new(name, &*repository, revision)).to_vec();
        DeploymentSpec::compose("two", components)
    };
    // Of a new deployment, and of one that runs.
    let (fresh, update) = (bad("latest"), bad("v2"));
    let id = rig.world.deploy_spec(fresh);
    rig.world.lab.update(&rig.moving, update).expect("update");
    for id in [&id, &rig.moving] {
        let report = rig.world.failed(id, "DEPLOYMENT_INVALID").await;
        let error = report.error.as_ref().expect("an error");
        assert_eq!(error.source, "two", "{report}");
        assert!(error.message.contains("components[0].properties.revision"), "{report}");
        let parts: Vec<(&str, State)> =
            report.components.iter().map(|one| (&*one.name, one.state)).collect();
        assert_eq!(parts, [("web", State::Failed), ("db", State::Failed)], "{report}");
    }
    rig.world.running_at(&rig.moving, &[("moving/s1", "0")]).await;
    assert_eq!(rig.world.running(&still, &["still/s1", "still/s2"]).await, rig.still_runs);
    rig.news();
    rig.world.reported(&rig.moving, State::Installed).await;
    rig.world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_not_our_fleet_manager() {
    let of = |defect, text| {
        let fault = Fault::wfm(FaultKind::ServerSvid(defect));
        Case::of(fault, "WFM_UNTRUSTED", text).with_connection()
    };
    endure_all(vec![
        of(SvidDefect::Expired, "CertExpired"),
        of(SvidDefect::NotYetValid, "CertNotValidYet"),
        of(SvidDefect::ForeignDomain, "trust domain"),
        of(SvidDefect::ForeignWfm, "not spiffe://"),
        of(SvidDefect::TwoUris, "2 URI names"),
        of(SvidDefect::CaLeaf, "leaf is a CA certificate"),
        of(SvidDefect::NoIntermediate, "UnknownIssuer"),
        of(SvidDefect::UnknownAuthority, "UnknownIssuer"),
    ])
    .await;
}
