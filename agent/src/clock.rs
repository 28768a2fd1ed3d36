//! The only caller of the clocks, and the memory of how late it has been.
//!
//! Deadlines use the boot clock. Wall time serves certificates and logs only, and counts only when it is not
//! before the last time known to have passed: the build of this program, or the time noted when a peer's
//! certificate was last found valid. A clock that is behind delays TLS and never touches workloads (I4).

use rustix::time::{ClockId, clock_gettime};
use std::fs::{File, FileTimes, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nothing happens before this program was built. Reproducible: taken from `SOURCE_DATE_EPOCH`, else from the
/// month this was written, in milliseconds since 1970.
const BUILD_UNIX_MS: u64 = match option_env!("SOURCE_DATE_EPOCH") {
    Some(text) => parse_secs(text).saturating_mul(1000),
    None => 1_793_491_200_000,
};

/// A remembered time this much after the build is a mistake and is ignored: believing it would keep the device
/// offline for ever after its clock was put right.
const FLOOR_AFTER_BUILD_MS_MAX: u64 = 20 * 365 * DAY_MS;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const FLOOR_FILE: &str = "clock-floor";

/// What the clocks say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Now {
    /// Changes with every boot.
    pub boot_id: String,
    /// Milliseconds since that boot, sleep included.
    pub boottime_ms: u64,
    /// Milliseconds since 1970; `None` while the clock is behind.
    pub wall_unix_ms: Option<u64>,
}

/// The clocks, with the floor for wall time.
#[derive(Debug)]
pub struct Clock {
    boot_id: String,
    floor_file: PathBuf,
    floor_unix_ms: u64,
}

impl Clock {
    /// Reads the boot id and the floor kept in `state_dir`. Never fails: without a boot id the name of the boot
    /// is empty, and without a kept floor the build is the floor.
    pub fn open(state_dir: &Path) -> Self {
        let boot_id = std::fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned();
        let floor_file = state_dir.join(FLOOR_FILE);
        let kept = std::fs::metadata(&floor_file).and_then(|file| file.modified()).map(unix_ms);
        let latest = BUILD_UNIX_MS.saturating_add(FLOOR_AFTER_BUILD_MS_MAX);
        let floor_unix_ms = match kept {
            Ok(kept) if kept <= latest => kept.max(BUILD_UNIX_MS),
            _ => BUILD_UNIX_MS,
        };
        Self { boot_id, floor_file, floor_unix_ms }
    }

    /// What the clocks say now.
    pub fn now(&self) -> Now {
        Now {
            boot_id: self.boot_id.clone(),
            boottime_ms: boottime_ms(),
            wall_unix_ms: Some(wall_unix_ms()).filter(|wall| *wall >= self.floor_unix_ms),
        }
    }

    /// Whether the wall clock is before a time known to have passed.
    pub fn clock_is_behind(&self) -> bool {
        wall_unix_ms() < self.floor_unix_ms
    }

    /// The latest time known to have passed, in milliseconds since 1970.
    pub fn floor_unix_ms(&self) -> u64 {
        self.floor_unix_ms
    }

    /// Notes that the wall clock is right: call it after the fleet manager's certificate was found valid, which
    /// bounds how wrong the clock can be. Written at most once a day (I10).
    ///
    /// # Errors
    /// The floor could not be kept. The one in memory stands, and the next call tries again.
    pub fn note_trusted(&mut self) -> io::Result<()> {
        let wall = wall_unix_ms();
        if wall < self.floor_unix_ms.saturating_add(DAY_MS) {
            return Ok(());
        }
        self.keep(wall)
    }

    /// Keeps the time at an orderly stop. Call it only if [`Clock::note_trusted`] was called in this run.
    ///
    /// # Errors
    /// The floor could not be kept.
    pub fn note_stopping(&mut self) -> io::Result<()> {
        let wall = wall_unix_ms();
        if wall <= self.floor_unix_ms {
            return Ok(());
        }
        self.keep(wall)
    }

    fn keep(&mut self, wall_unix_ms: u64) -> io::Result<()> {
        let time = UNIX_EPOCH
            .checked_add(Duration::from_millis(wall_unix_ms))
            .ok_or(io::ErrorKind::InvalidInput)?;
        let file: File = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.floor_file)?;
        // The time of the file is the content: nothing to tear.
        file.set_times(FileTimes::new().set_modified(time))?;
        file.sync_all()?;
        self.floor_unix_ms = wall_unix_ms;
        Ok(())
    }
}

/// Milliseconds since boot, sleep included.
pub fn boottime_ms() -> u64 {
    millis(ClockId::Boottime)
}

/// Milliseconds since boot, sleep excluded: the clock of the service manager's watchdog.
pub fn monotonic_ms() -> u64 {
    millis(ClockId::Monotonic)
}

/// Milliseconds since 1970 as the wall clock has it, right or wrong: for logs and display only.
pub fn wall_unix_ms() -> u64 {
    unix_ms(SystemTime::now())
}

