//! Deployments for people.

use super::terminal::{Cell, Style, Tone, clean, columns, duration};
use crate::local_api::{DeploymentStatus, FailureStatus};
use std::fmt::Write as _;

/// Characters of a digest that tell revisions apart at a glance.
const DIGEST_CHARS: usize = 12;

/// `margoctl deployments`.
pub(super) fn list(style: Style, deployments: &[DeploymentStatus]) -> String {
    if deployments.is_empty() {
        return "no deployments\n".to_owned();
    }
    let rows: Vec<Vec<Cell>> = deployments
        .iter()
        .map(|deployment| {
            let revision = match (&deployment.held, &deployment.desired) {
                (held, desired) if held == desired => short(held.as_deref()),
                (held, desired) => {
                    format!("{} -> {}", short(held.as_deref()), short(desired.as_deref()))
                }
            };
            vec![
                plain(&deployment.id),
                plain(&deployment.name),
                (Tone::of_state(&deployment.state), clean(&deployment.state).into_owned()),
                plain(&deployment.phase),
                plain(&revision),
                (Tone::Bad, deployment.error.as_ref().map_or_else(String::new, |e| e.code.clone())),
            ]
        })
        .collect();
    columns(style, &["ID", "NAME", "STATE", "PHASE", "REVISION", "ERROR"], &rows)
}

/// `margoctl deployment`.
pub(super) fn details(style: Style, deployment: &DeploymentStatus) -> String {
    let mut text = String::new();
    let mut add = |label: &str, tone: Tone, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{label:<11}{}", style.paint(tone, &clean(value)));
    };
    add("Deployment", Tone::Plain, &deployment.id);
    add("Name", Tone::Plain, &deployment.name);
    let state = format!("{} ({})", deployment.state, deployment.phase);
    add("State", Tone::of_state(&deployment.state), &state);
    add("Desired", Tone::Plain, deployment.desired.as_deref().unwrap_or("to be removed"));
    add("Held", Tone::Plain, deployment.held.as_deref().unwrap_or("nothing yet"));
    let attempts = match deployment.next_retry_ms {
        Some(ms) => format!("{}, next in {}", deployment.attempts, duration(ms)),
        None => deployment.attempts.to_string(),
    };
    add("Attempts", Tone::Plain, &attempts);
    if let Some(error) = &deployment.error {
        text.push_str(&failure(style, "Error", error));
    }
    for component in &deployment.components {
        let state = style.paint(Tone::of_state(&component.state), &clean(&component.state));
        let _ = writeln!(text, "\nComponent  {} {state}", clean(&component.name));
        if let Some(error) = &component.error {
            text.push_str(&failure(style, "", error));
        }
        let rows: Vec<Vec<Cell>> = component
            .containers
            .iter()
            .map(|container| {
                let mut state = container.state.clone();
                if let Some(code) = container.exit_code {
                    let _ = write!(state, " ({code})");
                }
                let health = container.health.clone().unwrap_or_else(|| "-".to_owned());
                vec![
                    plain(&container.service),
                    plain(&container.name),
                    (Tone::of_state(&container.state), clean(&state).into_owned()),
                    (Tone::of_state(&health), clean(&health).into_owned()),
                    plain(&container.restarts.to_string()),
                    plain(&container.image),
                ]
            })
            .collect();
        if !rows.is_empty() {
            let header = ["SERVICE", "CONTAINER", "STATE", "HEALTH", "RESTARTS", "IMAGE"];
            text.push_str(&columns(style, &header, &rows));
        }
    }
    text
}

fn failure(style: Style, label: &str, error: &FailureStatus) -> String {
    let what = style.paint(Tone::Bad, &clean(&format!("{}: {}", error.code, error.message)));
    let next = style.paint(Tone::Quiet, &clean(&format!("next: {}", error.next_action)));
    format!("{label:<11}{what}\n{:<11}{next}\n", "")
}

fn plain(text: &str) -> Cell {
    (Tone::Plain, clean(text).into_owned())
}

/// The beginning of a digest, without its algorithm.
fn short(digest: Option<&str>) -> String {
    let Some(digest) = digest else { return "-".to_owned() };
    let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
    clean(hex).chars().take(DIGEST_CHARS).collect()
}
