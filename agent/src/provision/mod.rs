//! Giving a device its identity and the address of its fleet manager.
//!
//! A *package* is a few small files: settings, certificate chain, key, trust bundle. It comes as a directory, archive or
//! drive, as systemd credentials, or in two steps with a key that never leaves the device. Whatever the way, it is judged as a
//! whole ([`Defect`]s, all at once), installed as a whole, and its outcome is kept for `margoctl status`.
//!
//! | file | what it owns |
//! |---|---|
//! | `package`, `from_archive`, `from_credentials`, `from_drive` | a package in memory, and where it is read from |
//! | `defect` | the table of what can be wrong |
//! | `settings`, `identity`, `judge` | the verdict on the settings, on the identity, and on all of it for this device |
//! | `places` | where things are on the device, its clock, what it lacks |
//! | `disk`, `install` | putting it in place so that a power cut leaves old or new |
//! | `key_request`, `csr`, `der` | a key made on the device, and the request for its certificate |
//! | `noticed` | how a running agent hears of new settings |
//! | `attempt`, `run` | one attempt from beginning to end, and its record |

mod attempt;
mod csr;
mod defect;
mod der;
mod disk;
mod from_archive;
mod from_credentials;
mod from_drive;
mod identity;
mod install;
mod judge;
mod key_request;
mod noticed;
mod package;
mod places;
mod run;
mod settings;

pub use attempt::{Attempt, Outcome};
pub use defect::{Defect, DefectCode};
pub use judge::Way;
pub use key_request::{KeyRequest, KeyRequestError, key_request};
pub use noticed::Provisioned;
pub use package::Package;
pub use places::Places;
pub use run::{Ingest, Mode, provision, provision_chain, provision_credentials, provision_path};

/// How a person gives a device what it lacks.
pub const WAYS: &str = "give it with `margoctl provision <directory>`, a drive with the label MARGOCONFIG, or systemd credentials";

#[cfg(test)]
mod tests;
