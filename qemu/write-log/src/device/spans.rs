//! The log cut at its flushes: between two of them a disk may have any part of what was written.
//!
//! Which spans the store is looked at in is a fixed rule, so that two runs over one log look at the same: every span
//! that touches the store's files, the two after it that write to the partition (ext4's commit and what follows), and of
//! the others so many, evenly spaced.

use crate::disk::{Piece, Place, SECTOR_BYTES, pieces_within};
use crate::error::ReplayError;
use crate::log::{Entry, Log};
use std::ops::Range;

/// What a file of the store begins with.
const FILE: &[u8] = b"margo-state ";
/// Names in its directory; ext4 puts them at multiples of four bytes, in the directory as in the journal.
const NAMES: [&[u8]; 2] = [b"state-a", b"state-b"];
const NAME_STEP: usize = 4;
/// Spans after one that touches the store: the journal's commit is a span of its own, and decides.
const AFTER: usize = 2;

/// From one flush to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Numbers of the log's entries.
    pub entries: Range<usize>,
    /// Something was written to the data partition.
    pub has_data: bool,
    /// The store is touched here, or was just before.
    pub is_of_store: bool,
    /// The store is looked at here.
    pub is_judged: bool,
}

/// All spans with a write. `other` is how many of those that have nothing to do with the store are looked at.
///
/// # Errors
/// [`ReplayError::Format`] when the log ends early.
pub fn spans(
    log: &Log,
    entries: &[Entry],
    data: Place,
    other: usize,
) -> Result<Vec<Span>, ReplayError> {
    let mut spans = Vec::new();
    let mut from = 0;
    let mut after = 0_usize;
    for (index, entry) in entries.iter().enumerate() {
        let is_last = index.saturating_add(1) == entries.len();
        if !entry.flush && !is_last {
            continue;
        }
        let to = if entry.flush { index } else { index.saturating_add(1) };
        let written = entries.get(from..to).unwrap_or_default();
        if written.iter().any(|entry| entry.size_bytes > 0) {
            let pieces: Vec<Piece> =
                written.iter().flat_map(|entry| pieces_within(entry, data)).collect();
            let has_data = !pieces.is_empty();
            if touches_store(log, &pieces)? {
                after = AFTER.saturating_add(1);
            }
            let is_of_store = has_data && after > 0;
            after = after.saturating_sub(usize::from(has_data));
            let span = Span { entries: from..to, has_data, is_of_store, is_judged: is_of_store };
            spans.push(span);
        }
        // A flush that carries data is written after what it flushes.
        from = to;
    }
    choose(&mut spans, other);
    Ok(spans)
}

fn touches_store(log: &Log, pieces: &[Piece]) -> Result<bool, ReplayError> {
    for piece in pieces {
        if is_of_store(&piece.bytes(log)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_of_store(sector: &[u8; SECTOR_BYTES]) -> bool {
    let mut at = sector.as_slice();
    if at.starts_with(FILE) {
        return true;
    }
    while let Some(rest) = at.get(NAME_STEP..) {
        if NAMES.iter().any(|name| at.starts_with(name)) {
            return true;
        }
        at = rest;
    }
    false
}

/// Marks `other` of the spans that do not touch the store, evenly spaced.
fn choose(spans: &mut [Span], other: usize) {
    let others: Vec<&mut Span> =
        spans.iter_mut().filter(|span| span.has_data && !span.is_of_store).collect();
    if other == 0 || others.is_empty() {
        return;
    }
    let step = others.len().div_ceil(other);
    for span in others.into_iter().step_by(step) {
        span.is_judged = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(is_of_store: bool) -> Span {
        Span { entries: 0..1, has_data: true, is_of_store, is_judged: is_of_store }
    }

    #[test]
    fn the_store_is_known_by_its_files_and_by_their_names() {
        let sector = |at: usize, text: &[u8]| {
            let mut sector = [0; SECTOR_BYTES];
            sector[at..at + text.len()].copy_from_slice(text);
            sector
        };
        assert!(is_of_store(&sector(0, b"margo-state 1 schema=1")));
        assert!(is_of_store(&sector(8, b"state-a")));
        assert!(is_of_store(&sector(504, b"state-b")));
        assert!(
            !is_of_store(&sector(4, b"margo-state 1")),
            "a file begins where its first sector does"
        );
        assert!(!is_of_store(&sector(9, b"state-a")));
        assert!(!is_of_store(&sector(0, b"")));
    }

    #[test]
    fn of_the_others_so_many_are_chosen_evenly() {
        let mut spans: Vec<Span> = (0..20).map(|number| span(number == 3)).collect();
        choose(&mut spans, 5);
        let judged: Vec<usize> = (0..20).filter(|number| spans[*number].is_judged).collect();
        assert_eq!(judged, [0, 3, 5, 9, 13, 17]);
        let mut spans = vec![span(false); 3];
        choose(&mut spans, 0);
        assert!(spans.iter().all(|span| !span.is_judged));
        choose(&mut spans, 100);
        assert!(spans.iter().all(|span| span.is_judged));
    }
}
