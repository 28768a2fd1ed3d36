//! No fleet manager, no registry, no identity: what was running runs on, what was missing comes back (I4), what was
//! prepared is finished, and what happened meanwhile is told in order afterwards (I8).

use margo_e2e::{App, World, require_engine};
use margo_lab::{DeploymentId, State};

/// Mismatches are reported, and looked for every second.
const REPORT: &str = "[behaviour]\nmismatch = \"report\"\n[retry]\nobserve_interval_secs = 1\n";

/// A world with two deployments installed.
async fn two_installed(mut world: World) -> (World, DeploymentId, DeploymentId) {
    world.agent.start();
    let alpha = world.deploy(&App::sleeping("alpha", "1.0.0", "one", 2));
    let beta = world.deploy(&App::sleeping("beta", "1.0.0", "one", 1));
    world.reported(&alpha, State::Installed).await;
    world.reported(&beta, State::Installed).await;
    (world, alpha, beta)
}

async fn cut_off(world: &World) {
    world.lab.stop_wfm().await;
    world.lab.stop_registry().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_without_network_keeps_what_runs_and_restores_what_does_not() {
    if !require_engine() {
        return;
    }
    let (mut world, alpha, beta) = two_installed(World::new().await).await;
    let alpha_before = world.running(&alpha, &["alpha/s1", "alpha/s2"]).await;
    let beta_before = world.running(&beta, &["beta/s1"]).await;
    cut_off(&world).await;

    // Nothing is missing: nothing is touched.
    world.agent.kill().await;
    assert_eq!(world.running(&alpha, &["alpha/s1", "alpha/s2"]).await, alpha_before);
    let mark = world.agent.log_mark();
    world.agent.start();
    world.verified(mark, &alpha).await;
    world.verified(mark, &beta).await;
    assert_eq!(world.running(&alpha, &["alpha/s1", "alpha/s2"]).await, alpha_before);
    assert_eq!(world.running(&beta, &["beta/s1"]).await, beta_before);

    // Two containers are missing: they come back, the third stays as it is.
    world.agent.kill().await;
    world.engine.destroy(&alpha_before[0].id).await;
    world.engine.destroy(&beta_before[0].id).await;
    let mark = world.agent.log_mark();
    world.agent.start();
    world.verified(mark, &alpha).await;
    let alpha_after = world.running(&alpha, &["alpha/s1", "alpha/s2"]).await;
    assert_ne!(alpha_after[0].id, alpha_before[0].id);
    assert_eq!(alpha_after[1], alpha_before[1]);
    world.running(&beta, &["beta/s1"]).await;
    world.wfm_error("WFM_UNREACHABLE", "").await;

    // Back again: everything is as the fleet manager knows it, so there is nothing to tell.
    let told = world.lab.reports().len();
    world.lab.start_registry().await.expect("registry");
    world.lab.start_wfm().await.expect("fleet manager");
    world.synced().await;
    assert_eq!(world.lab.reports().len(), told, "{:#?}", world.lab.reports());
    assert_eq!(world.running(&alpha, &["alpha/s1", "alpha/s2"]).await, alpha_after);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_identity_the_device_restores_its_workloads() {
    if !require_engine() {
        return;
    }
    let (mut world, alpha, beta) = two_installed(World::new().await).await;
    let before = world.running(&alpha, &["alpha/s1", "alpha/s2"]).await;
    world.agent.kill().await;
    world.engine.destroy(&before[1].id).await;
    let (identity, away) = (world.agent.identity_dir(), world.root().join("identity-elsewhere"));
    std::fs::rename(&identity, &away).expect("take the identity away");

    world.agent.start();
    let after = world.running(&alpha, &["alpha/s1", "alpha/s2"]).await;
    assert_eq!(after[0], before[0]);
    world.running(&beta, &["beta/s1"]).await;
    let status =
        world.status("the identity to be missed", |status| status.identity.error.is_some()).await;
    let lacking = status.lacking.expect("something is lacking");
    assert!(lacking.contains("svid"), "{lacking}");
    assert!(status.manifest_version.is_some(), "the accepted state is remembered");

    std::fs::rename(&away, &identity).expect("bring the identity back");
    world.synced().await;
    assert_eq!(world.running(&alpha, &["alpha/s1", "alpha/s2"]).await, after);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_that_was_prepared_is_finished_without_network() {
    if !require_engine() {
        return;
    }
    let (mut world, alpha, beta) = two_installed(World::new().await).await;
    let alpha_before = world.running(&alpha, &["alpha/s1", "alpha/s2"]).await;
    let beta_before = world.running(&beta, &["beta/s1"]).await;
    let mark = world.agent.log_mark();
    world.update(&alpha, &App::chain("alpha", "1.1.0", "two", 3));
    // From here on everything it needs is on the device.
    world.logged(mark, &["preparing -> prepared", alpha.as_str()]).await;
    world.agent.kill().await;
    cut_off(&world).await;

    world.agent.start();
    let after = world.running(&alpha, &["alpha/s1", "alpha/s2", "alpha/s3"]).await;
    assert!(after.iter().all(|new| alpha_before.iter().all(|old| old.id != new.id)));
    for container in &after {
        let env = world.engine.inspect(&container.id, "{{.Config.Env}}").await;
        assert!(env.contains("MARKER=two"), "{env}");
    }
    assert_eq!(world.running(&beta, &["beta/s1"]).await, beta_before);
    world.deployment(&alpha, "alpha to be installed", |alpha| alpha.state == "installed").await;
    world.status("a report to be waiting", |status| status.outbox_len > 0).await;

    // The report outlives another restart.
    world.agent.kill().await;
    world.agent.start();
    world.status("a report to be waiting", |status| status.outbox_len > 0).await;
    world.lab.start_wfm().await.expect("fleet manager");
    world.reported(&alpha, State::Installed).await;
    world.status("the outbox to be empty", |status| status.outbox_len == 0).await;
    let version = world.target_version(&alpha);
    let reports = world.lab.reports_of(&alpha);
    let ends =
        reports.iter().filter(|r| r.adopted_version == version && r.state == State::Installed);
    assert_eq!(ends.count(), 1, "{reports:#?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_without_network_is_told_in_order() {
    if !require_engine() {
        return;
    }
    let world = World::with_extra(REPORT).await;
    let (mut world, alpha, beta) = two_installed(world).await;
    let container = world.running(&beta, &["beta/s1"]).await.remove(0);
    let told = world.states(&beta);
    cut_off(&world).await;

    world.engine.cli(&["stop", "-t", "0", &container.id]).await;
    world.deployment(&beta, "beta to have failed", |beta| beta.state == "failed").await;
    world.agent.kill().await;
    world.agent.start();
    // With the restart it was restored: a start is a start.
    world.running(&beta, &["beta/s1"]).await;
    world.deployment(&beta, "beta to be installed", |beta| beta.state == "installed").await;
    let status = world.status("two reports to wait", |status| status.outbox_len == 2).await;
    assert_eq!(status.workloads.installed, 2, "{status:?}");

    world.lab.start_wfm().await.expect("fleet manager");
    world.status("the outbox to be empty", |status| status.outbox_len == 0).await;
    let states = world.states(&beta);
    assert_eq!(states[told.len()..], [State::Failed, State::Installed], "{states:?}");
    let report = &world.lab.reports_of(&beta)[told.len()];
    assert_eq!(report.error.as_ref().expect("an error").code, "MISMATCH", "{report}");
    assert!(world.lab.reports_of(&alpha).iter().all(|r| r.state != State::Failed));
    world.end().await;
}
