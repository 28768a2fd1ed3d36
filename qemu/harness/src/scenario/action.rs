//! Everything a step can do, as data.

use std::time::Duration;

/// An application of a scenario: what is known of it here is its name and version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppSpec {
    pub(crate) name: String,
    pub(crate) version: String,
    /// `good`, `failing` (ends at once), `unhealthy` (its health check fails), `sick-on=VERSION` is not an app's matter.
    pub(crate) kind: AppKind,
    /// Containers.
    pub(crate) services: u32,
    /// Extra bytes in its image, so that a pull takes time.
    pub(crate) ballast_mib: u64,
}

/// How an application behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AppKind {
    Good,
    Failing,
    Unhealthy,
    /// Healthy until the device runs the firmware version named by the scenario's `unhealthy_on`.
    SickOnNewFirmware,
}

/// What is awaited before the plug is pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Nothing.
    Now,
    /// After this long.
    After(Duration),
    /// A message of the agent's catalog, with fields.
    Message { name: String, field: Option<(String, String)> },
    /// The lab got the n-th request of this operation from now on.
    Request { operation: String, count: u64 },
    /// RAUC's progress is at least this.
    Progress(u64),
    /// The held program reached its hold.
    Held,
    /// The virtual machine reset itself (the firmware restarts, the disk is idle).
    Reset,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    // The device and its power.
    DeviceNew { memory_mib: u64, cpus: u64, disk_mib: Option<u64>, clock: Option<String> },
    DeviceFrom { prepared: String },
    Boot { with_network: bool },
    PowerOff,
    Reboot,
    Reset,
    CutPower(Moment),
    SetClock { clock: String },
    AwaitReboot,
    AwaitSlot { slot: String },
    AwaitMoment(Moment),
    // Provisioning.
    PlugConfigDrive { defect: Option<String> },
    UnplugConfigDrive,
    ProvisionByCredentials,
    ProvisionByHand,
    Setting { text: String },
    // The world around.
    Network { is_on: bool },
    Lab { service: String, is_on: bool },
    Fault { service: String, kind: String, operation: Option<String>, count: Option<u32> },
    ClearFaults,
    Deploy(AppSpec),
    Remove { app: String },
    PreloadApp(AppSpec),
    OrderFirmware { version: String, bundle: String },
    // Damage.
    FillData { leave_mib: u64 },
    FreeData,
    DamageState { which: String },
    DamageEnv { which: String },
    DamageSlot { slot: String },
    SlowDisk { kib_per_second: Option<u64> },
    Hold { program: String, place: String, argument: String },
    Release,
    // What must be seen.
    ExpectStage { stage: String },
    ExpectRunning { app: String, version: String },
    Remember { app: String },
    ExpectUnchanged { app: String },
    ExpectDeployment { app: String, state: String },
    ExpectReport { subject: String, state: String, code: Option<String> },
    ExpectNoReport { subject: String, state: String },
    ExpectMessage { name: String, field: Option<(String, String)> },
    ExpectNoMessage { name: String },
    ExpectFirmware { version: String },
    ExpectSlot { slot: String },
    ExpectSlotState { slot: String, state: String },
    ExpectUnit { unit: String, state: String },
    ExpectBootHealthy,
    ExpectSteady { duration: Duration },
    Guest { command: String, exit: i64, prints: Option<String> },
    // For people.
    Say { text: String },
}

impl Action {
    /// Whether it waits for something. A longest time for one that does not would say what is not done.
    pub(crate) fn waits(&self) -> bool {
        !matches!(
            self,
            Self::DeviceNew { .. }
                | Self::DeviceFrom { .. }
                | Self::CutPower(Moment::Now | Moment::After(_))
                | Self::SetClock { .. }
                | Self::PlugConfigDrive { .. }
                | Self::UnplugConfigDrive
                | Self::ProvisionByCredentials
                | Self::Setting { .. }
                | Self::Network { .. }
                | Self::Lab { .. }
                | Self::Fault { .. }
                | Self::ClearFaults
                | Self::Deploy(_)
                | Self::Remove { .. }
                | Self::OrderFirmware { .. }
                | Self::DamageEnv { .. }
                | Self::DamageSlot { .. }
                | Self::SlowDisk { .. }
                | Self::Hold { .. }
                | Self::Release
                | Self::Remember { .. }
                | Self::ExpectNoReport { .. }
                | Self::ExpectNoMessage { .. }
                | Self::ExpectSlot { .. }
                | Self::ExpectSteady { .. }
                | Self::Say { .. }
        )
    }
}
