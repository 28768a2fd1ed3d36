//! The whole path: deploy one, then three, update one, remove one. Nothing else is ever touched.

use margo_e2e::{App, World, require_engine};
use margo_lab::State;

#[tokio::test(flavor = "multi_thread")]
async fn one_then_three_then_an_update_then_a_removal() {
    if !require_engine() {
        return;
    }
    let mut world = World::new().await;
    world.agent.start();

    let first = world.deploy(&App::sleeping("alpha", "1.0.0", "one", 1));
    let report = world.reported(&first, State::Installed).await;
    assert_eq!(report.adopted_version, world.lab.version());
    let alpha = world.running(&first, &["alpha/s1"]).await;

    let second = world.deploy(&App::sleeping("beta", "1.0.0", "one", 2));
    let third = world.deploy(&App::sleeping("gamma", "1.0.0", "one", 1));
    world.reported(&second, State::Installed).await;
    world.reported(&third, State::Installed).await;
    let beta = world.running(&second, &["beta/s1", "beta/s2"]).await;
    let gamma = world.running(&third, &["gamma/s1"]).await;

    world.update(&second, &App::sleeping("beta", "1.1.0", "two", 2));
    let report = world.reported(&second, State::Installed).await;
    assert_eq!(report.adopted_version, world.lab.version());
    let updated = world.running(&second, &["beta/s1", "beta/s2"]).await;
    assert!(updated.iter().zip(&beta).all(|(new, old)| new.id != old.id), "beta was replaced");

    world.lab.remove(&third).expect("remove");
    world.reported(&third, State::Removed).await;
    world.running(&third, &[]).await;
    assert!(gamma.iter().all(|container| container.runs), "it ran before");

    assert_eq!(world.running(&first, &["alpha/s1"]).await, alpha, "alpha was never touched");
    let states: Vec<State> = world.lab.reports_of(&first).iter().map(|r| r.state).collect();
    let installed = states.iter().filter(|state| **state == State::Installed).count();
    assert_eq!(installed, 1, "told once: {states:?}");
    assert!(world.lab.reports().iter().all(|r| r.warnings.is_empty()), "{:?}", world.lab.reports());
    world.end().await;
}
