//! The D-Bus interfaces the updater talks to, typed, and the connection to the bus they are on.
//!
//! Nothing here decides anything. Properties are never cached: RAUC's `Operation` and `Progress` are wrong at times,
//! and a stale one would be worse.

use crate::logging::clip;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::Mutex;
use zbus::connection::Builder;
use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedObjectPath, OwnedVariant, Variant};

/// Longest text kept from a peer on the bus, in bytes (I11). RAUC repeats what bundles say.
pub(super) const TEXT_BYTES_MAX: usize = 512;
/// Longest wait for the bus itself.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// RAUC's installer.
#[zbus::proxy(
    interface = "de.pengutronix.rauc.Installer",
    default_service = "de.pengutronix.rauc",
    default_path = "/"
)]
pub(super) trait Installer {
    fn install_bundle(&self, source: &str, args: HashMap<&str, Variant<'_>>) -> zbus::Result<()>;
    fn inspect_bundle(
        &self,
        bundle: &str,
        args: HashMap<&str, Variant<'_>>,
    ) -> zbus::Result<HashMap<String, OwnedVariant>>;
    fn mark(&self, state: &str, slot_identifier: &str) -> zbus::Result<(String, String)>;
    #[zbus(name = "GetSlotStatus")]
    fn slot_status(&self) -> zbus::Result<Vec<(String, HashMap<String, OwnedVariant>)>>;
    #[zbus(name = "GetPrimary")]
    fn primary(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn last_error(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn progress(&self) -> zbus::Result<(i32, String, i32)>;
    #[zbus(property)]
    fn compatible(&self) -> zbus::Result<String>;
    #[zbus(signal)]
    fn completed(&self, result: i32) -> zbus::Result<()>;
}

/// A unit as systemd lists it: name, description, load, active and sub state, followed unit, path, job id, type, path.
pub(super) type ListedUnit =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// The service manager.
#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub(super) trait Systemd {
    fn subscribe(&self) -> zbus::Result<()>;
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn list_units_filtered(&self, states: &[&str]) -> zbus::Result<Vec<ListedUnit>>;
    #[zbus(property)]
    fn system_state(&self) -> zbus::Result<String>;
    #[zbus(signal)]
    fn job_removed(
        &self,
        id: u32,
        job: OwnedObjectPath,
        unit: String,
        result: String,
    ) -> zbus::Result<()>;
}

/// The login manager, which restarts a machine in good order.
#[zbus::proxy(
    interface = "org.freedesktop.login1.Manager",
    default_service = "org.freedesktop.login1",
    default_path = "/org/freedesktop/login1"
)]
pub(super) trait Login {
    fn reboot(&self, interactive: bool) -> zbus::Result<()>;
}

/// The system bus. Connects when it is first needed, and again after the bus was restarted.
#[derive(Debug)]
pub(super) struct Bus {
    /// Another bus than the system's, for tests.
    address: Option<String>,
    connection: Mutex<Option<Connection>>,
}

impl Bus {
    pub(super) fn new(address: Option<String>) -> Self {
        Self { address, connection: Mutex::default() }
    }

    /// A connection that was alive a moment ago.
    pub(super) async fn connection(&self) -> zbus::Result<Connection> {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = kept.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        let builder = match &self.address {
            Some(address) => Builder::address(address.as_str()),
            None => Builder::system(),
        };
        let building = Box::pin(builder.build());
        let connection = match tokio::time::timeout(CONNECT_TIMEOUT, building).await {
            Ok(connection) => connection?,
            Err(_) => return Err(zbus::Error::Failure("the bus does not answer".to_owned())),
        };
        *kept = Some(connection.clone());
        Ok(connection)
    }

    pub(super) async fn installer(&self) -> zbus::Result<InstallerProxy<'static>> {
        let connection = self.connection().await?;
        InstallerProxy::builder(&connection).cache_properties(CacheProperties::No).build().await
    }

    pub(super) async fn systemd(&self) -> zbus::Result<SystemdProxy<'static>> {
        let connection = self.connection().await?;
        SystemdProxy::builder(&connection).cache_properties(CacheProperties::No).build().await
    }

    pub(super) async fn login(&self) -> zbus::Result<LoginProxy<'static>> {
        let connection = self.connection().await?;
        LoginProxy::builder(&connection).cache_properties(CacheProperties::No).build().await
    }
}

/// What a peer said, as one short line that can be logged and sent.
pub(super) fn text(text: &str) -> String {
    let flat: String =
        text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    clip(flat.trim(), TEXT_BYTES_MAX).into_owned()
}

/// The text of an error reply, without the error's name: all of RAUC's errors have the same one.
pub(super) fn error_text(error: &zbus::Error) -> String {
    match error {
        zbus::Error::MethodError(_, Some(detail), _) => text(detail),
        other => text(&other.to_string()),
    }
}
