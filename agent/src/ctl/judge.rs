//! The judgement of `margoctl check-app`: the agent's own compose loader, behind the agent's own archive check.

use super::check_app::{AppProblem, AppReport};
use crate::archive::{ArchiveLimits, check_and_extract};
use crate::compose::model::HostPolicy;
use crate::compose::{Problem, ProblemKind, check_path};
use crate::config::Sources;
use crate::logging::ErrorChain;
use crate::workload::archive_limits;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The first bytes of everything that gzip compressed.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Judges a compose file, a directory with a `compose.yaml`, or a compose archive (`.tar.gz`), as the agent would.
pub fn judge(path: &Path, parameters: &BTreeMap<String, String>, policy: &HostPolicy) -> AppReport {
    if !is_archive(path) {
        return checked(path, parameters, policy);
    }
    match extracted(path) {
        // The directory is removed when the check is over.
        Ok((_dir, top)) => checked(&top, parameters, policy),
        Err(message) => AppReport {
            problems: vec![AppProblem { key: String::new(), line: None, message }],
            ..AppReport::default()
        },
    }
}

/// By content or, so that a broken archive is called one, by name.
fn is_archive(path: &Path) -> bool {
    let mut start = [0; GZIP_MAGIC.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let has_name = name.ends_with(".tar.gz") || name.ends_with(".tgz");
    (read.is_ok() && start == GZIP_MAGIC) || (has_name && !path.is_dir())
}

fn extracted(path: &Path) -> Result<(tempfile::TempDir, std::path::PathBuf), String> {
    let fault = |error: &(dyn std::error::Error + 'static)| {
        format!("{}: {}", path.display(), ErrorChain(error))
    };
    let file = File::open(path).map_err(|error| fault(&error))?;
    let dir = tempfile::tempdir().map_err(|error| fault(&error))?;
    let app = dir.path().join("app");
    // A wrong configuration is not what is asked about here.
    let settings = Sources::system().load();
    let limits = settings.map_or_else(|_| ArchiveLimits::default(), |s| archive_limits(&s.limits));
    let found = check_and_extract(file, &app, &limits);
    let top = found.map_err(|error| fault(&error))?.top_dir;
    Ok((dir, top))
}

fn checked(path: &Path, parameters: &BTreeMap<String, String>, policy: &HostPolicy) -> AppReport {
    let report = check_path(path, parameters, policy);
    let refused = |problem: Problem| {
        let kind = match problem.kind {
            ProblemKind::Invalid => "invalid",
            ProblemKind::Unsupported => "not supported",
            ProblemKind::NotPermitted => "not permitted",
        };
        let message = format!("{kind}: {}", problem.message);
        told(Problem { message, ..problem })
    };
    AppReport {
        project: report.project,
        problems: report.problems.into_iter().map(refused).collect(),
        warnings: report.warnings.into_iter().map(told).collect(),
    }
}

fn told(problem: Problem) -> AppProblem {
    let line = (problem.line > 0).then_some(problem.line);
    AppProblem { key: problem.path, line, message: problem.message }
}
