//! Walks a gzip-compressed tar, entry by entry, within limits.
//!
//! Long names (GNU `L`/`K`, pax `x`) are resolved here rather than by the tar crate, because that would read
//! them into memory whole, and because two tools must not see two different names in one archive.

use super::error::{ArchiveError, Rule};
use super::limits::{ArchiveLimits, BoundedReader};
use super::path::EntryPath;
use flate2::read::MultiGzDecoder;
use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;
use tar::{EntryType, Header, PaxExtensions};

/// Largest extension header that is read, in bytes.
const EXTENSION_BYTES_MAX: u64 = 16 * 1024;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file.
    File {
        /// Content length.
        size_bytes: u64,
        /// Any execute bit was set.
        executable: bool,
    },
    /// A directory.
    Directory,
    /// A symbolic link and its target as written.
    Symlink(String),
    /// A hard link to an earlier entry.
    HardLink(EntryPath),
}

/// One entry that passed the checks that need no other entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Where it goes.
    pub(crate) path: EntryPath,
    /// What it is.
    pub(crate) kind: Kind,
}

/// Names from extension headers, waiting for the entry they belong to.
#[derive(Default)]
struct Pending {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

/// Calls `visit` for every entry with its content.
///
/// # Errors
/// The first broken rule, an unreadable archive, or whatever `visit` returns.
pub(crate) fn scan<R: Read>(
    tar_gz: R,
    limits: &ArchiveLimits,
    visit: &mut dyn FnMut(Member, &mut dyn Read) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let exceeded = Rc::new(Cell::new(false));
    let result = walk(tar_gz, limits, &exceeded, visit);
    if exceeded.get() && matches!(result, Err(ArchiveError::Read { .. })) {
        return Err(ArchiveError::layout(Rule::TooLarge));
    }
    result
}

fn walk<R: Read>(
    tar_gz: R,
    limits: &ArchiveLimits,
    exceeded: &Rc<Cell<bool>>,
    visit: &mut dyn FnMut(Member, &mut dyn Read) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let plain = MultiGzDecoder::new(tar_gz);
    let mut archive =
        tar::Archive::new(BoundedReader::new(plain, limits.total_size_bytes_max, exceeded.clone()));
    let mut pending = Pending::default();
    let mut count = 0_usize;
    for entry in archive.entries().map_err(read_error)?.raw(true) {
        let mut entry = entry.map_err(read_error)?;
        count = count.saturating_add(1);
        if count > limits.entries_max {
            return Err(ArchiveError::layout(Rule::TooManyEntries));
        }
        let header = entry.header().clone();
        let size_bytes = entry.size();
        if read_extension(&header, size_bytes, &mut entry, &mut pending)? {
            continue;
        }
        let member = member(&header, size_bytes, std::mem::take(&mut pending), limits)?;
        visit(member, &mut entry)?;
    }
    drain(&mut archive.into_inner())
}

/// After the end only zero padding may follow; reading it also makes gzip check its checksum.
fn drain(rest: &mut impl Read) -> Result<(), ArchiveError> {
    let mut buffer = [0_u8; 4096];
    loop {
        let count = rest.read(&mut buffer).map_err(read_error)?;
        if count == 0 {
            return Ok(());
        }
        if buffer.iter().take(count).any(|byte| *byte != 0) {
            return Err(ArchiveError::layout(Rule::TrailingData));
        }
    }
}

/// Consumes an extension header; `false` means the entry is a real one.
fn read_extension(
    header: &Header,
    size_bytes: u64,
    content: &mut dyn Read,
    pending: &mut Pending,
) -> Result<bool, ArchiveError> {
    let kind = header.entry_type();
    let is_extension = matches!(
        kind,
        EntryType::GNULongName
            | EntryType::GNULongLink
            | EntryType::XHeader
            | EntryType::XGlobalHeader
    );
    if !is_extension {
        return Ok(false);
    }
    let refuse = || ArchiveError::entry(&header.path_bytes(), Rule::BadExtension);
    if size_bytes > EXTENSION_BYTES_MAX {
        return Err(refuse());
    }
    let mut data = Vec::new();
    content.read_to_end(&mut data).map_err(read_error)?;
    match kind {
        EntryType::GNULongName => set_once(&mut pending.path, without_nul(data)),
        EntryType::GNULongLink => set_once(&mut pending.link, without_nul(data)),
        EntryType::XHeader => read_pax(&data, pending),
        // `git archive` writes a global comment; anything that would rename entries is refused.
        _ => {
            let mut ignored = Pending::default();
            read_pax(&data, &mut ignored)
                .filter(|()| ignored.path.is_none() && ignored.link.is_none())
        }
    }
    .ok_or_else(refuse)
    .map(|()| true)
}

fn without_nul(mut data: Vec<u8>) -> Vec<u8> {
    if data.last() == Some(&0) {
        data.pop();
    }
    data
}

/// Said twice is ambiguous.
fn set_once(slot: &mut Option<Vec<u8>>, value: Vec<u8>) -> Option<()> {
    if slot.is_some() {
        return None;
    }
    *slot = Some(value);
    Some(())
}

fn read_pax(data: &[u8], pending: &mut Pending) -> Option<()> {
    for extension in PaxExtensions::new(data) {
        let extension = extension.ok()?;
        let key = extension.key().ok()?;
        match key {
            "path" => set_once(&mut pending.path, extension.value_bytes().to_vec())?,
            "linkpath" => set_once(&mut pending.link, extension.value_bytes().to_vec())?,
            // A size here overrides the header's in some readers and not in others.
            "size" => return None,
            // Sparse files: the content would not be what is stored.
            key if key.starts_with("GNU.sparse") => return None,
            _ => {}
        }
    }
    Some(())
}

fn member(
    header: &Header,
    size_bytes: u64,
    pending: Pending,
    limits: &ArchiveLimits,
) -> Result<Member, ArchiveError> {
    let raw_path = pending.path.unwrap_or_else(|| header.path_bytes().into_owned());
    let refuse = |rule| Err(ArchiveError::entry(&raw_path, rule));
    let path = EntryPath::parse(&raw_path, limits)?;
    let link = pending.link.or_else(|| header.link_name_bytes().map(|raw| raw.into_owned()));
    let kind = match header.entry_type() {
        EntryType::Regular if raw_path.ends_with(b"/") => Kind::Directory,
        EntryType::Regular => {
            if size_bytes > limits.file_size_bytes_max {
                return refuse(Rule::FileTooLarge);
            }
            let executable = header.mode().unwrap_or(0) & 0o111 != 0;
            Kind::File { size_bytes, executable }
        }
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink | EntryType::Link => {
            let target = link.unwrap_or_default();
            if target.len() > limits.path_bytes_max {
                return refuse(Rule::NameTooLong);
            }
            if header.entry_type() == EntryType::Link {
                let target = EntryPath::parse(&target, limits)
                    .map_err(|_| ArchiveError::entry(&raw_path, Rule::HardLinkTarget))?;
                Kind::HardLink(target)
            } else {
                match String::from_utf8(target) {
                    Ok(target) => Kind::Symlink(target),
                    Err(_) => return refuse(Rule::BadName),
                }
            }
        }
        _ => return refuse(Rule::BadKind),
    };
    // Content behind a directory or link would be skipped by some readers and extracted by others.
    if !matches!(kind, Kind::File { .. }) && size_bytes != 0 {
        return refuse(Rule::BadKind);
    }
    if path.is_root() && kind != Kind::Directory {
        return refuse(Rule::BadName);
    }
    Ok(Member { path, kind })
}

pub(super) fn read_error(source: io::Error) -> ArchiveError {
    ArchiveError::Read { source }
}
