//! What the readers of a service need to know beside the service itself.

use super::files::ConfigSource;
use super::model::{HostPolicy, Network, Volume};
use super::problems::Report;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Everything a service may refer to.
#[derive(Debug, Default)]
pub(super) struct Declared {
    /// Names of the active services.
    pub(super) services: BTreeSet<String>,
    pub(super) networks: BTreeMap<String, Network>,
    pub(super) volumes: BTreeMap<String, Volume>,
    /// `None`: declared, but with a problem that is reported already.
    pub(super) configs: BTreeMap<String, Option<ConfigSource>>,
    /// Host paths. `None`: declared, but with a problem that is reported already.
    pub(super) secrets: BTreeMap<String, Option<PathBuf>>,
}

/// The state of one load.
#[derive(Debug)]
pub(super) struct Context<'a> {
    /// The deployment's parameters over the archive's `.env`.
    pub(super) env: &'a BTreeMap<String, String>,
    pub(super) policy: &'a HostPolicy,
    /// Top directory of the archive.
    pub(super) base: &'a Path,
    pub(super) declared: Declared,
    pub(super) report: Report,
}
