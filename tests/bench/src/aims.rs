//! What the figures should be, and whether they are.

use serde_json::{Map, Value, json};

/// An upper limit of one figure.
struct Aim {
    figure: &'static str,
    /// Key inside the figure; empty when it is a number by itself.
    key: &'static str,
    /// What it should be at most.
    limit: f64,
    /// More than this is a fault of the program. Only for what does not depend on how fast or busy the machine is.
    budget: Option<f64>,
}

const fn aim(figure: &'static str, key: &'static str, limit: f64) -> Aim {
    Aim { figure, key, limit, budget: None }
}

const fn budget(figure: &'static str, key: &'static str, limit: f64, budget: f64) -> Aim {
    Aim { figure, key, limit, budget: Some(budget) }
}

const MIB: f64 = 1024.0 * 1024.0;

/// Everything that has a limit.
const AIMS: &[Aim] = &[
    budget("binary_bytes", "", 6.0 * MIB, 7.0 * MIB),
    budget("pss_kib", "median", 5.0 * 1024.0, 9.0 * 1024.0),
    budget("pss_anonymous_kib", "median", 2.0 * 1024.0, 2.0 * 1024.0),
    budget("idle_disk_bytes", "", 0.0, 0.0),
    budget("wire_bytes_per_poll", "", 600.0, 600.0),
    aim("start_ready_ms", "median", 20.0),
    aim("apply_ratio_vs_engine_api", "median", 1.15),
    aim("apply_ratio_vs_docker_compose", "median", 0.95),
    aim("step_p99_us", "1", 1000.0),
    aim("step_p99_us", "10", 1000.0),
    aim("step_p99_us", "100", 1000.0),
    aim("step_p99_us", "500", 1000.0),
];

impl Aim {
    fn value(&self, figures: &Map<String, Value>) -> Option<f64> {
        let figure = figures.get(self.figure)?;
        let value = if self.key.is_empty() { figure } else { figure.get(self.key)? };
        value.as_f64()
    }

    fn name(&self) -> String {
        match self.key {
            "" | "median" => self.figure.to_owned(),
            key => format!("{} at {key}", self.figure),
        }
    }
}

/// Every aim whose figure was taken, with its limit and whether it is reached.
pub(crate) fn table(figures: &Map<String, Value>) -> Value {
    let row = |aim: &Aim| {
        let value = aim.value(figures)?;
        let is_reached = value <= aim.limit;
        Some((aim.name(), json!({ "value": value, "limit": aim.limit, "is_reached": is_reached })))
    };
    AIMS.iter().filter_map(row).collect::<Map<_, _>>().into()
}

/// The budgets that are exceeded, in words.
pub(crate) fn check(figures: &Map<String, Value>) -> Vec<String> {
    let exceeded = |aim: &Aim| {
        let (budget, value) = (aim.budget?, aim.value(figures)?);
        let text = || format!("{} is {value}, the budget is {budget}", aim.name());
        (value > budget).then(text)
    };
    AIMS.iter().filter_map(exceeded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn a_budget_is_exceeded_and_an_aim_only_missed() {
        let figures = figures(json!({
            "binary_bytes": 9_000_000,
            "start_ready_ms": { "median": 50.0 },
            "step_p99_us": { "10": 12.0 },
            "idle_disk_bytes": 0,
        }));
        assert_eq!(check(&figures), ["binary_bytes is 9000000, the budget is 7340032"]);
        let table = table(&figures);
        assert_eq!(table["start_ready_ms"]["is_reached"], false);
        assert_eq!(table["step_p99_us at 10"]["is_reached"], true);
        assert_eq!(table["idle_disk_bytes"]["is_reached"], true);
        assert_eq!(table.get("pss_kib"), None, "not measured, not judged");
    }
}
