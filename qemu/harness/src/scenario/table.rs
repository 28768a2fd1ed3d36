//! The table of steps: how each is written, what it does, and how it becomes an action. The manual is made from it.

use super::action::{Action as A, AppKind, AppSpec, Moment};
use super::parse::Args;

/// One way to write a step. In a pattern `<x>` stands for a word, `[x=<y>]` for an optional setting.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) group: &'static str,
    pub(crate) pattern: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) build: fn(&Args) -> Result<A, String>,
}

const POWER: &str = "The device and its power";
const PROVISION: &str = "Provisioning";
const WORLD: &str = "The world around it";
const DAMAGE: &str = "Damage and deterministic stops";
const EXPECT: &str = "What must be seen";

macro_rules! rows {
    ($( $group:ident, $pattern:literal, $build:expr, $doc:literal; )*) => {
        /// All steps.
        pub(crate) const ROWS: &[Row] =
            &[$(Row { group: $group, pattern: $pattern, doc: $doc, build: $build }),*];
    };
}

rows! {
    POWER, "device new [memory=<MiB>] [cpus=<n>] [disk=<MiB>] [clock=<date>]", device_new,
        "A factory-new device: a fresh copy of the image on a disk of this size, and a lab. `clock` is what its hardware clock says, such as `1970-01-01T00:00:00`.";
    POWER, "device from <prepared>", |a| Ok(A::DeviceFrom { prepared: a.word("prepared")? }),
        "A running device as the file `prepared/NAME.scenario` leaves it. Made once, then restored in seconds from a snapshot of memory and disk.";
    POWER, "boot", |_| Ok(A::Boot { with_network: true }),
        "Switches the device on and waits until its test shell answers.";
    POWER, "boot without network", |_| Ok(A::Boot { with_network: false }),
        "The same with the network cable pulled.";
    POWER, "power off", |_| Ok(A::PowerOff), "Shuts it down in good order.";
    POWER, "reboot", |_| Ok(A::Reboot), "Reboots it in good order and waits for its test shell.";
    POWER, "reset", |_| Ok(A::Reset), "Presses the reset button and waits for the test shell.";
    POWER, "cut power", |_| Ok(A::CutPower(Moment::Now)), "Kills the machine: no shutdown, no sync.";
    POWER, "cut power after <time>", |a| Ok(A::CutPower(Moment::After(a.duration("time")?))),
        "The same after a while, such as `after 1500ms`.";
    POWER, "cut power when message <NAME> [field=<f:value>]", |a| Ok(A::CutPower(message(a)?)),
        "The same when the agent logs this message of its catalog (with a journal field that has this value).";
    POWER, "cut power when request <operation> [count=<n>]", |a| Ok(A::CutPower(request(a)?)),
        "The same when the lab has got so many more requests of this operation, such as `pull-blob`.";
    POWER, "cut power when firmware progress <percent>", |a| Ok(A::CutPower(Moment::Progress(a.number("percent")?))),
        "The same when the firmware installation is that far.";
    POWER, "cut power when held", |_| Ok(A::CutPower(Moment::Held)), "The same when the program of `hold` has stopped at its place.";
    POWER, "cut power when reset", |_| Ok(A::CutPower(Moment::Reset)), "The same in the moment in which the machine restarts.";
    POWER, "wait for reboot", |_| Ok(A::AwaitReboot), "Waits until the device has rebooted by itself and its test shell answers.";
    POWER, "wait for slot <slot>", |a| Ok(A::AwaitSlot { slot: a.one_of("slot", &["A", "B"])? }),
        "Waits until the device has rebooted by itself, as often as it does, and answers from this slot.";
    POWER, "wait for message <NAME> [field=<f:value>]", |a| Ok(A::AwaitMoment(message(a)?)),
        "Waits until the agent logs this message from now on.";
    POWER, "wait until held", |_| Ok(A::AwaitMoment(Moment::Held)), "Waits until the program of `hold` has stopped at its place.";
    POWER, "set clock <date>", |a| Ok(A::SetClock { clock: a.word("date")? }),
        "Sets the hardware clock for the next boot; `now` is the true time.";

    PROVISION, "plug config-drive [defect=<what>]", |a| Ok(A::PlugConfigDrive { defect: a.optional("defect") }),
        "Plugs a USB stick labelled MARGOCONFIG with the provisioning package in. Defects: `no-key`, `expired`, `garbage`.";
    PROVISION, "unplug config-drive", |_| Ok(A::UnplugConfigDrive), "Pulls the stick.";
    PROVISION, "provision by credentials", |_| Ok(A::ProvisionByCredentials),
        "The next boot hands the provisioning package over as systemd credentials.";
    PROVISION, "provision by hand", |_| Ok(A::ProvisionByHand), "Writes the provisioned files in the running device, as a service person with a root shell would.";
    PROVISION, "setting <toml>", |a| Ok(A::Setting { text: a.word("toml")? }),
        "Adds a line to the settings that provisioning brings, such as `\"behaviour.first_boot = 'preload'\"`. Before provisioning.";

    WORLD, "network off", |_| Ok(A::Network { is_on: false }), "Pulls the network cable.";
    WORLD, "network on", |_| Ok(A::Network { is_on: true }), "Plugs it in.";
    WORLD, "lab stop <service>", |a| Ok(A::Lab { service: a.one_of("service", SERVICES)?, is_on: false }),
        "Stops a server of the lab: `wfm`, `mis` or `registry`.";
    WORLD, "lab start <service>", |a| Ok(A::Lab { service: a.one_of("service", SERVICES)?, is_on: true }), "Starts it again.";
    WORLD, "fault <service> <kind> [on=<operation>] [count=<n>]", fault,
        "Makes a server misbehave: `\"slow=20000\"`, `hang`, `\"status=503\"`, `\"cut=4096\"` and whatever else the lab knows.";
    WORLD, "clear faults", |_| Ok(A::ClearFaults), "Ends all misbehaviour.";
    WORLD, "deploy <app> version=<v> [kind=<kind>] [services=<n>] [ballast=<MiB>]", |a| Ok(A::Deploy(app(a)?)),
        "Puts an app (or its next version) into the desired state. Kinds: `good`, `failing`, `unhealthy`, `sick-on-new-firmware`.";
    WORLD, "remove <app>", |a| Ok(A::Remove { app: a.word("app")? }), "Takes it out of the desired state.";
    WORLD, "preload <app> version=<v>", |a| Ok(A::PreloadApp(app(a)?)),
        "Puts an app with its image into the running device's preload directory, as an OEM's image would carry it.";
    WORLD, "order firmware <version> [bundle=<kind>]", |a| Ok(A::OrderFirmware { version: a.word("version")?, bundle: a.optional("bundle").unwrap_or_else(|| "good".to_owned()) }),
        "Orders a firmware version through Margo. Bundles: `good`, and broken ones such as `panic`, `hang`, `no-agent`, `bad-signature`, `wrong-compatible`, `truncated`.";

    DAMAGE, "fill data leave=<MiB>", |a| Ok(A::FillData { leave_mib: a.number("leave")? }), "Fills the data partition.";
    DAMAGE, "free data", |_| Ok(A::FreeData), "Frees what `fill data` took.";
    DAMAGE, "damage state <which>", |a| Ok(A::DamageState { which: a.one_of("which", &["newest", "oldest", "both"])? }),
        "Stops the agent and overwrites a copy of its state: `newest`, `oldest` or `both`.";
    DAMAGE, "damage environment <which>", |a| Ok(A::DamageEnv { which: a.one_of("which", &["first", "second", "both"])? }),
        "Overwrites a copy of the boot environment on the switched-off device's disk: `first`, `second` or `both`.";
    DAMAGE, "damage slot <slot>", |a| Ok(A::DamageSlot { slot: a.one_of("slot", &["A", "B"])? }),
        "Overwrites the head of a root partition on the switched-off device's disk.";
    DAMAGE, "slow disk <KiB/s>", |a| Ok(A::SlowDisk { kib_per_second: Some(a.number("KiB/s")?) }), "Throttles the disk.";
    DAMAGE, "normal disk", |_| Ok(A::SlowDisk { kib_per_second: None }), "Ends the throttling.";
    DAMAGE, "hold <program> <place> <argument>", |a| Ok(A::Hold { program: a.word("program")?, place: a.one_of("place", &["before", "after"])?, argument: a.word("argument")? }),
        "The next run of a program whose arguments contain this text stops `before` or `after` its work; `boot-env` names the boot environment's writer. Until the next boot.";
    DAMAGE, "release", |_| Ok(A::Release), "Lets the held program go on.";

    EXPECT, "expect stage <stage>", |a| Ok(A::ExpectStage { stage: a.one_of("stage", STAGES)? }),
        "The agent's stage: `unprovisioned`, `provisioned`, `trusted`, `registered`, `synced`.";
    EXPECT, "expect <app> version=<v> running", |a| Ok(A::ExpectRunning { app: a.word("app")?, version: a.word("version")? }),
        "All containers of the app run inside the device, and they are of this version.";
    EXPECT, "remember <app>", |a| Ok(A::Remember { app: a.word("app")? }), "Notes which containers the app has.";
    EXPECT, "expect <app> unchanged", |a| Ok(A::ExpectUnchanged { app: a.word("app")? }), "The same containers as noted run: none was recreated.";
    EXPECT, "expect deployment <app> <state>", |a| Ok(A::ExpectDeployment { app: a.word("app")?, state: a.word("state")? }),
        "What the device itself says of a deployment, such as `installed` or `failed`.";
    EXPECT, "expect report <subject> <state> [code=<CODE>]", |a| Ok(A::ExpectReport { subject: a.word("subject")?, state: a.one_of("state", STATES)?, code: a.optional("code") }),
        "The newest report to the fleet manager about this app (or `firmware`) has this state, is about its present revision, and has this code.";
    EXPECT, "expect no report <subject> <state>", |a| Ok(A::ExpectNoReport { subject: a.word("subject")?, state: a.one_of("state", STATES)? }),
        "No report about its present revision ever had this state.";
    EXPECT, "expect message <NAME> [field=<f:value>]", |a| { let Moment::Message { name, field } = message(a)? else { return Err(String::new()) }; Ok(A::ExpectMessage { name, field }) },
        "The agent logged this message since the boot began, or does in time.";
    EXPECT, "expect no message <NAME>", |a| Ok(A::ExpectNoMessage { name: a.word("NAME")? }), "It did not since the boot began.";
    EXPECT, "expect firmware <version>", |a| Ok(A::ExpectFirmware { version: a.word("version")? }), "The version of the running device OS.";
    EXPECT, "expect slot <slot>", |a| Ok(A::ExpectSlot { slot: a.one_of("slot", &["A", "B"])? }), "The slot it was booted from.";
    EXPECT, "expect slot <slot> <state>", |a| Ok(A::ExpectSlotState { slot: a.one_of("slot", &["A", "B"])?, state: a.one_of("state", &["good", "trial", "bad"])? }),
        "What the boot environment says of a slot: `good`, `trial` or `bad`.";
    EXPECT, "expect unit <unit> <state>", |a| Ok(A::ExpectUnit { unit: a.word("unit")?, state: a.word("state")? }), "A unit's state: `active`, `inactive`, `failed`, or `absent` when there is none or it is masked.";
    EXPECT, "expect healthy boot", |_| Ok(A::ExpectBootHealthy), "The boot is finished and no unit failed.";
    EXPECT, "expect steady for <time>", |a| Ok(A::ExpectSteady { duration: a.duration("time")? }), "For that long the device neither reboots nor powers off nor stops answering.";
    EXPECT, "guest <command> [exits=<n>] [prints=<text>]", guest,
        "Runs a shell command in the device; it must end with 0 (or this code), and print this text.";
    EXPECT, "say <text>", |a| Ok(A::Say { text: a.word("text")? }), "A headline for whoever watches.";
}

