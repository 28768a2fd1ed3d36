//! `volumes:` and `tmpfs:` of a service.

use super::context::Context;
use super::cursor::Cursor;
use super::model::{Mount, MountSource};
use super::names::is_key;
use super::policy::bind_refusal;
use super::problems::Report;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const PROPAGATIONS: &[&str] = &["rprivate", "private", "rshared", "shared", "rslave", "slave"];

/// `volumes:` of a service. Of two entries with the same target the later wins, as in compose.
pub(super) fn mounts(at: &Cursor<'_>, context: &mut Context<'_>) -> Vec<Mount> {
    let mut out: Vec<Mount> = Vec::new();
    for item in context.report.list(at) {
        let mount = if item.is_map() { long(&item, context) } else { short(&item, context) };
        let Some(mount) = mount else { continue };
        match out.iter_mut().find(|other| other.target == mount.target) {
            Some(other) => *other = mount,
            None => out.push(mount),
        }
    }
    out
}

/// An absolute path in the container, without `.`, `..` and double slashes.
pub(super) fn container_path(at: &Cursor<'_>, text: &str, report: &mut Report) -> Option<String> {
    if !text.starts_with('/') || text.contains('\0') {
        report.invalid(at, format!("`{text}` must be an absolute path in the container"));
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        report.invalid(at, "cannot be the root directory");
        return None;
    }
    Some(format!("/{}", parts.join("/")))
}

/// `[source:]target[:options]`.
fn short(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Mount> {
    let text = context.report.text(at)?;
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 3 || parts.iter().any(|part| part.is_empty()) {
        context.report.invalid(at, format!("`{text}` is not `source:target[:options]`"));
        return None;
    }
    let (source, target, options) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, options] => (Some(*source), *target, *options),
        _ => return None,
    };
    if source.is_some_and(|source| {
        source.len() == 1 && source.starts_with(|c: char| c.is_ascii_alphabetic())
    }) {
        let message = "a source of one letter is read as a Windows drive: use the long form";
        context.report.invalid(at, message);
        return None;
    }
    let target = container_path(at, target, &mut context.report)?;
    let mut mount =
        Mount { source: MountSource::Anonymous, target, read_only: false, short_form: true };
    let mut no_copy = false;
    let mut propagation = None;
    let mut selinux = None;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => mount.read_only = true,
            "rw" => mount.read_only = false,
            "nocopy" => no_copy = true,
            "z" | "Z" => selinux = Some(option.to_owned()),
            option if PROPAGATIONS.contains(&option) => propagation = Some(option.to_owned()),
            _ => context.report.unsupported(at, format!("the mount option `{option}`: remove it")),
        }
    }
    let Some(source) = source else { return Some(mount) };
    if source.starts_with(['.', '/', '~', '\\']) {
        let path = bind_source(at, source, context)?;
        mount.source = MountSource::Bind { path, propagation, create_host_path: true, selinux };
    } else {
        if propagation.is_some() || selinux.is_some() {
            context.report.unsupported(at, "bind options on a named volume: remove them");
        }
        mount.source = MountSource::Volume { key: volume_key(at, source, context)?, no_copy };
    }
    Some(mount)
}

/// A host path that policy permits.
fn bind_source(at: &Cursor<'_>, source: &str, context: &mut Context<'_>) -> Option<PathBuf> {
    if !source.starts_with('/') {
        context.report.not_permitted(
            at,
            format!(
                "`{source}` is relative: a bind mount cannot come from the archive; \
                 use `configs`, a named volume, or put the files into the image"
            ),
        );
        return None;
    }
    let path = PathBuf::from(source);
    if let Some(why) = bind_refusal(context.policy, &path) {
        context.report.not_permitted(at, why);
        return None;
    }
    Some(tidy(&path))
}

/// The same path without `.`, double and trailing slashes.
fn tidy(path: &Path) -> PathBuf {
    path.components().collect()
}

fn volume_key(at: &Cursor<'_>, key: &str, context: &mut Context<'_>) -> Option<String> {
    if !is_key(key) {
        context.report.invalid(at, format!("`{key}` is not the name of a volume"));
        return None;
    }
    if !context.declared.volumes.contains_key(key) {
        let message = format!("the volume `{key}` is not declared under the top-level `volumes`");
        context.report.invalid(at, message);
        return None;
    }
    Some(key.to_owned())
}

