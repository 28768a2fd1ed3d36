//! How long the scenarios took when they were run last.

use super::samples::rounded;
use super::{Figures, progress};
use crate::project::Project;
use serde_json::{Value, json};

/// The figures of the last run of `qemu/test`; nothing when there was none.
pub(super) fn read(project: &Project) -> Figures {
    let path = project.root.join("target/qemu/results.json");
    let found = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let figure = found.as_ref().and_then(summary);
    if figure.is_none() {
        progress(&format!("skipped: time of the suite: no results in {}", path.display()));
    }
    figure.into_iter().flatten().collect()
}

fn summary(results: &Value) -> Option<Figures> {
    let results = results.as_array().filter(|results| !results.is_empty())?;
    let text = |result: &Value, key: &str| result.get(key)?.as_str().map(str::to_owned);
    let seconds = |result: &Value| result.get("seconds")?.as_f64();
    let count = |verdict: &str| {
        results.iter().filter(|result| text(result, "verdict").as_deref() == Some(verdict)).count()
    };
    let total: f64 = results.iter().filter_map(seconds).sum();
    let longest =
        results.iter().filter_map(|result| Some((seconds(result)?, text(result, "name")?)));
    let (longest_s, longest) = longest.max_by(|one, other| one.0.total_cmp(&other.0))?;
    let verdicts = json!({
        "passed": count("passed"), "failed": count("failed"), "skipped": count("skipped"),
    });
    Some(Figures::from_iter([
        ("suite".to_owned(), verdicts),
        ("suite_devices_s".to_owned(), rounded(total).into()),
        ("suite_longest_s".to_owned(), rounded(longest_s).into()),
        ("suite_longest".to_owned(), longest.into()),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_run_is_summed_up() {
        let results = json!([
            {"name": "a", "verdict": "passed", "seconds": 10.25},
            {"name": "b", "verdict": "failed", "seconds": 30.5},
            {"name": "c", "verdict": "skipped", "seconds": 0.0},
        ]);
        let figures = summary(&results).unwrap();
        assert_eq!(figures["suite"], json!({"passed": 1, "failed": 1, "skipped": 1}));
        assert_eq!(
            (&figures["suite_devices_s"], &figures["suite_longest"]),
            (&json!(40.75), &json!("b"))
        );
        assert_eq!(summary(&json!([])), None);
        assert_eq!(summary(&json!({"old": "format"})), None);
    }
}
