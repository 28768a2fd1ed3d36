//! Values that are one of a few words, each a type of its own.

use std::fmt;

macro_rules! choices {
    ($( $(#[$doc:meta])* $name:ident { $( $(#[$variant_doc:meta])* $variant:ident = $text:literal, )* } )*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $( $(#[$variant_doc])* $variant, )* }

        impl $name {
            /// All accepted words.
            pub const WORDS: &'static [&'static str] = &[$($text),*];

            /// The word in the configuration.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// The meaning of a word.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($text => Some(Self::$variant),)* _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )* };
}

choices! {
    /// What a device does that never received a desired state.
    FirstBoot {
        /// Waits for the fleet manager.
        Await = "await",
        /// Runs the desired state that ships in the image until the first manifest arrives.
        Preload = "preload",
    }
    /// What happens to the last-known desired state after a reboot.
    Restore {
        /// It is restored at once, with no network.
        Auto = "auto",
        /// It is restored after the fleet manager answered.
        WaitForWfm = "wait-for-wfm",
    }
    /// What happens when only a part of the desired state could be applied.
    PartialFailure {
        /// What works stays; the failed part keeps its previous revision.
        Keep = "keep",
        /// The failed deployment goes back to its previous revision as a whole.
        Rollback = "rollback",
        /// Every deployment of the manifest goes back.
        AllOrNothing = "all-or-nothing",
    }
    /// What happens when what runs differs from what is desired.
    Mismatch {
        /// It is brought back.
        Reconcile = "reconcile",
        /// It is only reported.
        Report = "report",
    }
    /// What happens to named volumes when their deployment is removed.
    VolumesOnRemoval {
        /// They stay.
        Keep = "keep",
        /// They are deleted with it.
        Delete = "delete",
    }
    /// How workloads send telemetry to the collector (`OTEL_EXPORTER_OTLP_PROTOCOL`).
    OtlpProtocol {
        /// gRPC.
        Grpc = "grpc",
        /// HTTP with protobuf bodies, the default of the Margo specification.
        HttpProtobuf = "http/protobuf",
    }
    /// Kinds of peripherals a device may report.
    PeripheralType {
        /// Graphics or compute accelerator.
        Gpu = "gpu",
        /// Display.
        Display = "display",
        /// Camera.
        Camera = "camera",
        /// Microphone.
        Microphone = "microphone",
        /// Speaker.
        Speaker = "speaker",
    }
    /// Kinds of interfaces a device may report.
    InterfaceType {
        /// Wired network.
        Ethernet = "ethernet",
        /// Wireless LAN.
        Wifi = "wifi",
        /// Mobile network.
        Cellular = "cellular",
        /// Bluetooth.
        Bluetooth = "bluetooth",
        /// USB.
        Usb = "usb",
        /// CAN bus.
        Canbus = "canbus",
        /// Serial line.
        Rs232 = "rs232",
    }
    /// Whether the device's firmware is this agent's to update.
    FirmwareMode {
        /// If the boot loader chose between slots (`rauc.slot=` on the kernel command line).
        Auto = "auto",
        /// Yes, whatever the command line says.
        On = "on",
        /// No.
        Off = "off",
    }
    /// How a firmware bundle gets from the registry to RAUC.
    Transfer {
        /// Streamed if the registry and the bundle permit it, else staged.
        Auto = "auto",
        /// RAUC reads it from the registry while it installs; nothing is stored.
        Stream = "stream",
        /// Downloaded to the data partition first.
        Stage = "stage",
    }
    /// How much is logged.
    LogLevel {
        /// Only what needs attention now.
        Error = "error",
        /// And what may need it.
        Warn = "warn",
        /// And what changed.
        Info = "info",
        /// And how.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}