fn long(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Mount> {
    let report = &mut context.report;
    let Some(kind) = at.get("type") else {
        report.invalid(at, "needs `type`: `volume`, `bind` or `tmpfs`");
        return None;
    };
    let kind_text = report.string(&kind)?;
    let Some(target) = at.get("target") else {
        report.invalid(at, "needs `target`, the path in the container");
        return None;
    };
    let target_text = report.text(&target)?;
    let target = container_path(&target, &target_text, report);
    let read_only = at.get("read_only").and_then(|at| report.boolean(&at)).unwrap_or(false);
    if let Some(at) = at.get("consistency") {
        report.string(&at);
    }
    let source_at = at.get("source");
    let source_text = source_at.as_ref().and_then(|at| report.string(at));
    for (section, owner) in [("volume", "volume"), ("bind", "bind"), ("tmpfs", "tmpfs")] {
        if owner != kind_text
            && let Some(at) = at.get(section)
        {
            report.invalid(&at, format!("does not belong to a mount of type `{kind_text}`"));
        }
    }
    let source = match kind_text.as_str() {
        "volume" => {
            let no_copy = at
                .get("volume")
                .and_then(|at| at.get("nocopy"))
                .and_then(|at| report.boolean(&at))
                .unwrap_or(false);
            match (source_at, source_text) {
                (Some(at), Some(key)) if !key.is_empty() => {
                    MountSource::Volume { key: volume_key(&at, &key, context)?, no_copy }
                }
                _ => MountSource::Anonymous,
            }
        }
        "bind" => {
            let (Some(source_at), Some(source)) = (source_at, source_text) else {
                report.invalid(at, "needs `source`, the host path");
                return None;
            };
            bind_options(at.get("bind"), &source_at, &source, context)?
        }
        "tmpfs" => {
            if let Some(at) = source_at {
                report.invalid(&at, "a tmpfs has no source");
            }
            tmpfs_options(at.get("tmpfs"), report)
        }
        other => {
            report.unsupported(&kind, format!("mounts of type `{other}`"));
            return None;
        }
    };
    Some(Mount { source, target: target?, read_only, short_form: false })
}

fn bind_options(
    options: Option<Cursor<'_>>,
    source_at: &Cursor<'_>,
    source: &str,
    context: &mut Context<'_>,
) -> Option<MountSource> {
    let report = &mut context.report;
    let mut propagation = None;
    let mut create_host_path = false;
    let mut selinux = None;
    if let Some(options) = options {
        report.map(&options);
        if let Some(at) = options.get("propagation")
            && let Some(text) = report.string(&at)
        {
            if PROPAGATIONS.contains(&text.as_str()) {
                propagation = Some(text);
            } else {
                report.invalid(&at, format!("`{text}` is not one of {}", PROPAGATIONS.join(", ")));
            }
        }
        if let Some(at) = options.get("create_host_path") {
            create_host_path = report.boolean(&at).unwrap_or(false);
        }
        if let Some(at) = options.get("selinux")
            && let Some(text) = report.string(&at)
        {
            if matches!(text.as_str(), "z" | "Z") {
                selinux = Some(text);
            } else {
                report.invalid(&at, format!("`{text}` is not `z` or `Z`"));
            }
        }
    }
    let path = bind_source(source_at, source, context)?;
    Some(MountSource::Bind { path, propagation, create_host_path, selinux })
}

fn tmpfs_options(options: Option<Cursor<'_>>, report: &mut Report) -> MountSource {
    let (mut size_bytes, mut mode) = (None, None);
    if let Some(options) = options {
        report.map(&options);
        size_bytes = options.get("size").and_then(|at| report.size_bytes(&at));
        mode = options
            .get("mode")
            .and_then(|at| report.integer(&at, 0..=0o7777))
            .and_then(|mode| u32::try_from(mode).ok());
    }
    MountSource::Tmpfs { size_bytes, mode }
}

/// `tmpfs:` of a service: `path[:options]`.
pub(super) fn tmpfs(at: &Cursor<'_>, report: &mut Report) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for text in report.string_or_list(at) {
        let (path, options) = text.split_once(':').unwrap_or((&text, ""));
        if let Some(path) = container_path(at, path, report) {
            out.insert(path, options.to_owned());
        }
    }
    out
}