/// Milliseconds since 1970 as `2026-11-21T03:29:45Z`.
pub fn format_utc(unix_ms: u64) -> String {
    let secs = unix_ms.checked_div(1000).unwrap_or_default();
    let (days, rest) = (secs / 86_400, secs % 86_400);
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a number of days since 1970. Years are counted from March, so that the leap day is
/// the last of its year, and grouped by the 400 years after which the calendar repeats.
const fn civil_from_days(days: u64) -> (u64, u64, u64) {
    const DAYS_BEFORE_1970: u64 = 719_468;
    let days = days.saturating_add(DAYS_BEFORE_1970);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

fn millis(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let secs = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
    secs.saturating_mul(1000).saturating_add(nanos.checked_div(1_000_000).unwrap_or_default())
}

fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Digits to a number at compile time; anything else ends the number.
const fn parse_secs(text: &str) -> u64 {
    let mut rest = text.as_bytes();
    let mut secs: u64 = 0;
    while let [digit @ b'0'..=b'9', tail @ ..] = rest {
        secs = secs.saturating_mul(10).saturating_add((*digit - b'0') as u64);
        rest = tail;
    }
    secs
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn set_floor(dir: &TempDir, unix_ms: u64) {
        let file = File::create(dir.path().join(FLOOR_FILE)).unwrap();
        let time = UNIX_EPOCH + Duration::from_millis(unix_ms);
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
    }

    #[test]
    fn a_clock_after_the_build_is_trusted_and_one_before_the_floor_is_not() {
        let dir = TempDir::new().unwrap();
        set_floor(&dir, 0);
        let clock = Clock::open(dir.path());
        assert_eq!(clock.floor_unix_ms(), BUILD_UNIX_MS);
        assert_eq!(clock.clock_is_behind(), clock.now().wall_unix_ms.is_none());

        let ahead = wall_unix_ms().max(BUILD_UNIX_MS) + 30 * DAY_MS;
        set_floor(&dir, ahead);
        let clock = Clock::open(dir.path());
        assert_eq!(clock.floor_unix_ms(), ahead);
        assert!(clock.clock_is_behind());
        assert_eq!(clock.now().wall_unix_ms, None);
    }

    #[test]
    fn a_floor_far_in_the_future_is_ignored() {
        let dir = TempDir::new().unwrap();
        set_floor(&dir, BUILD_UNIX_MS + FLOOR_AFTER_BUILD_MS_MAX + DAY_MS);
        assert_eq!(Clock::open(dir.path()).floor_unix_ms(), BUILD_UNIX_MS);
    }

    #[test]
    fn the_floor_is_written_once_a_day_and_at_the_stop() {
        let dir = TempDir::new().unwrap();
        let mut clock = Clock::open(dir.path());
        // As if built long ago, so that the test does not depend on when it runs.
        clock.floor_unix_ms = wall_unix_ms() - 2 * DAY_MS;
        clock.note_trusted().unwrap();
        let first = clock.floor_unix_ms();
        assert!(dir.path().join(FLOOR_FILE).exists());
        std::fs::remove_file(dir.path().join(FLOOR_FILE)).unwrap();
        clock.note_trusted().unwrap();
        assert_eq!(clock.floor_unix_ms(), first);
        assert!(!dir.path().join(FLOOR_FILE).exists(), "not again on the same day (I10)");
        clock.floor_unix_ms = first - 1;
        clock.note_stopping().unwrap();
        assert!(dir.path().join(FLOOR_FILE).exists());
    }

    #[test]
    fn a_missing_directory_is_an_error_and_leaves_the_floor() {
        let mut clock = Clock::open(Path::new("/nonexistent"));
        clock.floor_unix_ms = 1;
        clock.note_trusted().unwrap_err();
        assert_eq!(clock.floor_unix_ms(), 1);
    }

    #[test]
    fn the_boot_has_a_name_and_time_does_not_run_backwards() {
        let dir = TempDir::new().unwrap();
        let clock = Clock::open(dir.path());
        let (first, second) = (clock.now(), clock.now());
        assert_eq!(first.boot_id.len(), 36);
        assert_eq!(first.boot_id, second.boot_id);
        assert!(first.boottime_ms > 0 && first.boottime_ms <= second.boottime_ms);
    }

    #[test]
    fn times_are_written_as_people_read_them() {
        assert_eq!(format_utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(format_utc(951_782_399_999), "2000-02-28T23:59:59Z");
        assert_eq!(format_utc(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(format_utc(1_793_491_200_000), "2026-11-01T00:00:00Z");
        assert_eq!(format_utc(4_107_542_400_000), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn the_build_time_is_read_from_digits() {
        assert_eq!(parse_secs("1793491200"), 1_793_491_200);
        assert_eq!(parse_secs("12x"), 12);
        assert_eq!(parse_secs(""), 0);
    }
}
