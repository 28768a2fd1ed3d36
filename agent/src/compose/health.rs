//! `healthcheck:` of a service.

use super::cursor::Cursor;
use super::model::Healthcheck;
use super::problems::Report;
use super::yaml::Value;

/// Docker takes no shorter interval.
const SHORTEST_NS: i64 = 1_000_000;

/// Reads a health check; `disable: true` and the test `NONE` switch the image's off.
pub(super) fn healthcheck(at: &Cursor<'_>, report: &mut Report) -> Option<Healthcheck> {
    report.map(at);
    let mut test = at.get("test").and_then(|at| test(&at, report)).unwrap_or_default();
    if let Some(at) = at.get("disable")
        && report.boolean(&at) == Some(true)
    {
        test = vec!["NONE".to_owned()];
    }
    let mut duration = |key: &str| {
        let at = at.get(key)?;
        let duration_ns = report.duration_ns(&at)?;
        if duration_ns != 0 && duration_ns < SHORTEST_NS {
            report.invalid(&at, "must be at least 1ms");
            return None;
        }
        Some(duration_ns)
    };
    let interval_ns = duration("interval");
    let timeout_ns = duration("timeout");
    let start_period_ns = duration("start_period");
    let start_interval_ns = duration("start_interval");
    let retries = at.get("retries").and_then(|at| report.integer(&at, 0..=i64::from(i32::MAX)));
    at.is_map().then_some(Healthcheck {
        test,
        interval_ns,
        timeout_ns,
        retries,
        start_period_ns,
        start_interval_ns,
    })
}

fn test(at: &Cursor<'_>, report: &mut Report) -> Option<Vec<String>> {
    if matches!(at.node.value, Value::Str(_)) {
        return Some(vec!["CMD-SHELL".to_owned(), report.string(at)?]);
    }
    let mut words = Vec::new();
    for item in report.list(at) {
        words.push(report.string(&item)?);
    }
    match words.first().map(String::as_str) {
        None | Some("NONE") => {}
        Some("CMD") if words.len() > 1 => {}
        Some("CMD-SHELL") if words.len() == 2 => {}
        Some("CMD" | "CMD-SHELL") => {
            report.invalid(at, "needs a command after its first word (one text for `CMD-SHELL`)");
        }
        Some(_) => {
            report.invalid(at, "must start with `CMD`, `CMD-SHELL` or `NONE`");
        }
    }
    Some(words)
}
