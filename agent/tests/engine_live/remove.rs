//! Removal.

use crate::support::{Bench, WAIT, after, forever, project, service};
use margo_agent::compose::model::{Condition, Mount, MountSource, Volume};
use margo_agent::engine::VolumePolicy;
use state_machine::ids::{ComponentName, DeploymentId};

#[tokio::test]
async fn removal_is_complete_repeatable_and_keeps_volumes_if_told() {
    let Some(bench) = Bench::new().await else { return };
    let mut web = forever();
    web.depends_on.insert("db".to_owned(), after(Condition::Started));
    let mut unit = bench.unit(project([("web", web), ("db", forever())]));
    unit.project.volumes.insert("data".to_owned(), Volume::default());
    service(&mut unit, "db").mounts.push(Mount {
        source: MountSource::Volume { key: "data".to_owned(), no_copy: false },
        target: "/data".to_owned(),
        read_only: false,
        short_form: true,
    });
    bench.engine.apply(&unit, &WAIT).await.unwrap();
    bench.exec("db", "echo kept > /data/file").await;
    let remove = async |volumes| {
        bench.engine.remove_component(&bench.deployment, &unit.component, volumes).await.unwrap();
    };
    remove(VolumePolicy::Keep).await;
    assert_eq!(bench.leftovers().await, 1);
    remove(VolumePolicy::Keep).await;
    // Coming back, it finds its data.
    bench.engine.apply(&unit, &WAIT).await.unwrap();
    assert_eq!(bench.exec("db", "cat /data/file").await, "kept\n");
    remove(VolumePolicy::Delete).await;
    assert_eq!(bench.leftovers().await, 0);
    remove(VolumePolicy::Delete).await;
}

#[tokio::test]
async fn only_what_was_named_goes() {
    let Some(bench) = Bench::new().await else { return };
    let mut one = bench.unit(project([("web", forever())]));
    let mut two = one.clone();
    one.component = ComponentName::new("one");
    two.component = ComponentName::new("two");
    bench.engine.apply(&one, &WAIT).await.unwrap();
    bench.engine.apply(&two, &WAIT).await.unwrap();
    bench
        .engine
        .remove_component(&bench.deployment, &one.component, VolumePolicy::Delete)
        .await
        .unwrap();
    assert_eq!(bench.engine.observe(&two).await.unwrap(), []);
    let other = DeploymentId::new("00000000-0000-4000-8000-000000000000");
    bench.engine.remove_deployment(&other, VolumePolicy::Delete).await.unwrap();
    assert_eq!(bench.engine.observe(&two).await.unwrap(), []);
    bench.clean().await;
}
