//! `configs` and `secrets`, and finding files in the archive.
//!
//! Config files and env files come from inside the archive. Secrets' files must not (Margo: an archive carries no
//! secrets): they are host paths below a bind root, mounted read-only, which is what compose does with them.

use super::context::Context;
use super::cursor::Cursor;
use super::model::{FileMount, Mount, MountSource};
use super::mounts::container_path;
use super::names::is_key;
use super::policy::bind_refusal;
use super::problems::Report;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

/// Where a config's content comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ConfigSource {
    /// A file of the archive, relative to its top directory.
    File(PathBuf),
    /// Written in the compose file.
    Content(String),
}

/// A path of the archive, relative to its top, after checking that it exists and stays inside.
///
/// # Errors
/// A text for a person.
pub(super) fn inside_archive(base: &Path, text: &str) -> Result<Option<PathBuf>, String> {
    let mut relative = PathBuf::new();
    for component in Path::new(text).components() {
        match component {
            Component::CurDir => {}
            Component::Normal(part) => relative.push(part),
            _ => {
                return Err(format!(
                    "`{text}` must be a relative path that stays inside the archive"
                ));
            }
        }
    }
    if relative.as_os_str().is_empty() || text.contains('\0') {
        return Err(format!("`{text}` names no file"));
    }
    let full = base.join(&relative);
    let (Ok(base), Ok(full)) = (base.canonicalize(), full.canonicalize()) else {
        return Ok(None);
    };
    if !full.starts_with(base) {
        return Err(format!("`{text}` leads out of the archive"));
    }
    Ok(Some(relative))
}

/// Reads a text file of the archive, of at most `bytes_max` bytes. `None` if there is none.
///
/// # Errors
/// A text for a person.
pub(super) fn read_archive_file(
    base: &Path,
    text: &str,
    bytes_max: usize,
) -> Result<Option<String>, String> {
    let Some(relative) = inside_archive(base, text)? else { return Ok(None) };
    let full = base.join(relative);
    if !full.is_file() {
        return Err(format!("`{text}` is not a file"));
    }
    let file = std::fs::File::open(&full).map_err(|why| format!("`{text}`: {why}"))?;
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    let mut content = Vec::new();
    file.take(limit).read_to_end(&mut content).map_err(|why| format!("`{text}`: {why}"))?;
    if content.len() > bytes_max {
        return Err(format!("`{text}` is longer than {bytes_max} bytes"));
    }
    String::from_utf8(content).map(Some).map_err(|_| format!("`{text}` is not UTF-8 text"))
}

/// A top-level config.
pub(super) fn config_source(
    at: &Cursor<'_>,
    base: &Path,
    report: &mut Report,
) -> Option<ConfigSource> {
    report.map(at);
    name_of_file_object(at, report);
    match (at.get("file"), at.get("content")) {
        (Some(at), None) => {
            let text = report.text(&at)?;
            if text.starts_with(['/', '~']) {
                report.not_permitted(
                    &at,
                    format!("`{text}`: a config's file must be in the archive"),
                );
                return None;
            }
            match inside_archive(base, &text) {
                Ok(Some(path)) => Some(ConfigSource::File(path)),
                Ok(None) => {
                    report.invalid(&at, format!("the archive has no file `{text}`"));
                    None
                }
                Err(why) => {
                    report.invalid(&at, why);
                    None
                }
            }
        }
        (None, Some(at)) => report.string(&at).map(ConfigSource::Content),
        (Some(_), Some(at)) => {
            report.invalid(&at, "`file` and `content` exclude each other: remove one");
            None
        }
        (None, None) => {
            if !has_refused_source(at) {
                report.invalid(at, "needs `file` or `content`");
            }
            None
        }
    }
}

/// A top-level secret.
pub(super) fn secret_source(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<PathBuf> {
    let report = &mut context.report;
    report.map(at);
    name_of_file_object(at, report);
    let Some(at) = at.get("file") else {
        if !has_refused_source(at) {
            report.invalid(at, "needs `file`, an absolute path on the device");
        }
        return None;
    };
    let text = report.text(&at)?;
    if !text.starts_with('/') {
        report.not_permitted(
            &at,
            format!(
                "`{text}`: an archive may not carry secrets: \
                 give an absolute path that is provisioned on the device"
            ),
        );
        return None;
    }
    if let Some(why) = bind_refusal(context.policy, Path::new(&text)) {
        report.not_permitted(&at, why);
        return None;
    }
    Some(PathBuf::from(text))
}

/// Sources that the table of keys refuses with a message of their own.
fn has_refused_source(at: &Cursor<'_>) -> bool {
    ["environment", "external", "driver"].iter().any(|key| at.get(key).is_some())
}

fn name_of_file_object(at: &Cursor<'_>, report: &mut Report) {
    if let Some(at) = at.get("name") {
        report.text(&at);
    }
    if let Some(at) = at.get("labels") {
        report.key_values(&at);
    }
}

/// One entry of a service's `configs` or `secrets`.
struct Use<'a> {
    source: String,
    target: Option<Cursor<'a>>,
    mode: Option<u32>,
    /// `uid`, `gid` or `mode`, the first that is there.
    ownership: Option<Cursor<'a>>,
    at: Cursor<'a>,
}

