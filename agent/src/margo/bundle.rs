//! Takes a bundle apart: gzip tar whose root holds exactly the documents a manifest names.
//!
//! File names are not specified, so entries are matched by digest, one to one.

use super::http::Limits;
use crate::archive::scan::{Kind, scan};
use crate::archive::{ArchiveError, ArchiveLimits};
use crate::artifacts::digest;
use bytes::Bytes;
use state_machine::ids::Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

/// Why a bundle is not what the manifest promised.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Not a usable gzip tar.
    #[error("bundle archive")]
    Archive {
        /// What is wrong with it.
        #[source]
        source: ArchiveError,
    },
    /// A link, device, or a directory other than the root.
    #[error("bundle entry `{entry}` is not a file at the root")]
    NotAFile {
        /// Its name.
        entry: String,
    },
    /// A file that no deployment names, or one that is there twice.
    #[error("bundle entry `{entry}` ({digest}) is not named by the manifest, or is repeated")]
    Unexpected {
        /// Its name.
        entry: String,
        /// Its content.
        digest: Digest,
    },
    /// A document the manifest names is not in it.
    #[error("bundle lacks {digest}")]
    Missing {
        /// The first one missing.
        digest: Digest,
    },
}

/// The documents of a bundle, by digest: all of `wanted` and nothing else.
///
/// # Errors
/// Anything that is not exactly that, within the limits (I11).
pub fn unpack(
    bundle: &[u8],
    wanted: &BTreeSet<Digest>,
    limits: &Limits,
) -> Result<BTreeMap<Digest, Bytes>, BundleError> {
    let mut found = BTreeMap::new();
    let mut fault = None;
    let result = scan(bundle, &archive_limits(wanted.len(), limits), &mut |member, content| {
        if fault.is_none() {
            fault = take_entry(&member.path, &member.kind, content, wanted, &mut found)?;
        }
        Ok(())
    });
    result.map_err(|source| BundleError::Archive { source })?;
    if let Some(fault) = fault {
        return Err(fault);
    }
    match wanted.iter().find(|digest| !found.contains_key(*digest)) {
        Some(digest) => Err(BundleError::Missing { digest: digest.clone() }),
        None => Ok(found),
    }
}

fn archive_limits(count: usize, limits: &Limits) -> ArchiveLimits {
    ArchiveLimits {
        // Each file may have an extension header, and the root may be listed.
        entries_max: count.saturating_mul(3).saturating_add(4),
        total_size_bytes_max: limits.bundle_unpacked_bytes_max,
        file_size_bytes_max: limits.deployment_bytes_max,
        ..ArchiveLimits::default()
    }
}

fn take_entry(
    path: &crate::archive::EntryPath,
    kind: &Kind,
    content: &mut dyn Read,
    wanted: &BTreeSet<Digest>,
    found: &mut BTreeMap<Digest, Bytes>,
) -> Result<Option<BundleError>, ArchiveError> {
    if path.is_root() {
        return Ok(None);
    }
    let entry = path.to_string().escape_debug().take(160).collect();
    if path.components().len() != 1 || !matches!(kind, Kind::File { .. }) {
        return Ok(Some(BundleError::NotAFile { entry }));
    }
    let mut bytes = Vec::new();
    content.read_to_end(&mut bytes).map_err(|source| ArchiveError::Read { source })?;
    let digest = digest::of(&bytes);
    if !wanted.contains(&digest) || found.insert(digest.clone(), bytes.into()).is_some() {
        return Ok(Some(BundleError::Unexpected { entry, digest }));
    }
    Ok(None)
}
