//! The agent's store on the data partition: read in every state that is looked at, and never older than what a flush
//! had settled.

use super::figures::{FAULTS_SHOWN, StoreOfDeviceFigures};
use super::spans::Span;
use crate::disk::{Disk, Piece};
use crate::error::ReplayError;
use crate::states::{Plan, Random, subsets};
use crate::store_judge::{Found, judge};
use crate::tools::Tools;
use std::collections::HashMap;
use std::path::Path;

/// What is known from the spans before.
#[derive(Debug)]
pub struct StoreOfDevice {
    inside: &'static str,
    random: Random,
    /// What was found in the states so far, by their names.
    known: HashMap<u64, Found>,
    /// The generation that a flush settled: no later state may have an older one.
    settled: Option<u64>,
}

impl StoreOfDevice {
    /// A store in the directory `inside` of the file system.
    #[must_use]
    pub fn new(inside: &'static str, random: Random) -> Self {
        Self { inside, random, known: HashMap::new(), settled: None }
    }

    /// States of one span; the last of them is the one its flush settles.
    ///
    /// # Errors
    /// [`ReplayError`]
    pub fn span(
        &mut self,
        tools: &mut Tools,
        data: &mut Disk<'_>,
        pending: &[Piece],
        (span, plan): (&Span, &Plan),
        dir: &Path,
        figures: &mut StoreOfDeviceFigures,
    ) -> Result<(), ReplayError> {
        let plan =
            if span.is_of_store { *plan } else { Plan { prefixes_max: 1, random: 1, ..*plan } };
        let (mut subsets, is_all) = subsets(pending.len(), &plan, &mut self.random);
        // Judged last: what is found then is settled.
        let whole: Vec<usize> = (0..pending.len()).collect();
        subsets.retain(|subset| *subset != whole);
        subsets.push(whole);
        figures.spans_judged += 1;
        figures.spans_complete += usize::from(is_all);
        let mut at_flush = None;
        for subset in subsets {
            let pieces: Vec<Piece> =
                subset.iter().filter_map(|index| pending.get(*index).copied()).collect();
            let (name, undo) = data.enter(&pieces)?;
            figures.states += 1;
            let found = match self.known.get(&name) {
                Some(known) => *known,
                None => {
                    figures.distinct += 1;
                    let found = judge(tools, data.path(), self.inside, dir, &mut figures.found)?;
                    self.known.insert(name, found);
                    found
                }
            };
            self.count(found, span, figures);
            at_flush = generation(found);
            data.leave(undo)?;
        }
        self.settled = self.settled.max(at_flush);
        Ok(())
    }

    fn count(&self, found: Found, span: &Span, figures: &mut StoreOfDeviceFigures) {
        let is_older = found != Found::Unreadable && generation(found) < self.settled;
        figures.forgotten += usize::from(is_older);
        let what = match found {
            Found::Unreadable => "no file of the store can be read".to_owned(),
            Found::Healed(_) => "a file of the store is damaged".to_owned(),
            Found::Fresh | Found::Intact(_) if is_older => {
                format!("the store is older than what was flushed: {found:?}, {:?}", self.settled)
            }
            Found::Fresh | Found::Intact(_) => return,
        };
        if figures.faults.len() < FAULTS_SHOWN {
            figures.faults.push(format!("entries {:?}: {what}", span.entries));
        }
    }
}

const fn generation(found: Found) -> Option<u64> {
    match found {
        Found::Healed(generation) | Found::Intact(generation) => Some(generation),
        Found::Fresh | Found::Unreadable => None,
    }
}
