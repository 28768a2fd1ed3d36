//! A RAUC that does what a script says.

use crate::bus::Bus;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use zbus::object_server::SignalEmitter;
use zbus::{Connection, OwnedVariant, Variant, fdo};

/// What the next installation does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Script {
    /// Succeeds and says so.
    #[default]
    Succeed,
    /// Succeeds and never says so.
    SucceedSilently,
    /// Fails and never says so.
    FailSilently,
    /// First the `Completed` of somebody else, of whatever kind; then, much later, its own.
    AfterAnothers(i32),
    /// Succeeds and says so twice.
    SucceedTwice,
    /// Says that it succeeded, although the slot does not hold it.
    Lie,
    /// Fails after the slot was activated, as a post-install handler does.
    FailAfterActivation,
}

/// What it knows.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) script: Script,
    pub(crate) busy: bool,
    /// So many calls are refused as busy before one is answered.
    pub(crate) busy_calls: u32,
    pub(crate) installed: Option<String>,
    pub(crate) primary: String,
    pub(crate) last_error: String,
    pub(crate) arguments: Vec<Vec<String>>,
    pub(crate) marks: Vec<(String, String)>,
    pub(crate) unknown_key: Option<&'static str>,
    pub(crate) booted_state: &'static str,
    /// GetPrimary fails.
    pub(crate) no_primary: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Fake(pub(crate) Arc<Mutex<World>>);

impl Fake {
    /// Serves it on the bus until the connection is dropped.
    pub(crate) async fn serve(bus: &Bus) -> (Self, Connection) {
        let world =
            World { primary: "rootfs.0".to_owned(), booted_state: "good", ..World::default() };
        let fake = Self(Arc::new(Mutex::new(world)));
        let connection = fake.serve_on(bus).await;
        (fake, connection)
    }

    pub(crate) async fn serve_on(&self, bus: &Bus) -> Connection {
        let builder = bus.builder().serve_at("/", self.clone());
        builder.name("de.pengutronix.rauc").build().await.unwrap()
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    fn refuse_if_busy(&self) -> fdo::Result<()> {
        let mut world = self.world();
        if world.busy_calls > 0 {
            world.busy_calls -= 1;
            return Err(busy());
        }
        if world.busy { Err(busy()) } else { Ok(()) }
    }
}

fn busy() -> fdo::Error {
    fdo::Error::ZBus(zbus::Error::Failure("Already processing a different method".to_owned()))
}

fn said(text: &str) -> fdo::Error {
    fdo::Error::ZBus(zbus::Error::Failure(text.to_owned()))
}

fn owned(value: &str) -> OwnedVariant {
    OwnedVariant::try_from(Variant::new(value.to_owned())).unwrap()
}

fn keys(pairs: &[(&str, &str)]) -> HashMap<String, OwnedVariant> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), owned(value))).collect()
}

