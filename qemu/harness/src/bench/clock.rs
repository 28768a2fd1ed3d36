//! The device's clocks: systemd's stamps since the kernel's start, and the engine's dates on the same scale.

use super::samples::seconds;

/// Prints what [`Stamps::parse`] reads. The two clocks are read one right after the other.
pub(super) const ASK: &str = "for unit in margo-agent.service docker.service multi-user.target; do \
    systemctl show -P ActiveEnterTimestampMonotonic $unit; done; \
    systemctl show -P InactiveExitTimestampMonotonic docker.service; \
    read -r up rest </proc/uptime; date +%s.%N; echo $up";

/// When things came up, in seconds since the kernel's start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stamps {
    /// margo-agent said READY; 0 if it never did.
    pub(super) agent_s: f64,
    /// The engine said READY; 0 if not yet.
    pub(super) engine_s: f64,
    /// The boot's target; 0 if not yet.
    pub(super) multi_user_s: f64,
    /// The engine was started.
    pub(super) engine_start_s: f64,
    /// The kernel's start, in seconds since 1970.
    pub(super) booted_at: f64,
}

impl Stamps {
    /// Reads what [`ASK`] prints.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut stamp = || lines.next()?.trim().parse().ok().map(seconds);
        let (agent_s, engine_s, multi_user_s) = (stamp()?, stamp()?, stamp()?);
        let engine_start_s = stamp()?;
        let mut clock = || lines.next()?.trim().parse::<f64>().ok();
        let (now, up) = (clock()?, clock()?);
        Some(Self { agent_s, engine_s, multi_user_s, engine_start_s, booted_at: now - up })
    }

    /// A date of the engine in seconds since the kernel's start; negative when it is of an earlier boot.
    pub(super) fn since_boot(&self, date: &str) -> Option<f64> {
        Some(since_1970(date)? - self.booted_at)
    }
}

/// A date as the engine writes it, `2025-11-27T05:36:31.123456789Z`, in seconds since 1970.
fn since_1970(date: &str) -> Option<f64> {
    let (day, time) = date.strip_suffix('Z')?.split_once('T')?;
    let mut day = day.splitn(3, '-').map(|part| part.parse::<u32>().ok());
    let (year, month, day) = (day.next()??, day.next()??, day.next()??);
    let mut time = time.splitn(3, ':');
    let mut part = || time.next()?.parse::<f64>().ok();
    let (hour, minute, second) = (part()?, part()?, part()?);
    Some(f64::from(days(year, month, day)?) * 86_400.0 + hour * 3_600.0 + minute * 60.0 + second)
}

/// Days from 1970 to a day of the Gregorian calendar.
fn days(year: u32, month: u32, day: u32) -> Option<u32> {
    const BEFORE_MONTH: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let is_leap = |year: u32| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let leaps = (1970..year).filter(|year| is_leap(*year)).count();
    let before = BEFORE_MONTH.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    let today = u32::from(is_leap(year) && month > 2);
    let whole = year.checked_sub(1970)?.checked_mul(365)?;
    Some(whole + u32::try_from(leaps).ok()? + before + today + day.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_counted_from_1970() {
        assert_eq!(since_1970("1970-01-01T00:00:01.5Z"), Some(1.5));
        assert_eq!(since_1970("2000-03-01T00:00:00Z"), Some(951_868_800.0));
        assert_eq!(since_1970("2024-02-29T12:00:00Z"), Some(1_709_208_000.0));
        assert_eq!(since_1970("2025-11-27T05:36:31Z"), Some(1_764_221_791.0));
        for wrong in
            ["", "0001-01-01T00:00:00Z", "2025-11-27T05:36:31+01:00", "2025-13-01T00:00:00Z"]
        {
            assert_eq!(since_1970(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn stamps_and_dates_share_the_kernels_start() {
        let stamps =
            Stamps::parse("12500000\n0\n20000000\n7000000\n1764221800.250000000\n30.25\n").unwrap();
        assert_eq!((stamps.agent_s, stamps.engine_s, stamps.multi_user_s), (12.5, 0.0, 20.0));
        assert_eq!(stamps.engine_start_s, 7.0);
        assert_eq!(stamps.booted_at, 1_764_221_770.0);
        assert_eq!(stamps.since_boot("2025-11-27T05:36:31.5Z"), Some(21.5));
        assert!(stamps.since_boot("2025-11-27T05:36:00Z").unwrap() < 0.0, "an earlier boot");
        assert_eq!(Stamps::parse("1\n2\n"), None);
        assert_eq!(Stamps::parse("infinity?\n2\n3\n4\n5\n6\n"), None);
    }
}
