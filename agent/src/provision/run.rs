//! One attempt from beginning to end: read, judge, install, remember, tell.

use super::attempt::{Attempt, DEFECTS_MAX, Outcome};
use super::defect::{Defect, DefectCode};
use super::disk::RealDisk;
use super::install::{install, is_installed, recover};
use super::judge::{Judgement, Way, judge};
use super::package::{BUNDLE, KEY, Package, SVID, read_file};
use super::places::Places;
use super::{from_credentials, from_drive, key_request};
use crate::logging::{ErrorChain, catalog};
use crate::{clock, log_message};
use rustix::fs::{FlockOperation, flock};
use std::borrow::Borrow;
use std::fs::File;
use std::path::{Path, PathBuf};

/// How far an attempt goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Says what is wrong and touches nothing.
    Check,
    /// Installs.
    Install,
}

/// Judges a package and, unless it is only checked, installs it and keeps the outcome.
pub fn provision(package: &Package, places: &Places, way: Way, mode: Mode) -> Attempt {
    provision_with(|| package, places, way, mode)
}

/// What is installed is read in turn, not before: a drive may be found twice, as a disk and as a partition on it (as with
/// hybrid ISO images), and cannot be mounted as the one while it is as the other.
fn provision_with<P: Borrow<Package>>(
    read: impl FnOnce() -> P,
    places: &Places,
    way: Way,
    mode: Mode,
) -> Attempt {
    if mode == Mode::Check {
        let package = read();
        let package = package.borrow();
        return conclude(package, judge(package, places, way), Outcome::Valid);
    }
    let lock = lock(places);
    let package = read();
    let package = package.borrow();
    let attempt = match recover(&RealDisk, places) {
        Ok(was_cut) => {
            if was_cut {
                log_message!(
                    catalog::PROVISION_RECOVERED,
                    "a provisioning that was cut off is complete now"
                );
            }
            // What was finished just now, or by whoever had the lock, may have changed the settings.
            attempt(package, &Places::of(&places.sources), way)
        }
        Err(error) => {
            let mut judgement = Judgement::default();
            judgement.defects.push(not_installed(&error));
            conclude(package, judgement, Outcome::Refused)
        }
    };
    if let Err(error) = places.keep_attempt(&attempt) {
        tracing::debug!(%error, "the attempt's record could not be kept, ignoring");
    }
    drop(lock);
    tell(&attempt);
    attempt
}

fn attempt(package: &Package, places: &Places, way: Way) -> Attempt {
    let mut judgement = judge(package, places, way);
    if !judgement.defects.is_empty() {
        return conclude(package, judgement, Outcome::Refused);
    }
    if is_installed(&judgement.wanted, places) {
        return conclude(package, judgement, Outcome::Unchanged);
    }
    if let Some(why) = judgement.kept.take() {
        judgement.notes.push(why);
        return conclude(package, judgement, Outcome::Kept);
    }
    match install(&RealDisk, &judgement.wanted, places) {
        Ok(()) => conclude(package, judgement, Outcome::Installed),
        Err(error) => {
            judgement.defects.push(not_installed(&error));
            // What was not committed is in the way, above all on a full disk. The next attempt would try again.
            if let Err(error) = recover(&RealDisk, places) {
                tracing::debug!(%error, "the rest of the attempt stays until the next one");
            }
            conclude(package, judgement, Outcome::Refused)
        }
    }
}

fn not_installed(error: &super::install::InstallError) -> Defect {
    let file = error.path.display().to_string();
    Defect::new(DefectCode::InstallFailed, file, ErrorChain(error).to_string())
}

fn conclude(package: &Package, mut judgement: Judgement, outcome: Outcome) -> Attempt {
    let outcome = if judgement.defects.is_empty() { outcome } else { Outcome::Refused };
    judgement.defects.truncate(DEFECTS_MAX);
    judgement.notes.truncate(DEFECTS_MAX);
    Attempt {
        outcome,
        source: package.source.clone(),
        at_unix_ms: clock::wall_unix_ms(),
        spiffe_id: judgement.spiffe_id,
        defects: judgement.defects,
        notes: judgement.notes,
    }
}