#[zbus::interface(name = "de.pengutronix.rauc.Installer")]
impl Fake {
    async fn install_bundle(
        &self,
        _source: String,
        arguments: HashMap<String, OwnedVariant>,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> fdo::Result<()> {
        self.refuse_if_busy()?;
        let (script, transaction) = {
            let mut world = self.world();
            let mut names: Vec<String> = arguments.keys().cloned().collect();
            names.sort();
            world.arguments.push(names);
            if let Some(key) = world.unknown_key.filter(|key| arguments.contains_key(*key)) {
                return Err(said(&format!("Unsupported key: {key}")));
            }
            world.busy = true;
            let transaction = <&str>::try_from(&arguments["transaction-id"]).unwrap().to_owned();
            (world.script, transaction)
        };
        let (fake, emitter) = (self.clone(), emitter.to_owned());
        tokio::spawn(async move { fake.play(script, transaction, &emitter).await });
        Ok(())
    }

    async fn inspect_bundle(
        &self,
        _source: String,
        _arguments: HashMap<String, OwnedVariant>,
    ) -> fdo::Result<HashMap<String, OwnedVariant>> {
        self.refuse_if_busy()?;
        let update = keys(&[("compatible", "fake"), ("version", "2")]);
        let update = OwnedVariant::from(update);
        Ok([("update".to_owned(), update), ("manifest-hash".to_owned(), owned("abc"))].into())
    }

    async fn mark(&self, state: String, which: String) -> fdo::Result<(String, String)> {
        self.refuse_if_busy()?;
        let mut world = self.world();
        if (state.as_str(), which.as_str()) == ("active", "booted") {
            world.primary = "rootfs.0".to_owned();
        }
        world.marks.push((state, which));
        Ok(("rootfs".to_owned(), "marked".to_owned()))
    }

    #[zbus(name = "GetSlotStatus")]
    async fn slot_status(&self) -> fdo::Result<Vec<(String, HashMap<String, OwnedVariant>)>> {
        self.refuse_if_busy()?;
        let world = self.world();
        let booted = keys(&[
            ("class", "rootfs"),
            ("bootname", "A"),
            ("state", "booted"),
            ("boot-status", world.booted_state),
        ]);
        let mut other = keys(&[("class", "rootfs"), ("bootname", "B"), ("state", "inactive")]);
        if let Some(installed) = &world.installed {
            other.extend(keys(&[
                ("status", "ok"),
                ("installed.transaction", installed),
                ("installed.timestamp", "2026-11-21T10:00:00Z"),
                ("activated.timestamp", "2026-11-21T10:00:01Z"),
            ]));
        }
        Ok(vec![("rootfs.0".to_owned(), booted), ("rootfs.1".to_owned(), other)])
    }

    #[zbus(name = "GetPrimary")]
    async fn primary(&self) -> fdo::Result<String> {
        let world = self.world();
        if world.no_primary { Err(said("no boot loader")) } else { Ok(world.primary.clone()) }
    }

    /// As the real one after a refused call: wrong.
    #[zbus(property)]
    async fn operation(&self) -> String {
        "idle".to_owned()
    }

    #[zbus(property)]
    async fn last_error(&self) -> String {
        self.world().last_error.clone()
    }

    #[zbus(property)]
    async fn progress(&self) -> (i32, String, i32) {
        (if self.world().busy { 400 } else { 100 }, "x".repeat(4000), 1)
    }

    #[zbus(property)]
    async fn compatible(&self) -> String {
        "fake".to_owned()
    }

    #[zbus(signal)]
    async fn completed(emitter: &SignalEmitter<'_>, result: i32) -> zbus::Result<()>;
}

impl Fake {
    fn finish(&self, transaction: Option<String>) {
        let mut world = self.world();
        world.busy = false;
        if let Some(transaction) = transaction {
            world.installed = Some(transaction);
            world.primary = "rootfs.1".to_owned();
        }
    }

    async fn play(&self, script: Script, transaction: String, emitter: &SignalEmitter<'_>) {
        let say = async |result: i32| Self::completed(emitter, result).await.unwrap();
        match script {
            Script::Succeed => {
                self.finish(Some(transaction));
                say(0).await;
            }
            Script::SucceedSilently => self.finish(Some(transaction)),
            Script::FailSilently => {
                self.world().last_error = "the slot burns".to_owned();
                self.finish(None);
            }
            Script::AfterAnothers(result) => {
                say(result).await;
                self.wait_for_questions(20).await;
                self.finish(Some(transaction));
                say(0).await;
            }
            Script::SucceedTwice => {
                self.finish(Some(transaction));
                say(0).await;
                say(0).await;
            }
            Script::Lie => {
                self.finish(None);
                say(0).await;
            }
            Script::FailAfterActivation => {
                self.world().last_error = "Post-install handler error".to_owned();
                self.finish(Some(transaction));
                say(1).await;
            }
        }
    }

    /// Stays busy until it has been asked so often.
    async fn wait_for_questions(&self, count: u32) {
        self.world().busy_calls = count;
        let mut look_again = tokio::time::interval(std::time::Duration::from_millis(2));
        while self.world().busy_calls > 0 {
            look_again.tick().await;
        }
    }
}