const SERVICES: &[&str] = &["wfm", "mis", "registry"];
const STAGES: &[&str] = &["unprovisioned", "provisioned", "trusted", "registered", "synced"];
const STATES: &[&str] = &["pending", "installing", "installed", "removing", "removed", "failed"];

fn device_new(a: &Args) -> Result<A, String> {
    Ok(A::DeviceNew {
        memory_mib: a.number_or("memory", 1024)?,
        cpus: a.number_or("cpus", 1)?,
        disk_mib: a.optional("disk").map(|_| a.number("disk")).transpose()?,
        clock: a.optional("clock"),
    })
}

fn message(a: &Args) -> Result<Moment, String> {
    let field = match a.optional("field") {
        None => None,
        Some(text) => {
            let (name, value) = text.split_once(':').ok_or("write field=NAME:VALUE")?;
            Some((name.to_owned(), value.to_owned()))
        }
    };
    let name = a.word("NAME")?;
    if !margo_agent::logging::catalog::ALL.iter().any(|message| message.name == name) {
        return Err(format!(
            "there is no message {name}; the names are in agent/src/logging/catalog.rs"
        ));
    }
    Ok(Moment::Message { name, field })
}

fn request(a: &Args) -> Result<Moment, String> {
    let operation = a.word("operation")?;
    operation.parse::<margo_lab::Operation>().map_err(|error| error.to_string())?;
    Ok(Moment::Request { operation, count: a.number_or("count", 1)? })
}