fn tell(attempt: &Attempt) {
    match attempt.outcome {
        Outcome::Installed => log_message!(catalog::PROVISION_INSTALLED, "{attempt}"),
        Outcome::Refused => log_message!(catalog::PROVISION_REFUSED, "{attempt}"),
        Outcome::Unchanged | Outcome::Kept | Outcome::Valid => tracing::info!("{attempt}"),
    }
}

/// One at a time. Where there can be no lock there is nothing to install to either.
fn lock(places: &Places) -> Option<File> {
    let path = places.lock_file();
    std::fs::create_dir_all(path.parent()?).ok()?;
    let file = File::create(path).ok()?;
    flock(&file, FlockOperation::LockExclusive).ok()?;
    Some(file)
}

/// A directory, an archive, or a block device.
pub fn provision_path(path: &Path, places: &Places, way: Way, mode: Mode) -> Attempt {
    let read = || match from_drive::is_block_device(path) {
        true => from_drive::read(path),
        false => Package::read(path),
    };
    provision_with(read, places, way, mode)
}

/// What a boot does: finishes an attempt that was cut, then takes `margo.*` credentials from `directory`. `None` when
/// there are none.
pub fn provision_credentials(directory: Option<&Path>, places: &Places) -> Option<Attempt> {
    match directory.and_then(from_credentials::read) {
        Some(package) => Some(provision(&package, places, Way::Unattended, Mode::Install)),
        None => {
            let lock = lock(places);
            match recover(&RealDisk, places) {
                Ok(true) => log_message!(
                    catalog::PROVISION_RECOVERED,
                    "a provisioning that was cut off is complete now"
                ),
                Ok(false) => {}
                Err(error) => log_message!(
                    catalog::PROVISION_REFUSED,
                    "what a cut left behind cannot be put right: {}",
                    ErrorChain(&error)
                ),
            }
            drop(lock);
            None
        }
    }
}

/// An issued chain for the key that waits on this device.
#[derive(Clone, Debug)]
pub struct Ingest {
    /// PEM, leaf first.
    pub chain: PathBuf,
    /// The trust bundle; without it the installed one.
    pub bundle: Option<PathBuf>,
    /// The fleet manager's address; without it the configured one.
    pub url: Option<String>,
}

/// Installs a chain with the key that was made here.
pub fn provision_chain(ingest: &Ingest, places: &Places, way: Way, mode: Mode) -> Attempt {
    let mut package = Package::new(ingest.chain.display().to_string());
    package.url.clone_from(&ingest.url);
    let key = key_request::waiting_key(places);
    let bundle = ingest.bundle.clone().unwrap_or_else(|| places.identity_dir.join(BUNDLE));
    let missing = |file: &Path| match file == key {
        true => DefectCode::KeyRequestMissing,
        false => DefectCode::FileMissing,
    };
    for (name, path) in [(SVID, &ingest.chain), (KEY, &key), (BUNDLE, &bundle)] {
        match read_file(path) {
            Ok(bytes) => package.add(name, bytes),
            Err(error) => {
                let is_missing = error.kind() == std::io::ErrorKind::NotFound;
                let code = if is_missing { missing(path) } else { DefectCode::FileUnreadable };
                let what = format!("{}: {error}", path.display());
                package.defects.push(Defect::new(code, name, what));
            }
        }
    }
    let attempt = provision(&package, places, way, mode);
    let is_in_place = matches!(attempt.outcome, Outcome::Installed | Outcome::Unchanged);
    if is_in_place && let Err(error) = key_request::forget(places) {
        tracing::warn!(%error, "the request's copy of the key could not be removed");
    }
    attempt
}
