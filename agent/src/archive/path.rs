//! Entry names as lists of plain components, and where a symbolic link really leads.

use super::error::{ArchiveError, Rule};
use super::limits::ArchiveLimits;
use std::collections::BTreeMap;
use std::fmt;

/// Longest single component Linux file systems take, in bytes.
const COMPONENT_BYTES_MAX: usize = 255;
/// Links followed while resolving one target, as in the kernel.
const LINK_HOPS_MAX: usize = 40;

/// A relative path without `.`, `..` or empty components. Empty means the archive's root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryPath(Vec<String>);

impl EntryPath {
    /// Reads a name from a tar header. A leading or inner `./` and doubled slashes are dropped.
    ///
    /// # Errors
    /// Absolute, climbing, unreadable or over-long names.
    pub(super) fn parse(raw: &[u8], limits: &ArchiveLimits) -> Result<Self, ArchiveError> {
        let refuse = |rule| Err(ArchiveError::entry(raw, rule));
        if raw.len() > limits.path_bytes_max {
            return refuse(Rule::NameTooLong);
        }
        let Ok(text) = std::str::from_utf8(raw) else { return refuse(Rule::BadName) };
        if text.is_empty() || text.chars().any(char::is_control) {
            return refuse(Rule::BadName);
        }
        if text.starts_with('/') {
            return refuse(Rule::AbsolutePath);
        }
        let mut components = Vec::new();
        for component in text.split('/') {
            match component {
                "" | "." => {}
                ".." => return refuse(Rule::ParentComponent),
                name if name.len() > COMPONENT_BYTES_MAX => return refuse(Rule::NameTooLong),
                name => components.push(name.to_owned()),
            }
        }
        if components.len() > limits.depth_max {
            return refuse(Rule::NameTooLong);
        }
        Ok(Self(components))
    }

    /// The archive's root.
    pub(super) fn root() -> Self {
        Self(Vec::new())
    }

    /// The components, outermost first.
    pub fn components(&self) -> &[String] {
        &self.0
    }

    /// True for the archive's root itself (`./`).
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The parents of this entry, outermost first, without the root.
    pub(super) fn ancestors(&self) -> impl Iterator<Item = Self> + '_ {
        (1..self.0.len()).map(|count| Self(self.0.iter().take(count).cloned().collect()))
    }
}

impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("/"))
    }
}

/// Follows `target` from the directory that holds `link`, through the archive's own links, and refuses as soon as
/// the walk stands above the top directory. A target that does not exist is harmless and accepted.
pub(super) fn check_link(
    link: &EntryPath,
    target: &str,
    links: &BTreeMap<EntryPath, String>,
) -> Result<(), Rule> {
    let mut at: Vec<String> = link.0.iter().take(link.0.len().saturating_sub(1)).cloned().collect();
    let top = link.0.first().cloned();
    // Components still to walk, next one last.
    let mut ahead: Vec<String> = Vec::new();
    push_target(&mut ahead, target)?;
    let mut hops = 0_usize;
    while let Some(component) = ahead.pop() {
        if component == ".." {
            at.pop();
            if at.is_empty() {
                return Err(Rule::LinkEscapes);
            }
            continue;
        }
        at.push(component);
        if at.first() != top.as_ref() {
            return Err(Rule::LinkEscapes);
        }
        if let Some(next) = links.get(&EntryPath(at.clone())) {
            hops = hops.saturating_add(1);
            if hops > LINK_HOPS_MAX {
                return Err(Rule::LinkLoop);
            }
            at.pop();
            push_target(&mut ahead, next)?;
        }
    }
    Ok(())
}

fn push_target(ahead: &mut Vec<String>, target: &str) -> Result<(), Rule> {
    if target.starts_with('/') {
        return Err(Rule::LinkEscapes);
    }
    if target.is_empty() || target.chars().any(char::is_control) {
        return Err(Rule::BadName);
    }
    let names = target.split('/').filter(|name| !name.is_empty() && *name != ".");
    ahead.extend(names.rev().map(str::to_owned));
    Ok(())
}
