//! The system around the workloads: is it well, and restarting it in good order.
//!
//! Health checks are programs in `health.d/required.d` and `health.d/wanted.d`, in greenboot's manner. Each runs as
//! an instance of `margo-health@.service`, started through the service manager: a check needs rights that the
//! agent's own sandbox rightly takes away, and what it leaves behind is killed with its unit.

use super::dbus::{Bus, ListedUnit, error_text};
use futures_util::StreamExt;
use state_machine::failure::{Code, Failure};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The template that runs a check.
const HEALTH_UNIT: &str = "margo-health@";
/// Most checks of one kind (I11).
const CHECKS_MAX: usize = 64;
/// Most failed units named.
const UNITS_NAMED_MAX: usize = 8;
/// Longest wait for an answer of the service manager.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a device may take to go down after it agreed to.
const REBOOT_TIMEOUT: Duration = Duration::from_secs(600);

/// How the system is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Directories with `required.d` and `wanted.d`, the later one first in rank.
    pub dirs: Vec<PathBuf>,
    /// Longest run of one check, in milliseconds.
    pub check_timeout_ms: u64,
    /// The service manager must have no failed units, and be done with starting.
    pub require_running: bool,
}

fn unhealthy(message: String) -> Failure {
    Failure::new(Code::FirmwareUnhealthy, message)
}

fn unavailable(what: &str, error: &zbus::Error) -> Failure {
    Failure::new(Code::FirmwareUnavailable, format!("{what}: {}", error_text(error)))
}

/// Everything that is not as it must be.
///
/// # Errors
/// The service manager does not answer.
pub(super) async fn check(bus: &Bus, health: &Health) -> Result<Vec<Failure>, Failure> {
    let mut failures = Vec::new();
    if health.require_running {
        failures.extend(state(bus).await?);
    }
    for check in checks(&health.dirs, "required.d") {
        if let Some(why) = run(bus, &check, health.check_timeout_ms).await? {
            failures.push(unhealthy(format!("health check {}: {why}", check.display())));
        }
    }
    Ok(failures)
}

/// Runs what is only wanted, and logs what fails.
pub(super) async fn check_wanted(bus: &Bus, health: &Health) {
    for check in checks(&health.dirs, "wanted.d") {
        let path = check.display();
        match run(bus, &check, health.check_timeout_ms).await {
            Ok(None) => tracing::info!(check = %path, "wanted health check passed"),
            Ok(Some(why)) => tracing::warn!(check = %path, why, "wanted health check failed"),
            Err(failure) => {
                tracing::warn!(check = %path, %failure, "wanted health check did not run")
            }
        }
    }
}

async fn state(bus: &Bus) -> Result<Option<Failure>, Failure> {
    let ask = async {
        let systemd = bus.systemd().await?;
        let state = systemd.system_state().await?;
        let failed = match state.as_str() {
            "degraded" => systemd.list_units_filtered(&["failed"]).await?,
            _ => Vec::new(),
        };
        Ok((state, failed))
    };
    let (state, failed) = match tokio::time::timeout(CALL_TIMEOUT, ask).await {
        Ok(answer) => answer.map_err(|error| unavailable("asking the service manager", &error))?,
        Err(_) => {
            let message = "the service manager does not answer";
            return Err(Failure::new(Code::FirmwareUnavailable, message));
        }
    };
    Ok(judge_state(&state, &failed))
}

fn judge_state(state: &str, failed: &[ListedUnit]) -> Option<Failure> {
    match state {
        "running" => None,
        "degraded" => {
            // A check that failed is told as a check.
            let units = failed.iter().map(|unit| unit.0.as_str());
            let units: Vec<&str> = units.filter(|unit| !unit.starts_with(HEALTH_UNIT)).collect();
            let named: Vec<String> =
                units.iter().take(UNITS_NAMED_MAX).map(|unit| super::text(unit)).collect();
            let more = units.len().saturating_sub(named.len());
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            (!units.is_empty())
                .then(|| unhealthy(format!("failed units: {}{more}", named.join(", "))))
        }
        other => Some(unhealthy(format!("the system is not running but {}", super::text(other)))),
    }
}

/// The checks of a kind, by name; a file in a later directory replaces one of the same name.
fn checks(dirs: &[PathBuf], kind: &str) -> Vec<PathBuf> {
    let mut found = BTreeMap::new();
    for dir in dirs {
        let Ok(entries) = std::fs::read_dir(dir.join(kind)) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            let is_check = path
                .metadata()
                .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
            if is_check {
                found.insert(entry.file_name(), path);
            } else {
                tracing::debug!(path = %path.display(), "no executable file, passed over");
            }
        }
    }
    found.into_values().take(CHECKS_MAX).collect()
}

