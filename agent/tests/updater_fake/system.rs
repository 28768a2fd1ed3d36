//! The service manager: health of the system, checks as units, and restarting.

use crate::bus::Bus;
use state_machine::failure::Code;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};
use zbus::object_server::SignalEmitter;
use zbus::{Connection, ObjectPath, OwnedObjectPath, fdo};

type ListedUnit =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

#[derive(Clone, Debug, Default)]
struct Systemd {
    state: Arc<Mutex<String>>,
    started: Arc<Mutex<Vec<String>>>,
    stopped: Arc<Mutex<Vec<String>>>,
}

fn path(text: &str) -> OwnedObjectPath {
    ObjectPath::try_from(text.to_owned()).unwrap().into()
}

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Systemd {
    async fn subscribe(&self) {}

    async fn start_unit(
        &self,
        name: String,
        _mode: String,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> OwnedObjectPath {
        self.started.lock().unwrap().push(name.clone());
        let job = path("/job/7");
        let result = if name.contains("bad") { "failed" } else { "done" };
        if !name.contains("hangs") {
            // Of another job first: it is not ours.
            let other = path("/job/6");
            Self::job_removed(&emitter, 6, other, name.clone(), "canceled".to_owned())
                .await
                .unwrap();
            Self::job_removed(&emitter, 7, job.clone(), name, result.to_owned()).await.unwrap();
        }
        job
    }

    async fn stop_unit(&self, name: String, _mode: String) -> OwnedObjectPath {
        self.stopped.lock().unwrap().push(name);
        path("/job/8")
    }

    async fn list_units_filtered(&self, states: Vec<String>) -> fdo::Result<Vec<ListedUnit>> {
        assert_eq!(states, ["failed"]);
        let text = |text: &str| text.to_owned();
        Ok(vec![(
            text("printer.service"),
            text(""),
            text("loaded"),
            text("failed"),
            text("failed"),
            text(""),
            path("/unit"),
            0,
            text(""),
            path("/"),
        )])
    }

    #[zbus(property)]
    async fn system_state(&self) -> String {
        self.state.lock().unwrap().clone()
    }

    #[zbus(signal)]
    async fn job_removed(
        emitter: &SignalEmitter<'_>,
        id: u32,
        job: OwnedObjectPath,
        unit: String,
        result: String,
    ) -> zbus::Result<()>;
}

#[derive(Clone, Debug, Default)]
struct Login(Arc<Mutex<u32>>);

#[zbus::interface(name = "org.freedesktop.login1.Manager")]
impl Login {
    async fn reboot(&self, interactive: bool) -> fdo::Result<()> {
        assert!(!interactive);
        *self.0.lock().unwrap() += 1;
        Err(fdo::Error::AccessDenied("not you".to_owned()))
    }
}

async fn serve(bus: &Bus, state: &str) -> (Systemd, Connection) {
    let systemd = Systemd::default();
    state.clone_into(&mut systemd.state.lock().unwrap());
    let builder = bus.builder().serve_at("/org/freedesktop/systemd1", systemd.clone());
    let connection = builder.name("org.freedesktop.systemd1").build().await.unwrap();
    (systemd, connection)
}

fn check(bus: &Bus, name: &str) {
    let file = bus.path("health.d").join(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "").unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_running_system_is_well_and_a_degraded_one_names_what_failed() {
    let Some(bus) = Bus::start().await else { return };
    let (systemd, _connection) = serve(&bus, "running").await;
    let updater = bus.updater();
    assert_eq!(updater.check_system().await.unwrap(), []);
    "degraded".clone_into(&mut systemd.state.lock().unwrap());
    let failures = updater.check_system().await.unwrap();
    let [failure] = failures.as_slice() else { panic!("{failures:?}") };
    assert_eq!(failure.code, Code::FirmwareUnhealthy);
    assert!(failure.message.contains("printer.service"), "{failure}");
}

#[tokio::test]
async fn required_checks_must_pass_and_wanted_ones_are_run_once() {
    let Some(bus) = Bus::start().await else { return };
    let (systemd, _connection) = serve(&bus, "running").await;
    let updater = bus.updater();
    check(&bus, "required.d/10-good");
    check(&bus, "wanted.d/10-bad");
    assert_eq!(updater.check_system().await.unwrap(), []);
    assert_eq!(updater.check_system().await.unwrap(), []);
    let runs = |name: &str| {
        systemd.started.lock().unwrap().iter().filter(|unit| unit.contains(name)).count()
    };
    assert_eq!((runs("10\\x2dgood"), runs("10\\x2dbad")), (2, 1));
    check(&bus, "required.d/20-bad");
    check(&bus, "required.d/30-hangs");
    let failures = updater.check_system().await.unwrap();
    let [bad, hangs] = failures.as_slice() else { panic!("{failures:?}") };
    assert!(bad.message.contains("20-bad: failed"), "{bad}");
    assert!(hangs.message.contains("30-hangs: not done"), "{hangs}");
    assert_eq!(systemd.stopped.lock().unwrap().len(), 1, "what hangs is stopped");
}

#[tokio::test]
async fn no_service_manager_is_told_and_is_no_verdict() {
    let Some(bus) = Bus::start().await else { return };
    let failure = bus.updater().check_system().await.unwrap_err();
    assert_eq!(failure.code, Code::FirmwareUnavailable);
}

#[tokio::test]
async fn a_restart_that_is_refused_is_asked_of_systemd_and_then_told() {
    let Some(bus) = Bus::start().await else { return };
    let failure = bus.updater().reboot().await;
    assert_eq!(failure.code, Code::FirmwareUnavailable);

    let login = Login::default();
    let builder = bus.builder().serve_at("/org/freedesktop/login1", login.clone());
    let _login = builder.name("org.freedesktop.login1").build().await.unwrap();
    let failure = bus.updater().reboot().await;
    assert!(failure.message.contains("not you"), "{failure}");
    assert_eq!(*login.0.lock().unwrap(), 1);

    let (systemd, _connection) = serve(&bus, "running").await;
    let updater = bus.updater();
    let restarting = tokio::spawn(async move { updater.reboot().await });
    while systemd.started.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(*systemd.started.lock().unwrap(), ["reboot.target"]);
    restarting.abort();
}
