//! What the kernel counts of a process.

use crate::Fault;
use crate::samples::as_f64;
use std::path::Path;
use std::time::SystemTime;

/// Ticks of processor time in a second, as every Linux shows them in `/proc`.
const TICKS_PER_SECOND: u64 = 100;

/// Counters of a process at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Processor time in user and kernel mode of all its threads, in milliseconds (in steps of 10).
    pub(crate) cpu_ms: u64,
    /// Processor time of the threads that live now, in nanoseconds.
    pub(crate) live_cpu_ns: u64,
    /// Times its threads that live now went to sleep by themselves.
    pub(crate) wakeups: u64,
    /// Threads.
    pub(crate) threads: usize,
    /// Bytes it caused to be written to a disk; `None` where the kernel does not count them.
    pub(crate) write_bytes: Option<u64>,
}

/// Reads the counters.
///
/// # Errors
/// The process is gone.
pub(crate) fn counters(pid: u32) -> Result<Counters, Fault> {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))
    };
    let (mut live_cpu_ns, mut wakeups, mut threads) = (0_u64, 0_u64, 0_usize);
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = task?.path();
        // A thread may end between the listing and the look.
        let schedstat = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        let status = std::fs::read_to_string(path.join("status")).unwrap_or_default();
        let on_cpu = schedstat.split(' ').next().and_then(|ns| ns.parse::<u64>().ok());
        live_cpu_ns = live_cpu_ns.saturating_add(on_cpu.unwrap_or_default());
        let switches = field(&status, "voluntary_ctxt_switches:").unwrap_or_default();
        wakeups = wakeups.saturating_add(switches);
        threads = threads.saturating_add(1);
    }
    let io = read("io").ok();
    Ok(Counters {
        cpu_ms: cpu_ms(&read("stat")?).ok_or("/proc/PID/stat is not understood")?,
        live_cpu_ns,
        wakeups,
        threads,
        write_bytes: io.and_then(|io| field(&io, "write_bytes:")),
    })
}

/// Memory that is the process's share of what is shared and all of what is not, in KiB; and the part of it that
/// is neither shared nor backed by a file.
///
/// # Errors
/// The process is gone.
pub(crate) fn pss_kib(pid: u32) -> Result<(u64, u64), Fault> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let found = |name| field(&text, name).ok_or_else(|| Fault::from(format!("{path}: no {name}")));
    Ok((found("Pss:")?, found("Pss_Anon:").unwrap_or_default()))
}

/// Every file below a directory with its size and time of change, to tell whether anything was written there.
///
/// # Errors
/// A directory that cannot be read.
pub(crate) fn fingerprint(dir: &Path) -> Result<Vec<(String, u64, Option<SystemTime>)>, Fault> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(&next)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                left.push(entry.path());
            }
            let name = entry.path().display().to_string();
            found.push((name, metadata.len(), metadata.modified().ok()));
        }
    }
    found.sort();
    Ok(found)
}

/// A share of the processor in percent of one core.
pub(crate) fn percent(cpu_ms: u64, elapsed_ms: f64) -> f64 {
    as_f64(usize::try_from(cpu_ms).unwrap_or(usize::MAX)) * 100.0 / elapsed_ms
}

fn cpu_ms(stat: &str) -> Option<u64> {
    // The name in parentheses may hold spaces; utime and stime are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse().ok()?;
    let ticks = ticks.checked_add(fields.next()?.parse().ok()?)?;
    ticks.checked_mul(1000 / TICKS_PER_SECOND)
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name() {
        let text = "Rss:  9 kB\nPss:                4321 kB\nPss_Anon:  12 kB\n";
        assert_eq!(field(text, "Pss:"), Some(4321));
        assert_eq!(field(text, "Swap:"), None);
    }

    #[test]
    fn processor_time_is_user_and_system() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 100 0 0 0 25 17 0 0 20 0 3 0 12 0 0";
        assert_eq!(cpu_ms(stat), Some(420));
    }

    #[test]
    fn a_process_can_be_looked_at() {
        let own = counters(std::process::id()).unwrap();
        assert!(own.threads >= 1);
        assert!(pss_kib(std::process::id()).unwrap().0 > 0);
    }

    #[test]
    fn a_write_shows_in_the_fingerprint() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "1").unwrap();
        let before = fingerprint(dir.path()).unwrap();
        assert_eq!(before, fingerprint(dir.path()).unwrap());
        std::fs::write(dir.path().join("a"), "12").unwrap();
        assert_ne!(before, fingerprint(dir.path()).unwrap());
    }
}
