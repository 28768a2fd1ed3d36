//! What `margoctl check-app` says of a compose file: everything, for people and for machines.

use super::load::{FILE_NAME, Loaded, load_str};
use super::model::{HostPolicy, Project};
use super::problems::{Problem, ProblemKind, Problems};
use super::yaml::FILE_BYTES_MAX;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// The verdict on one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// Whether this device would run it.
    pub accepted: bool,
    /// The effective project; absent if not accepted.
    pub project: Option<Project>,
    /// Why not; empty if accepted.
    pub problems: Vec<Problem>,
    /// What has no effect, or is probably not meant.
    pub warnings: Vec<Problem>,
}

impl CheckReport {
    fn refused(problems: Problems) -> Self {
        Self { accepted: false, project: None, problems: problems.0, warnings: Vec::new() }
    }
}

/// Checks a compose file, or a directory that holds a `compose.yaml`. Archives are to be extracted first.
///
/// A parameter that the file demands (`${NAME:?…}`) and `env` lacks is a problem like any other.
pub fn check_path(path: &Path, env: &BTreeMap<String, String>, policy: &HostPolicy) -> CheckReport {
    let file = if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() };
    let base = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let text = match read(&file) {
        Ok(text) => text,
        Err(why) => {
            let message = format!("{}: {why}", file.display());
            return CheckReport::refused(Problems(vec![Problem::new(
                "",
                ProblemKind::Invalid,
                message,
            )]));
        }
    };
    match load_str(&text, base, env, policy) {
        Ok(Loaded { project, warnings }) => {
            CheckReport { accepted: true, project: Some(project), problems: Vec::new(), warnings }
        }
        Err(problems) => CheckReport::refused(problems),
    }
}

fn read(file: &Path) -> Result<String, String> {
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut content = Vec::new();
    std::fs::File::open(file)
        .and_then(|file| file.take(limit).read_to_end(&mut content))
        .map_err(|why| why.to_string())?;
    if content.len() > FILE_BYTES_MAX {
        return Err(format!("longer than {FILE_BYTES_MAX} bytes"));
    }
    String::from_utf8(content).map_err(|_| "not UTF-8 text".to_owned())
}
