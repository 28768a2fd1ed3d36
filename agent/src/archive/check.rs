//! The first pass: every rule that needs the whole archive (R157, R159).

use super::COMPOSE_FILE;
use super::error::{ArchiveError, Rule};
use super::limits::ArchiveLimits;
use super::path::{EntryPath, check_link};
use super::scan::{Kind, Member, scan};
use std::collections::BTreeMap;
use std::io::Read;

/// What an archive that passed every check will become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    top: String,
    entries: BTreeMap<EntryPath, Kind>,
}

impl Plan {
    /// Name of the single top-level directory; without meaning (R159).
    pub fn top_dir(&self) -> &str {
        &self.top
    }

    /// The regular files, for a person who wants to know what is inside.
    pub fn files(&self) -> impl Iterator<Item = &EntryPath> {
        self.entries.iter().filter(|(_, kind)| matches!(kind, Kind::File { .. })).map(|(p, _)| p)
    }

    pub(super) fn entries(&self) -> &BTreeMap<EntryPath, Kind> {
        &self.entries
    }
}

/// Reads the whole archive and checks it without writing anything.
///
/// # Errors
/// The first broken rule; the archive must then not be used.
pub fn check(tar_gz: impl Read, limits: &ArchiveLimits) -> Result<Plan, ArchiveError> {
    let mut entries = BTreeMap::new();
    scan(tar_gz, limits, &mut |member, _content| add(&mut entries, member))?;
    let top = single_top(&entries)?;
    let entries = with_parents(entries)?;
    check_links(&entries)?;
    check_compose_file(&top, &entries)?;
    Ok(Plan { top, entries })
}

fn add(entries: &mut BTreeMap<EntryPath, Kind>, member: Member) -> Result<(), ArchiveError> {
    let Member { path, kind } = member;
    if path.is_root() {
        return Ok(());
    }
    let refuse = |rule| Err(ArchiveError::entry(path.to_string().as_bytes(), rule));
    if let Kind::HardLink(target) = &kind
        && !matches!(entries.get(target), Some(Kind::File { .. }))
    {
        return refuse(Rule::HardLinkTarget);
    }
    if entries.contains_key(&path) {
        return refuse(Rule::Duplicate);
    }
    entries.insert(path, kind);
    Ok(())
}

fn single_top(entries: &BTreeMap<EntryPath, Kind>) -> Result<String, ArchiveError> {
    let mut tops = entries.keys().filter_map(|path| path.components().first());
    let Some(top) = tops.next() else { return Err(ArchiveError::layout(Rule::SeveralTops)) };
    if tops.any(|other| other != top) {
        return Err(ArchiveError::layout(Rule::SeveralTops));
    }
    Ok(top.clone())
}

/// Adds directories that no entry names, and refuses parents that are not directories: so no write ever
/// passes through a link of the archive.
fn with_parents(
    entries: BTreeMap<EntryPath, Kind>,
) -> Result<BTreeMap<EntryPath, Kind>, ArchiveError> {
    let mut all = entries.clone();
    for (path, kind) in entries {
        let refuse = |rule| Err(ArchiveError::entry(path.to_string().as_bytes(), rule));
        if path.components().len() == 1 && kind != Kind::Directory {
            return refuse(Rule::TopNotDirectory);
        }
        for parent in path.ancestors() {
            if *all.entry(parent).or_insert(Kind::Directory) != Kind::Directory {
                return refuse(Rule::ParentNotDirectory);
            }
        }
    }
    Ok(all)
}

fn check_links(entries: &BTreeMap<EntryPath, Kind>) -> Result<(), ArchiveError> {
    let links: BTreeMap<EntryPath, String> = entries
        .iter()
        .filter_map(|(path, kind)| match kind {
            Kind::Symlink(target) => Some((path.clone(), target.clone())),
            Kind::File { .. } | Kind::Directory | Kind::HardLink(_) => None,
        })
        .collect();
    for (path, target) in &links {
        check_link(path, target, &links)
            .map_err(|rule| ArchiveError::entry(path.to_string().as_bytes(), rule))?;
    }
    Ok(())
}

fn check_compose_file(top: &str, entries: &BTreeMap<EntryPath, Kind>) -> Result<(), ArchiveError> {
    let found = entries.iter().any(|(path, kind)| {
        path.components().len() == 2
            && path.components().first().is_some_and(|first| first == top)
            && path.components().last().is_some_and(|last| last == COMPOSE_FILE)
            && matches!(kind, Kind::File { .. } | Kind::HardLink(_))
    });
    if found { Ok(()) } else { Err(ArchiveError::layout(Rule::NoComposeFile)) }
}
