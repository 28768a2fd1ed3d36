//! Power cuts and meddling hands.

use crate::support::{Bench, WAIT, forever, project, script, service};
use bollard::models::{
    ContainerUpdateBody, NetworkDisconnectRequest, RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::{RemoveContainerOptionsBuilder, RenameContainerOptions};
use margo_agent::compose::model::{
    Condition, Mount, MountSource, Network, NetworkAttachment, Volume,
};
use margo_agent::engine::{Applied, MismatchKind, Names, Unit};
use std::time::Duration;

/// Three services, a dependency, two networks, a volume: enough steps to be cut between.
fn busy(bench: &Bench) -> Unit {
    let mut web = forever();
    web.networks.insert("back".to_owned(), NetworkAttachment::default());
    web.depends_on
        .insert("job".to_owned(), crate::support::after(Condition::CompletedSuccessfully));
    let mut db = forever();
    db.mounts.push(Mount {
        source: MountSource::Volume { key: "data".to_owned(), no_copy: false },
        target: "/data".to_owned(),
        read_only: false,
        short_form: true,
    });
    let mut unit = bench.unit(project([("web", web), ("db", db), ("job", script("true"))]));
    unit.project.networks.insert("back".to_owned(), Network::default());
    unit.project.volumes.insert("data".to_owned(), Volume::default());
    unit
}

async fn converges(bench: &Bench, unit: &Unit, cut: Duration) {
    bench.engine.apply(unit, &WAIT).await.unwrap();
    assert_eq!(bench.engine.observe(unit).await.unwrap(), [], "cut after {cut:?}");
    // Three containers, two networks, one volume: nothing twice, nothing half.
    assert_eq!(bench.leftovers().await, 6, "cut after {cut:?}");
    let names = Names::new(&unit.deployment, &unit.component);
    for service in ["web", "db", "job"] {
        let id = bench.id(service).await;
        let live = bench.docker.inspect_container(&id, None).await.unwrap();
        assert_eq!(live.name.unwrap(), format!("/{}", names.container(service)));
    }
    let again = bench.engine.apply(unit, &WAIT).await.unwrap();
    assert_eq!(again, Applied { adopted: 3, ..Applied::default() }, "cut after {cut:?}");
}

#[tokio::test]
async fn a_first_apply_cut_anywhere_converges() {
    let Some(bench) = Bench::new().await else { return };
    let unit = busy(&bench);
    for cut_ms in [0, 3, 8, 15, 30, 60, 100, 160, 240, 350, 500, 800] {
        let cut = Duration::from_millis(cut_ms);
        let _ = tokio::time::timeout(cut, bench.engine.apply(&unit, &WAIT)).await;
        // A new process: nothing is remembered.
        let engine = margo_agent::engine::Engine::connect(&crate::support::socket()).unwrap();
        let bench = Bench {
            engine,
            docker: bench.docker.clone(),
            image: bench.image.clone(),
            deployment: bench.deployment.clone(),
        };
        converges(&bench, &unit, cut).await;
        bench.clean().await;
    }
}

#[tokio::test]
async fn an_update_cut_anywhere_converges_and_keeps_the_data() {
    let Some(bench) = Bench::new().await else { return };
    let mut unit = busy(&bench);
    bench.engine.apply(&unit, &WAIT).await.unwrap();
    bench.exec("db", "echo kept > /data/file").await;
    for cut_ms in [1, 5, 20, 50, 100, 200, 300, 450, 700, 1000] {
        let cut = Duration::from_millis(cut_ms);
        for name in ["web", "db", "job"] {
            let value = Some(cut_ms.to_string());
            service(&mut unit, name).environment.insert("CUT".to_owned(), value);
        }
        let _ = tokio::time::timeout(cut, bench.engine.apply(&unit, &WAIT)).await;
        converges(&bench, &unit, cut).await;
        assert_eq!(
            bench.exec("db", "cat /data/file; echo $CUT").await,
            format!("kept\n{cut_ms}\n")
        );
    }
    bench.clean().await;
}

async fn mended(bench: &Bench, unit: &Unit, expected: Applied, what: &str) {
    assert_eq!(bench.engine.apply(unit, &WAIT).await.unwrap(), expected, "{what}");
    assert_eq!(bench.engine.observe(unit).await.unwrap(), [], "{what}");
}

#[tokio::test]
async fn edits_behind_our_back_are_seen_and_undone() {
    let Some(bench) = Bench::new().await else { return };
    let mut unit = bench.unit(project([("web", forever()), ("db", forever())]));
    service(&mut unit, "web").resources.memory_bytes = Some(64 << 20);
    bench.engine.apply(&unit, &WAIT).await.unwrap();
    let names = Names::new(&unit.deployment, &unit.component);
    let recreated = Applied { adopted: 1, recreated: 1, ..Applied::default() };
    let edited = async |what: &str| {
        let seen = bench.engine.observe(&unit).await.unwrap();
        assert!(
            matches!(&seen[..], [one, ..] if one.service == "web"
                && matches!(&one.kind, MismatchKind::Edited { what: found } if found.contains(what))),
            "{what}: {seen:?}"
        );
    };

    let limits = ContainerUpdateBody { cpu_shares: Some(77), ..ContainerUpdateBody::default() };
    bench.docker.update_container(&bench.id("web").await, limits).await.unwrap();
    edited("cpu shares").await;
    mended(&bench, &unit, recreated, "cpu shares").await;

    let policy =
        RestartPolicy { name: Some(RestartPolicyNameEnum::ALWAYS), maximum_retry_count: None };
    let policy =
        ContainerUpdateBody { restart_policy: Some(policy), ..ContainerUpdateBody::default() };
    bench.docker.update_container(&bench.id("web").await, policy).await.unwrap();
    edited("restart policy").await;
    mended(&bench, &unit, recreated, "restart policy").await;

    let request = NetworkDisconnectRequest { container: bench.id("web").await, force: Some(true) };
    bench.docker.disconnect_network(&names.keyed("default"), request).await.unwrap();
    edited("disconnected").await;
    mended(&bench, &unit, recreated, "disconnect").await;

    // A wrong name is mended without stopping anything.
    let id = bench.id("web").await;
    let options = RenameContainerOptions { name: format!("renamed-{}", bench.deployment) };
    bench.docker.rename_container(&id, options).await.unwrap();
    edited("name").await;
    mended(&bench, &unit, Applied { adopted: 2, ..Applied::default() }, "rename").await;
    assert_eq!(bench.id("web").await, id);

    bench.docker.pause_container(&id).await.unwrap();
    assert_eq!(bench.engine.observe(&unit).await.unwrap()[0].kind, MismatchKind::Paused);
    let restarted = Applied { adopted: 1, restarted: 1, ..Applied::default() };
    mended(&bench, &unit, restarted, "pause").await;

    bench.docker.kill_container(&id, None).await.unwrap();
    crate::support::until(async || bench.state("web").await == "exited").await;
    let seen = bench.engine.observe(&unit).await.unwrap();
    assert_eq!(seen[0].kind, MismatchKind::Stopped { exit_code: 137 });
    mended(&bench, &unit, restarted, "kill").await;
    bench.clean().await;
}

#[tokio::test]
async fn what_was_removed_comes_back() {
    let Some(bench) = Bench::new().await else { return };
    let unit = bench.unit(project([("web", forever()), ("db", forever())]));
    bench.engine.apply(&unit, &WAIT).await.unwrap();
    let force = || Some(RemoveContainerOptionsBuilder::default().force(true).build());

    bench.docker.remove_container(&bench.id("web").await, force()).await.unwrap();
    let seen = bench.engine.observe(&unit).await.unwrap();
    assert_eq!((seen[0].service.as_str(), &seen[0].kind), ("web", &MismatchKind::Missing));
    let expected = Applied { adopted: 1, created: 1, ..Applied::default() };
    mended(&bench, &unit, expected, "container removed").await;

    // The network goes while its containers are stopped: they cannot start as they are.
    for name in ["web", "db"] {
        bench.docker.stop_container(&bench.id(name).await, None).await.unwrap();
    }
    let network = Names::new(&unit.deployment, &unit.component).keyed("default");
    bench.docker.remove_network(&network).await.unwrap();
    let expected = Applied { recreated: 2, ..Applied::default() };
    mended(&bench, &unit, expected, "network removed").await;
    bench.clean().await;
}

#[tokio::test]
async fn a_wrong_image_is_replaced() {
    let Some(bench) = Bench::new().await else { return };
    let mut unit = bench.unit(project([("web", forever())]));
    bench.engine.apply(&unit, &WAIT).await.unwrap();
    // The same content under another id.
    let other = crate::support::another_image(&bench).await;
    unit.images.insert("web".to_owned(), other.clone());
    let kinds: Vec<_> =
        bench.engine.observe(&unit).await.unwrap().into_iter().map(|m| m.kind).collect();
    assert!(kinds.contains(&MismatchKind::WrongImage), "{kinds:?}");
    let expected = Applied { recreated: 1, ..Applied::default() };
    mended(&bench, &unit, expected, "image").await;

    // In use: not pruned. Unused and not to be kept: pruned. The test image is no candidate.
    let candidates = std::collections::BTreeSet::from([other.clone()]);
    let none = std::collections::BTreeSet::new();
    assert_eq!(bench.engine.prune_images(&candidates, &none).await.unwrap(), []);
    unit.images.insert("web".to_owned(), bench.image.clone());
    bench.engine.apply(&unit, &WAIT).await.unwrap();
    assert_eq!(bench.engine.prune_images(&candidates, &candidates).await.unwrap(), []);
    assert_eq!(bench.engine.prune_images(&candidates, &none).await.unwrap().len(), 1);
    assert!(!bench.engine.image_present(&other).await.unwrap());
    assert_eq!(bench.engine.prune_images(&candidates, &none).await.unwrap(), []);
    bench.clean().await;
}