fn fault(a: &Args) -> Result<A, String> {
    let service = a.one_of("service", SERVICES)?;
    let kind = a.word("kind")?;
    kind.parse::<margo_lab::FaultKind>().map_err(|error| error.to_string())?;
    let operation = a.optional("on");
    if let Some(operation) = &operation {
        operation.parse::<margo_lab::Operation>().map_err(|error| error.to_string())?;
    }
    let count = a.optional("count").map(|_| a.number("count")).transpose()?;
    let count = count.map(u32::try_from).transpose().map_err(|_| "count is too large")?;
    Ok(A::Fault { service, kind, operation, count })
}

fn app(a: &Args) -> Result<AppSpec, String> {
    let kind = match a.optional("kind").as_deref() {
        None | Some("good") => AppKind::Good,
        Some("failing") => AppKind::Failing,
        Some("unhealthy") => AppKind::Unhealthy,
        Some("sick-on-new-firmware") => AppKind::SickOnNewFirmware,
        Some(other) => {
            return Err(format!(
                "kind={other}: it is one of good, failing, unhealthy, sick-on-new-firmware"
            ));
        }
    };
    let services = u32::try_from(a.number_or("services", 1)?).map_err(|_| "too many services")?;
    let version = a.word("version")?;
    if version.split('.').filter(|part| part.parse::<u64>().is_ok()).count() != 3 {
        return Err(format!("version={version}: fleet managers want three numbers, as in 1.0.0"));
    }
    Ok(AppSpec {
        name: a.word("app")?,
        version,
        kind,
        services,
        ballast_mib: a.number_or("ballast", 0)?,
    })
}

fn guest(a: &Args) -> Result<A, String> {
    let exit = a.number_or("exits", 0)?;
    let exit = i64::try_from(exit).map_err(|_| "no such exit code")?;
    Ok(A::Guest { command: a.word("command")?, exit, prints: a.optional("prints") })
}
