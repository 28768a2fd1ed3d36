//! What the figures should be, and whether they are.

use super::Figures;
use serde_json::{Map, Value, json};

/// An upper limit of one figure.
struct Aim {
    figure: &'static str,
    /// What it should be at most.
    limit: f64,
    /// More than this is a fault of the program. Only for what does not depend on how fast or busy the machine is.
    budget: Option<f64>,
}

const fn aim(figure: &'static str, limit: f64) -> Aim {
    Aim { figure, limit, budget: None }
}

const fn budget(figure: &'static str, limit: f64, budget: f64) -> Aim {
    Aim { figure, limit, budget: Some(budget) }
}

const MIB: f64 = 1024.0 * 1024.0;

/// Everything that has a limit.
const AIMS: &[Aim] = &[
    aim("restore_ratio_vs_restart_policy", 1.15),
    aim("install_ratio_vs_rauc", 1.1),
    budget("install_fetched_per_bundle", 1.1, 1.25),
    budget("root_bytes", 160.0 * MIB, 192.0 * MIB),
    budget("disk_used_bytes", 192.0 * MIB, 256.0 * MIB),
    budget("agent_bytes", 6.0 * MIB, 7.0 * MIB),
    budget("boot_env_bytes", MIB, MIB),
    budget("agent_pss_kib", 5.0 * 1024.0, 9.0 * 1024.0),
    budget("agent_pss_anonymous_kib", 2.0 * 1024.0, 2.0 * 1024.0),
    budget("agent_trial_pss_kib", 5.0 * 1024.0, 9.0 * 1024.0),
    budget("agent_trial_pss_anonymous_kib", 2.0 * 1024.0, 2.0 * 1024.0),
];

impl Aim {
    /// The figure, or the median of its samples.
    fn value(&self, figures: &Figures) -> Option<f64> {
        let figure = figures.get(self.figure)?;
        figure.get("median").unwrap_or(figure).as_f64()
    }
}

/// Every aim whose figure was taken, with its limit and whether it is reached.
pub(super) fn table(figures: &Figures) -> Value {
    let row = |aim: &Aim| {
        let value = aim.value(figures)?;
        let is_reached = value <= aim.limit;
        let row = json!({ "value": value, "limit": aim.limit, "is_reached": is_reached });
        Some((aim.figure.to_owned(), row))
    };
    AIMS.iter().filter_map(row).collect::<Map<_, _>>().into()
}

/// The budgets that are exceeded, in words.
pub(super) fn check(figures: &Figures) -> Vec<String> {
    let exceeded = |aim: &Aim| {
        let (budget, value) = (aim.budget?, aim.value(figures)?);
        let text = || format!("{} is {value}, the budget is {budget}", aim.figure);
        (value > budget).then(text)
    };
    AIMS.iter().filter_map(exceeded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_exceeded_and_an_aim_only_missed() {
        let figures = json!({
            "restore_ratio_vs_restart_policy": { "median": 3.0 },
            "agent_bytes": 9_000_000,
            "boot_env_bytes": 1000,
        });
        let figures = figures.as_object().cloned().unwrap();
        assert_eq!(check(&figures), ["agent_bytes is 9000000, the budget is 7340032"]);
        let table = table(&figures);
        assert_eq!(table["restore_ratio_vs_restart_policy"]["is_reached"], false);
        assert_eq!(table["boot_env_bytes"]["is_reached"], true);
        assert_eq!(table.get("install_ratio_vs_rauc"), None, "not measured, not judged");
    }
}
