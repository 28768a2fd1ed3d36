//! The table of named messages: stable ids that operators can filter for and journals can explain.
//!
//! An id never changes its meaning and is never used again. `agent/dist/margo-agent.catalog` is written from
//! this table; `journalctl -x` shows it. Use the messages through [`crate::log_message`].

use std::fmt::Write as _;
use tracing::Level;

/// A named message.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// 128 bits in hex: `MESSAGE_ID` in the journal.
    pub id: &'static str,
    /// Level it is logged at.
    pub level: Level,
    /// The name in this program.
    pub name: &'static str,
    /// What happened, in a few words.
    pub subject: &'static str,
    /// What it means.
    pub explanation: &'static str,
    /// What a person can do.
    pub next_action: &'static str,
}

macro_rules! messages {
    ($( $name:ident, $level:ident, $id:literal, $subject:literal, $explanation:literal, $action:literal; )*) => {
        $(
            #[doc = $subject]
            pub const $name: Message = Message {
                id: $id,
                level: Level::$level,
                name: stringify!($name),
                subject: $subject,
                explanation: $explanation,
                next_action: $action,
            };
        )*

        /// All messages.
        pub const ALL: &[Message] = &[$($name),*];
    };
}

messages! {
    AGENT_STARTED, INFO, "f68682fe0848c33ff4cd8d93fb7a4294",
        "The agent started",
        "margo-agent is up. The line says which version, and in what state it found its durable state.",
        "None.";
    AGENT_STOPPING, INFO, "ffaaffced112d4d6e79da04b9816c470",
        "The agent is stopping",
        "margo-agent was asked to stop. Workloads keep running.",
        "None.";
    AGENT_FAILED, ERROR, "7506c58ade39762dc78dbda67fd5c12b",
        "The agent cannot run",
        "margo-agent hit an error it cannot work around. Workloads that run keep running; the service manager starts the agent again.",
        "Read the cause in the message. `margo-agent check config` checks the configuration.";
    CONFIG_INVALID, ERROR, "94fe23386f841def990e701e4e6540a7",
        "The configuration is wrong",
        "A file under config.d has a mistake; the message names file, line and key. Nothing of the new configuration was applied.",
        "Correct the named line, then `systemctl reload margo-agent`.";
    CONFIG_RELOADED, INFO, "cb1ff930c9e483e6f20a2ffbfbd6b634",
        "The configuration was read anew",
        "A reload was asked for and the new configuration is in effect.",
        "None.";
    STATE_FRESH, INFO, "b3dacca61e747322b3bc621dc645e1e2",
        "There is no durable state yet",
        "Nothing was ever saved on this device: this is its first boot, or its data partition is new.",
        "None on a new device. On another one, check that the data partition is mounted.";
    STATE_HEALED, WARN, "9987d8186e5b5c908f6256a5a7b067b1",
        "One copy of the durable state was damaged and has been healed",
        "One of the two state files was damaged or missing. It was written anew from the other one; the damaged file is kept beside it. Nothing was lost.",
        "If it repeats, check the storage (`dmesg`, SMART or eMMC health).";
    STATE_UNHEALED, ERROR, "d5921b9b35405114b44b758552823b80",
        "One copy of the durable state is damaged and cannot be healed",
        "One of the two state files is damaged or missing and could not be written anew. The device runs from the other one; a second loss would be final.",
        "Check the storage: it may be full, read-only or failing.";
    STATE_LOST, ERROR, "61bb0b53da877500833d00656f66ff95",
        "The durable state is lost",
        "Both state files are damaged or missing although a state was saved here. Nothing is removed from the device; the desired state is fetched again.",
        "Keep the files `state-*.damaged-*` for support and check the storage.";
    STATE_SAVE_FAILED, ERROR, "60269b7387d6b97c36eb5d8adb2dbcca",
        "The durable state cannot be saved",
        "Writing the durable state failed, so nothing new is started or reported until it works again. Workloads that run keep running.",
        "Free space on the data partition, or check the storage.";
    STAGE_CHANGED, INFO, "701b78db5bfbd9df8a31cdad54887c25",
        "The onboarding stage changed",
        "The device moved between the stages unprovisioned, provisioned, trusted, registered and synced.",
        "`margoctl status` says what the next stage lacks.";
    IDENTITY_INVALID, ERROR, "2e0a01d999a70e819a54c7d50c501550",
        "The device's identity cannot be used",
        "The SVID, its key or the trust bundle is missing, expired or damaged. Workloads are not affected.",
        "Provision the device again; the message names the file.";
    IDENTITY_EXPIRING, WARN, "387dd5b359563c4ec12b44ecbc7d3564",
        "The device's identity expires soon",
        "The SVID's remaining time is short, and nobody has renewed it.",
        "Renew the SVID before the time in the message.";
    DEVICE_UNPROVISIONED, WARN, "a7288d9936d7432fb9ac9641427031c9",
        "The device is not provisioned",
        "The device has no identity or does not know its fleet manager. It waits, and runs what it ran; the message says what is lacking and where it was looked for.",
        "Provision it: `margoctl provision <directory>`, a drive with the label MARGOCONFIG, or systemd credentials. PROVISIONING.md says how.";
    PROVISION_INSTALLED, INFO, "fd72a57befca48e0931629029f3bcb3c",
        "The device was provisioned",
        "A provisioning package was checked and installed. A running agent takes it up by itself.",
        "None. `margoctl status` shows how far the device has come.";
    PROVISION_REFUSED, ERROR, "4097c64d4c2a4a15bf212bb2cb79a75d",
        "Provisioning was refused",
        "A provisioning package is wrong, does not fit this device, or could not be installed. The device stays as it was; the message names each file and field.",
        "Correct what the message names; `margoctl explain <code>` says more about each code.";
    PROVISION_RECOVERED, INFO, "e05a5d725b9545f3a418492e7b0fe4a4",
        "A provisioning that was cut off was completed",
        "The power went while a package was being installed. It had been written completely, so it was put in place now.",
        "None.";
    CLOCK_BEHIND, WARN, "9bddfa0deb43fe0f6c5a636fa37871b8",
        "The clock is behind",
        "The wall clock is before a time that has already passed, so certificates cannot be judged and the fleet manager is not contacted. Workloads are not affected.",
        "Check time synchronisation and the battery of the hardware clock.";
    WFM_REACHED, INFO, "5e317a6e98b3b2d97fc483d8e94f39e1",
        "The fleet manager answers",
        "The fleet manager answered, for the first time or again after failures.",
        "None.";
    WFM_UNREACHABLE, WARN, "330de11b35f92e989c9a8bd69a407b62",
        "The fleet manager does not answer",
        "A request to the fleet manager failed; it is retried with growing pauses, for ever. Workloads are not affected.",
        "Check the network, and `wfm.url` in the configuration.";
    WFM_UNTRUSTED, WARN, "565be146625965b3574b800c13c7aa19",
        "The fleet manager could not be verified",
        "The other side did not prove to be the configured fleet manager. Nothing was sent to it.",
        "Check the trust bundle, the device's clock and the fleet manager's certificate.";
    WFM_DENIED, WARN, "bf45f47b91639b00843525fc93e92167",
        "The fleet manager denies this device",
        "The fleet manager's policy refuses this device (403). Nothing is removed from the device.",
        "Ask the fleet operator to admit the device.";
    CAPABILITIES_REPORTED, INFO, "fc2221ceef81680a5a956d366f85a8be",
        "Capabilities were reported",
        "The fleet manager accepted what this device says about itself.",
        "None.";
    MANIFEST_ACCEPTED, INFO, "1decbf3f5e85e16de956b731ccf68264",
        "A new desired state was accepted",
        "A state manifest with a higher version was verified and saved. Applying it starts now.",
        "None.";
    MANIFEST_REJECTED, ERROR, "2669c76f23ac4c077ac045f1fc2d1b53",
        "A desired state was rejected",
        "A state manifest was older than the accepted one, damaged, or against the specification. The previous desired state stays in force.",
        "The message has the cause; it lies with the fleet manager or something between.";
    DEPLOYMENT_CHANGED, INFO, "92d0ee330837d383270ae5ca6604a2e2",
        "A deployment changed its state",
        "One deployment moved between its states. The line says from where, to where and why.",
        "None. `margoctl deployment <id>` shows all of it.";
    DEPLOYMENT_FAILED, WARN, "75c1cdad740fa4caa54c4ce22f8c054e",
        "A deployment failed",
        "A deployment could not be brought to its desired revision; the message has the stable code. Other deployments are not affected, and it is retried unless it was refused.",
        "`margoctl explain <code>` says what to do, `margoctl logs <deployment>` shows why.";
    DEPLOYMENT_REMOVED, INFO, "926d90a9425e6cb8efe5387e4f8a0ed3",
        "A deployment was removed",
        "An accepted desired state no longer lists the deployment, so it was removed.",
        "None.";
    MISMATCH_FOUND, WARN, "eeb4a0c114b7515b7be7caac71d3fcd9",
        "What runs differs from what is desired",
        "A container was stopped, removed, edited, or became unhealthy. With `mismatch = \"reconcile\"` it is brought back.",
        "None under `reconcile`; else restore it by hand.";
    RESTORE_STARTED, INFO, "06415ff40ce71dc60db27c5f58f9fd39",
        "The last desired state is being restored",
        "After a start of the agent the last-known desired state is brought back, with or without network.",
        "None.";
    RESTORE_FINISHED, INFO, "d819436e23cfc75641cf2c9f4c2d93b4",
        "The last desired state is restored",
        "Everything that was desired before the restart runs again, or is reported as failed.",
        "None.";
    REPORT_REJECTED, WARN, "53d31cb9d706db9f7061ab8f0bda596a",
        "A status report was rejected",
        "The fleet manager refused a report as malformed. It is not sent again.",
        "Report it to the fleet manager's supplier.";
    ENGINE_UNAVAILABLE, ERROR, "b86fdf462dbd60a9c04bb47933ea94d6",
        "The container engine does not answer",
        "The engine's socket is missing or silent. It is tried again for ever.",
        "Check `systemctl status docker`.";
    ENGINE_BACK, INFO, "166b68804a84da74a5e0ef95bc97f420",
        "The container engine answers again",
        "The engine answers after it did not.",
        "None.";
    STORAGE_FULL, ERROR, "ee1bf6b2ad505b2388c52f83be278c44",
        "The storage is full",
        "Something could not be written for lack of space.",
        "Free space or remove applications.";
    LOCAL_REQUEST_REFUSED, WARN, "7ec9a119142439759ff1e0ad1539f73d",
        "A request on the control socket was refused",
        "A local user asked for something they may not do, or asked too much at once.",
        "Members of the group in `local_api.group` may use margoctl.";
    OPERATOR_REQUEST, INFO, "bc7abd4a8b38a58aa0b40b088e8f4018",
        "An operator asked for something",
        "A local user asked through margoctl for a sync or a retry.",
        "None.";
}

/// Logs a named message at its own level, with fields as the macros of `tracing` take them.
///
/// `log_message!(catalog::AGENT_STARTED, version = "1.0", "up")`
#[macro_export]
macro_rules! log_message {
    ($message:expr, $($rest:tt)+) => {
        ::tracing::event!($message.level, message_id = $message.id, $($rest)+)
    };
}

/// The journal catalog's text.
pub fn catalog_text() -> String {
    let mut text = String::from(
        "# Explanations of margo-agent's messages for `journalctl -x`.\n\
         # Written from the table in the agent; a test keeps both in step.\n",
    );
    for message in ALL {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\n-- {}", message.id);
        let _ = writeln!(text, "Subject: {}", message.subject);
        let _ = writeln!(text, "Defined-By: margo-agent");
        let _ = writeln!(text, "\n{}\n\nNext: {}", message.explanation, message.next_action);
    }
    text
}
