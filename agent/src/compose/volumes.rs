//! Top-level `volumes`.

use super::context::Context;
use super::cursor::Cursor;
use super::model::Volume;
use super::networks::{external, labels, resource_name};
use super::policy::bind_refusal;
use std::path::Path;

/// A top-level volume. Its options can hide a bind mount or a disk: they obey the same policy as `volumes:` does.
pub(super) fn volume(at: &Cursor<'_>, context: &mut Context<'_>) -> Volume {
    let report = &mut context.report;
    let mut volume = Volume::default();
    report.map_or_null(at);
    if let Some(at) = at.get("name") {
        volume.name = resource_name(&at, report);
    }
    volume.external = external(at, &mut volume.name, report);
    if let Some(at) = at.get("driver")
        && let Some(driver) = report.string(&at)
    {
        if driver != "local" && !driver.is_empty() {
            report.unsupported(&at, format!("the volume driver `{driver}`: only `local`"));
        }
        volume.driver = Some(driver).filter(|driver| driver == "local");
    }
    if let Some(at) = at.get("labels") {
        volume.labels = labels(&at, report);
    }
    if let Some(at) = at.get("driver_opts") {
        volume.driver_opts = report.options(&at);
        check_options(&at, &volume, context);
    }
    volume
}

fn check_options(at: &Cursor<'_>, volume: &Volume, context: &mut Context<'_>) {
    let option = |key: &str| volume.driver_opts.get(key).map(String::as_str).unwrap_or_default();
    let (kind, device) = (option("type"), option("device"));
    let is_bind = option("o").split(',').any(|option| {
        matches!(option.trim(), "bind" | "rbind" | "move" | "remount")
            || option.trim().starts_with("x-")
    });
    let report = &mut context.report;
    if !volume.driver_opts.is_empty() && (kind.is_empty() || device.is_empty()) {
        report.invalid(at, "needs `type` and `device` together");
    }
    if is_bind || matches!(kind, "none" | "bind") {
        let place = at.get("device").unwrap_or_else(|| at.clone());
        if let Some(why) = bind_refusal(context.policy, Path::new(device)) {
            report.not_permitted(&place, format!("a bind mount: {why}"));
        }
    } else if !matches!(kind, "" | "tmpfs" | "nfs" | "nfs4") {
        let message = format!(
            "a volume of type `{kind}` reaches the device's disks: only tmpfs, nfs and nfs4"
        );
        report.not_permitted(&at.get("type").unwrap_or_else(|| at.clone()), message);
    }
}
