//! Privileges: `privileged`, capabilities, `security_opt`, `pid` and `ipc`, against the device's policy.

use super::context::Context;
use super::cursor::Cursor;
use super::networks::{host_namespace, shared_namespace};
use super::policy::{capability_name, capability_refusal, is_capability};

/// `privileged: true`, if policy permits.
pub(super) fn privileged(at: &Cursor<'_>, context: &mut Context<'_>) -> bool {
    let is_privileged = context.report.boolean(at).unwrap_or(false);
    if is_privileged && !context.policy.privileged {
        let message =
            "full privileges: add single capabilities, or the device's policy must permit it";
        context.report.not_permitted(at, message);
        return false;
    }
    is_privileged
}

/// `cap_add` or `cap_drop`, as written.
pub(super) fn capabilities(
    at: &Cursor<'_>,
    is_added: bool,
    context: &mut Context<'_>,
) -> Vec<String> {
    let mut out = Vec::new();
    for item in context.report.list(at) {
        let Some(text) = context.report.text(&item) else { continue };
        let name = capability_name(&text);
        if !is_capability(&name) {
            context.report.invalid(&item, format!("`{text}` is not a capability"));
        } else if let Some(why) =
            is_added.then(|| capability_refusal(context.policy, &name)).flatten()
        {
            context.report.not_permitted(&item, why);
        } else if !out.contains(&text) {
            out.push(text);
        }
    }
    out
}

/// `security_opt:`, as written.
pub(super) fn security_opt(at: &Cursor<'_>, context: &mut Context<'_>) -> Vec<String> {
    let mut out = Vec::new();
    for item in context.report.list(at) {
        let Some(text) = context.report.text(&item) else { continue };
        let (name, value) = text
            .split_once('=')
            .or_else(|| text.split_once(':'))
            .map_or((text.as_str(), None), |(name, value)| (name, Some(value)));
        let report = &mut context.report;
        let is_unconfined = match (name, value) {
            ("no-new-privileges", None | Some("true" | "false")) => false,
            ("label", Some(label)) => label == "disable",
            ("apparmor" | "seccomp", Some("unconfined")) => true,
            ("apparmor", Some(profile)) if !profile.is_empty() => false,
            ("seccomp", Some(_)) => {
                report.unsupported(&item, "a seccomp profile from a file: remove it");
                continue;
            }
            ("systempaths", _) => {
                report.unsupported(&item, "`systempaths`: remove it");
                continue;
            }
            _ => {
                report.invalid(&item, format!("`{text}` is not a security option"));
                continue;
            }
        };
        if is_unconfined && !context.policy.unconfined {
            let message =
                format!("`{text}` takes a protection away: the device's policy must permit it");
            report.not_permitted(&item, message);
        } else if !out.contains(&text) {
            out.push(text);
        }
    }
    out
}

/// `pid:` or `ipc:`; `plain` are the values that need no permission.
pub(super) fn namespace(
    at: &Cursor<'_>,
    plain: &[&str],
    context: &mut Context<'_>,
) -> Option<String> {
    if at.is_null() {
        return None;
    }
    let mode = context.report.text(at)?;
    if plain.contains(&mode.as_str()) {
        Some(mode)
    } else if mode == "host" {
        host_namespace(at, mode, context)
    } else {
        shared_namespace(at, mode, context)
    }
}
