//! A package from systemd credentials: `margo.*` in the directory that the service manager hands over.

use super::package::{BUNDLE, KEY, Package, REGISTRY, SETTINGS, SVID, read_file};
use super::{Defect, DefectCode};
use std::path::Path;

const PREFIX: &str = "margo.";
const URL: &str = "margo.wfm-url";
/// Credential and file of the package.
const FILES: [(&str, &str); 4] = [
    ("margo.settings", SETTINGS),
    ("margo.svid", SVID),
    ("margo.svid-key", KEY),
    ("margo.trust-bundle", BUNDLE),
];
/// `margo.registry.NAME` is `registry/NAME`.
const REGISTRY_PREFIX: &str = "margo.registry.";

/// The package, or `None` when there is no credential of ours.
pub(super) fn read(directory: &Path) -> Option<Package> {
    let mut package = Package::new("systemd credentials");
    let mut is_any = false;
    for entry in std::fs::read_dir(directory).ok()?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(PREFIX) {
            continue;
        }
        is_any = true;
        let known = FILES.iter().find(|(credential, _)| *credential == name);
        let target = match (known, name.strip_prefix(REGISTRY_PREFIX)) {
            (Some((_, file)), _) => (*file).to_owned(),
            (None, Some(file)) => format!("{REGISTRY}{file}"),
            (None, None) => name.clone(),
        };
        match read_file(&entry.path()) {
            Ok(bytes) if name == URL => {
                package.url = Some(String::from_utf8_lossy(&bytes).trim().to_owned());
            }
            Ok(bytes) => package.add(&target, bytes),
            Err(error) => {
                let code = DefectCode::FileUnreadable;
                package.defects.push(Defect::new(code, target, error.to_string()));
            }
        }
    }
    is_any.then_some(package)
}
