//! First boot with a desired state that ships in the image: no fleet manager, no registry, images from an archive.

use margo_e2e::{Settings, World, require_engine};
use margo_lab::archive::{Entry, tar_gz};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const ID: &str = "7b0b6f0e-3f0a-4d8e-9c55-0d7b3c0c1a01";

fn docker(args: &[&str]) {
    let output = Command::new("docker").args(args).output().expect("docker");
    assert!(
        output.status.success(),
        "docker {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("directory");
    std::fs::write(path, bytes).expect("file");
}

/// An image nobody can pull: made here, saved, and removed from the engine again.
fn ship_image(dir: &Path, reference: &str) {
    let root = dir.join("rootfs.tar");
    let program = std::fs::read("/bin/busybox").expect("/bin/busybox of busybox-static");
    let files = BTreeMap::from([(PathBuf::from("bin/busybox"), Entry::program(program))]);
    write(&root, &margo_lab::archive::tar(&files).expect("tar"));
    docker(&["import", &root.display().to_string(), reference]);
    let archive = dir.join("preload/images/app.tar");
    write(&archive, b"");
    docker(&["save", "-o", &archive.display().to_string(), reference]);
    docker(&["rmi", reference]);
}

/// For every device with the image, whatever it is called: an image cannot know.
fn ship_deployment(dir: &Path, image: &str) {
    let document = format!(
        "id: {ID}\nmetadata: {{name: shipped, namespace: lab, deviceId: acme/*}}\nspec:\n  \
         applicationId: shipped\n  deploymentProfile:\n    type: compose\n    components:\n      \
         - name: shipped\n        properties: {{repository: \"oci://nowhere.invalid/shipped\", \
         revision: 1.0.0}}\n"
    );
    write(&dir.join("preload/deployments/shipped.yaml"), document.as_bytes());
    let compose = format!(
        "services:\n  s1:\n    image: {image}\n    command: [\"/bin/busybox\", \"sleep\", \
         \"1000000\"]\n    stop_signal: SIGKILL\n"
    );
    let files = BTreeMap::from([(PathBuf::from("shipped/compose.yaml"), Entry::text(compose))]);
    let archive = dir.join(format!("preload/archives/{ID}/shipped.tar.gz"));
    write(&archive, &tar_gz(&files).expect("tar.gz"));
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_what_ships_in_the_image_until_a_manifest_says_otherwise() {
    if !require_engine() {
        return;
    }
    let settings = Settings {
        extra: "[behaviour]\nfirst_boot = \"preload\"\n".to_owned(),
        ..Settings::default()
    };
    let mut world = World::with(settings).await;
    world.lab.stop_wfm().await;
    world.lab.stop_registry().await;
    let image = format!("shipped.invalid/app:{}", std::process::id());
    ship_image(world.root(), &image);
    ship_deployment(world.root(), &image);

    world.agent.start();
    let id = margo_lab::DeploymentId::from(ID);
    let first = world.running(&id, &["shipped/s1"]).await;

    world.agent.kill().await;
    world.agent.start();
    assert_eq!(world.running(&id, &["shipped/s1"]).await, first, "adopted after a restart");

    // The lab's manifest is empty: now an accepted one says that nothing should run (I5).
    world.lab.start_wfm().await.expect("WFM");
    world.running(&id, &[]).await;
    let told = world.lab.reports_of(&id);
    assert!(told.iter().all(|report| report.adopted_version > 0), "{told:?}");
    world.end().await;
    // Collected as garbage, or not yet: either way it is not left behind.
    let _ = Command::new("docker").args(["rmi", &image]).output();
}
