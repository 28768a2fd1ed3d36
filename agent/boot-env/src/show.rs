//! `show`: both copies and what follows from them, for people and for programs.

use margo_boot_env::copies::Found;
use margo_boot_env::disk::Copy;
use margo_boot_env::env::{Env, Slot, State, TRIES_MAX};
use std::fmt::Write as _;

/// For people.
pub(crate) fn text(found: &Found, booted: Option<Slot>) -> String {
    let mut out = String::new();
    match found.current() {
        Ok((env, from)) => {
            for slot in env.order() {
                let runs = if booted == Some(slot) { ", runs" } else { "" };
                let next = if env.primary() == slot { ", next" } else { "" };
                let _ = writeln!(out, "slot {slot}: {}{runs}{next}", state(env.state(slot)));
            }
            let id = env.machine_id.as_deref().unwrap_or("not stored yet");
            let _ = writeln!(out, "machine id: {id}");
            let _ = writeln!(out, "taken from: {}", from.file_name());
        }
        Err(error) => {
            let _ = writeln!(out, "{error}");
        }
    }
    for copy in Copy::ALL {
        if let Some(damage) = found.damage(copy) {
            let _ = writeln!(out, "damaged: {damage}");
        }
    }
    if found.current().is_ok() && !found.is_in_step() {
        let _ =
            writeln!(out, "the copies differ; the next change or `margo-boot-env heal` mends that");
    }
    out
}

/// For programs: one object in one line.
pub(crate) fn json(found: &Found, booted: Option<Slot>) -> String {
    let mut fields = vec![
        format!("\"booted\":{}", quoted(booted.map(Slot::name))),
        format!("\"in_step\":{}", found.is_in_step()),
    ];
    if let Ok((env, from)) = found.current() {
        fields.push(format!("\"source\":{}", quoted(Some(from.file_name()))));
        fields.push(format!("\"primary\":{}", quoted(Some(env.primary().name()))));
        fields.push(format!("\"order\":[\"{}\",\"{}\"]", env.first, env.first.other()));
        fields.push(format!("\"machine_id\":{}", quoted(env.machine_id.as_deref())));
        fields.push(format!("\"tries_max\":{TRIES_MAX}"));
        fields.push(format!("\"slots\":{{{},{}}}", slot(env, Slot::A), slot(env, Slot::B)));
    }
    let damage = Copy::ALL.into_iter().filter_map(|copy| found.damage(copy));
    let damage: Vec<String> = damage.map(|text| quoted(Some(&text))).collect();
    fields.push(format!("\"damage\":[{}]", damage.join(",")));
    format!("{{{}}}\n", fields.join(","))
}

fn slot(env: &Env, slot: Slot) -> String {
    let state = env.state(slot);
    format!("\"{slot}\":{{\"state\":\"{}\",\"tries\":{}}}", state.name(), state.tries())
}

fn state(state: State) -> String {
    match state {
        State::Trial { tries } => format!("trial, {tries} tries left"),
        State::Good => "good (committed)".to_owned(),
        State::Bad => "bad".to_owned(),
    }
}

/// A JSON string, or null.
fn quoted(text: Option<&str>) -> String {
    let Some(text) = text else { return "null".to_owned() };
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}