fn uses<'a>(at: &Cursor<'a>, report: &mut Report) -> Vec<Use<'a>> {
    let mut out = Vec::new();
    for item in report.list(at) {
        if !item.is_map() {
            if let Some(source) = report.text(&item) {
                out.push(Use { source, target: None, mode: None, ownership: None, at: item });
            }
            continue;
        }
        let Some(source_at) = item.get("source") else {
            report.invalid(&item, "needs `source`");
            continue;
        };
        let Some(source) = report.text(&source_at) else { continue };
        for key in ["uid", "gid"] {
            if let Some(at) = item.get(key) {
                report.string(&at);
            }
        }
        let mode = item
            .get("mode")
            .and_then(|at| report.integer(&at, 0..=0o7777))
            .and_then(|mode| u32::try_from(mode).ok());
        let ownership = ["uid", "gid", "mode"].iter().find_map(|key| item.get(key));
        out.push(Use { source, target: item.get("target"), mode, ownership, at: item });
    }
    out
}

fn target_of(entry: &Use<'_>, directory: &str, report: &mut Report) -> Option<String> {
    let Some(at) = &entry.target else {
        return is_key(&entry.source).then(|| format!("{directory}/{}", entry.source));
    };
    let text = report.text(at)?;
    let text = if text.starts_with('/') { text } else { format!("{directory}/{text}") };
    container_path(at, &text, report)
}

/// `configs:` of a service.
pub(super) fn configs(at: &Cursor<'_>, context: &mut Context<'_>) -> Vec<FileMount> {
    let mut out: Vec<FileMount> = Vec::new();
    for entry in uses(at, &mut context.report) {
        let report = &mut context.report;
        let Some(declared) = context.declared.configs.get(&entry.source) else {
            let name = &entry.source;
            let message =
                format!("the config `{name}` is not declared under the top-level `configs`");
            report.invalid(&entry.at, message);
            continue;
        };
        let Some(target) = target_of(&entry, "", report) else { continue };
        let Some(source) = declared else { continue };
        let mount = match source {
            ConfigSource::File(path) => {
                if let Some(at) = &entry.ownership {
                    report.warn(at, "no effect on a config from a file, as in compose");
                }
                FileMount { archive_path: path.clone(), target, ..Default::default() }
            }
            ConfigSource::Content(content) => {
                if let Some(at) = &entry.ownership
                    && !at.path.ends_with(".mode")
                {
                    report.unsupported(at, "the owner of a config with `content` is root");
                }
                FileMount {
                    content: Some(content.clone()),
                    mode: entry.mode,
                    target,
                    ..Default::default()
                }
            }
        };
        match out.iter_mut().find(|other| other.target == mount.target) {
            Some(other) => *other = mount,
            None => out.push(mount),
        }
    }
    out
}

/// `secrets:` of a service, as read-only bind mounts.
pub(super) fn secrets(at: &Cursor<'_>, context: &mut Context<'_>) -> Vec<Mount> {
    let mut out: Vec<Mount> = Vec::new();
    for entry in uses(at, &mut context.report) {
        let report = &mut context.report;
        let Some(declared) = context.declared.secrets.get(&entry.source) else {
            let name = &entry.source;
            let message =
                format!("the secret `{name}` is not declared under the top-level `secrets`");
            report.invalid(&entry.at, message);
            continue;
        };
        if let Some(at) = &entry.ownership {
            report.warn(at, "no effect on a secret from a file, as in compose");
        }
        let Some(target) = target_of(&entry, "/run/secrets", report) else { continue };
        let Some(path) = declared else { continue };
        let source = MountSource::Bind {
            path: path.clone(),
            propagation: None,
            create_host_path: false,
            selinux: None,
        };
        let mount = Mount { source, target, read_only: true, short_form: false };
        match out.iter_mut().find(|other| other.target == mount.target) {
            Some(other) => *other = mount,
            None => out.push(mount),
        }
    }
    out
}
