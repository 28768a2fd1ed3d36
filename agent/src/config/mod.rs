//! Configuration: fragments of three directories, merged and validated into one `Settings`.
//!
//! - `keys`: the table of all keys; the shipped `10-defaults.toml` is written from it.
//! - `choices`: values that are one of a few words.  - `rules`: what a text value must look like.
//! - `sources`: which files count.  - `fragment`: one file, every key optional, each value with its line.
//! - `merged`: all files together.  - `settings`: what the agent uses.  - `build`: from merged to settings.
//! - `host`: what the device knows about itself.  - `effective`: settings printed with their origin.

mod build;
mod choices;
mod defaults;
mod effective;
mod error;
mod fragment;
mod host;
mod keys;
mod merged;
mod rules;
mod settings;
mod sources;

pub use choices::{
    FirmwareMode, FirstBoot, InterfaceType, LogLevel, Mismatch, OtlpProtocol, PartialFailure,
    PeripheralType, Restore, Transfer, VolumesOnRemoval,
};
pub use defaults::defaults_toml;
pub use error::{ConfigError, ConfigErrors, Place};
pub(crate) use keys::nearest;
pub use rules::DailyRange;
pub use settings::{
    BehaviourSettings, DeviceSettings, EngineSettings, FirmwareSettings, LimitSettings,
    LocalApiSettings, OtelSettings, PathSettings, Peripheral, RegistrySettings, RetrySettings,
    Settings, WfmSettings,
};
pub use sources::{Sources, check_fragment};

#[cfg(test)]
mod tests;