/// Runs one check; says why it failed, if it did.
async fn run(bus: &Bus, check: &Path, timeout_ms: u64) -> Result<Option<String>, Failure> {
    let unit = format!("{HEALTH_UNIT}{}.service", escape(check));
    let fault = |error: &zbus::Error| unavailable(&format!("starting {unit}"), error);
    let systemd = bus.systemd().await.map_err(|error| fault(&error))?;
    // Without it the service manager sends no signals; a second time is no error worth telling.
    let _ = systemd.subscribe().await;
    let mut jobs = systemd.receive_job_removed().await.map_err(|error| fault(&error))?;
    let run = async {
        let job = systemd.start_unit(&unit, "replace").await?;
        while let Some(signal) = jobs.next().await {
            let args = signal.args()?;
            if args.job == job {
                return Ok(args.result.clone());
            }
        }
        Err(zbus::Error::Failure("the service manager went away".to_owned()))
    };
    match tokio::time::timeout(Duration::from_millis(timeout_ms), run).await {
        Ok(Ok(result)) if result == "done" => Ok(None),
        Ok(Ok(result)) => {
            Ok(Some(format!("{}; see `journalctl -u '{unit}'`", super::text(&result))))
        }
        Ok(Err(error)) => Err(fault(&error)),
        Err(_) => {
            // Best effort: the unit has a time limit of its own.
            let _ = systemd.stop_unit(&unit, "replace").await;
            Ok(Some(format!("not done after {} s", timeout_ms / 1_000)))
        }
    }
}

/// A path as the name of an instance, the way the service manager escapes it.
fn escape(path: &Path) -> String {
    let text = path.to_string_lossy();
    let mut name = String::new();
    for (index, byte) in text.trim_matches('/').bytes().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if index == 0 => name.push_str("\\x2e"),
            b':' | b'_' | b'.' => name.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => name.push(char::from(byte)),
            // Writing to a String cannot fail.
            byte => drop(write!(name, "\\x{byte:02x}")),
        }
    }
    name
}

/// Restarts the device. Comes back only as a failure.
pub(super) async fn reboot(bus: &Bus) -> Failure {
    let by_login = async { bus.login().await?.reboot(false).await };
    let first = match tokio::time::timeout(CALL_TIMEOUT, by_login).await {
        Ok(Ok(())) => return went_on().await,
        Ok(Err(error)) => error_text(&error),
        Err(_) => "no answer".to_owned(),
    };
    tracing::info!(reason = first, "the login manager does not restart the device, asking systemd");
    let by_systemd =
        async { bus.systemd().await?.start_unit("reboot.target", "replace-irreversibly").await };
    let second = match tokio::time::timeout(CALL_TIMEOUT, by_systemd).await {
        Ok(Ok(_)) => return went_on().await,
        Ok(Err(error)) => error_text(&error),
        Err(_) => "no answer".to_owned(),
    };
    let message =
        format!("the device cannot be restarted: login manager: {first}; systemd: {second}");
    Failure::new(Code::FirmwareUnavailable, message)
}

async fn went_on() -> Failure {
    tokio::time::sleep(REBOOT_TIMEOUT).await;
    let message = format!("the device did not restart in {} s", REBOOT_TIMEOUT.as_secs());
    Failure::new(Code::FirmwareUnavailable, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(name: &str) -> ListedUnit {
        let path = || zbus::ObjectPath::try_from("/").unwrap().into();
        let text = |text: &str| text.to_owned();
        (
            text(name),
            text(""),
            text(""),
            text("failed"),
            text(""),
            text(""),
            path(),
            0,
            text(""),
            path(),
        )
    }

    #[test]
    fn a_degraded_system_names_its_failed_units_but_not_failed_checks() {
        assert_eq!(judge_state("running", &[]), None);
        assert_eq!(judge_state("degraded", &[failed("margo-health@etc-x.service")]), None);
        let many: Vec<_> = (0..20).map(|n| failed(&format!("u{n}.service"))).collect();
        let failure = judge_state("degraded", &many).unwrap();
        assert_eq!(failure.code, Code::FirmwareUnhealthy);
        assert!(failure.message.contains("u0.service") && failure.message.contains("12 more"));
        assert!(judge_state("starting", &[]).unwrap().message.contains("starting"));
    }

    #[test]
    fn checks_are_executable_files_and_later_directories_replace() {
        let root = tempfile::tempdir().unwrap();
        let dirs = [root.path().join("usr"), root.path().join("etc")];
        for (path, mode) in [
            ("usr/required.d/10-a", 0o755),
            ("usr/required.d/20-b", 0o755),
            ("etc/required.d/10-a", 0o755),
            ("etc/required.d/README", 0o644),
        ] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let found = checks(&dirs, "required.d");
        assert_eq!(found, [dirs[1].join("required.d/10-a"), dirs[0].join("required.d/20-b")]);
        assert!(checks(&dirs, "wanted.d").is_empty());
    }

    #[test]
    fn paths_are_escaped_as_the_service_manager_does() {
        assert_eq!(
            escape(Path::new("/etc/margo/health.d/required.d/10-net work.sh")),
            "etc-margo-health.d-required.d-10\\x2dnet\\x20work.sh"
        );
        assert_eq!(escape(Path::new("/.a")), "\\x2ea");
    }
}
