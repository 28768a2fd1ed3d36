//! A whole log: every epoch between two flushes, every state looked at once, every state judged.

use crate::disk::{Disk, Piece};
use crate::env_judge::{self, EnvFigures, Kind};
use crate::error::ReplayError;
use crate::log::Log;
use crate::states::{Plan, Random, subsets};
use crate::store_judge::{self, StoreFigures};
use crate::tools::Tools;
use serde::Serialize;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Who reads the partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reader {
    /// GRUB, a boot environment.
    Env(Kind),
    /// The agent, its store in this directory of an ext4 file system.
    Store(String),
}

/// What is replayed.
#[derive(Debug, Clone)]
pub struct Job {
    /// The write log.
    pub log: PathBuf,
    /// The disk as it was when the recording began.
    pub base: PathBuf,
    /// Where the partition begins, in bytes.
    pub offset: u64,
    /// Its size in bytes; to the end if `None`.
    pub size_bytes: Option<u64>,
    /// The command that runs image tools.
    pub tools: PathBuf,
    /// Who reads it.
    pub reader: Reader,
    /// How much is looked at.
    pub plan: Plan,
    /// Stop looking, and say so, after this many distinct states.
    pub distinct_max: usize,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Figures {
    /// Entries of the log that are flushes.
    pub flushes: usize,
    /// Sectors written to the partition.
    pub sectors: usize,
    /// Spans between flushes in which something was written, and how many of them were looked at completely.
    pub epochs: usize,
    /// See `epochs`.
    pub epochs_complete: usize,
    /// States made.
    pub states: usize,
    /// Of these the different ones, all judged.
    pub distinct: usize,
    /// States left out because of [`Job::distinct_max`].
    pub left_out: bool,
    /// Of a boot environment.
    pub env: Option<EnvFigures>,
    /// Of a store.
    pub store: Option<StoreFigures>,
}

/// Replays a log. `dir` is a scratch directory that the tools see.
///
/// # Errors
/// [`ReplayError`]
pub fn run(job: &Job, dir: &Path) -> Result<Figures, ReplayError> {
    let log = Log::open(&job.log)?;
    let disk = Disk::new(&log, &job.base, job.offset, job.size_bytes, &dir.join("partition"))?;
    let tools = Tools::start(&job.tools, dir)?;
    let figures = match &job.reader {
        Reader::Env(_) => Figures { env: Some(EnvFigures::default()), ..Figures::default() },
        Reader::Store(_) => Figures { store: Some(StoreFigures::default()), ..Figures::default() },
    };
    let random = Random::new(job.plan.seed);
    let seen = HashSet::new();
    let mut replay = Replay { job, dir, disk, tools, figures, random, seen, pending: Vec::new() };
    replay.all(&log)?;
    Ok(replay.figures)
}

struct Replay<'a> {
    job: &'a Job,
    dir: &'a Path,
    disk: Disk<'a>,
    tools: Tools,
    figures: Figures,
    random: Random,
    seen: HashSet<u64>,
    /// Written and not yet flushed.
    pending: Vec<Piece>,
}

impl Replay<'_> {
    fn all(&mut self, log: &Log) -> Result<(), ReplayError> {
        for entry in log.entries()? {
            if entry.flush {
                self.figures.flushes += 1;
                self.epoch()?;
                let pending = std::mem::take(&mut self.pending);
                self.disk.settle(&pending)?;
            }
            let pieces = self.disk.pieces(&entry);
            self.figures.sectors += pieces.len();
            if entry.fua && !pieces.is_empty() {
                // The cut may come while it is written, and after it, with all else still in the cache.
                self.pending.extend(&pieces);
                self.epoch()?;
                let written: HashSet<u64> = pieces.iter().map(|piece| piece.sector).collect();
                self.pending.retain(|piece| !written.contains(&piece.sector));
                self.disk.settle(&pieces)?;
            } else {
                self.pending.extend(pieces);
            }
        }
        self.epoch()
    }

    /// Every state a cut can leave between the last flush and now.
    fn epoch(&mut self) -> Result<(), ReplayError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let (subsets, complete) = subsets(self.pending.len(), &self.job.plan, &mut self.random);
        self.figures.epochs += 1;
        self.figures.epochs_complete += usize::from(complete);
        for subset in subsets {
            let pieces: Vec<Piece> =
                subset.iter().filter_map(|index| self.pending.get(*index).copied()).collect();
            self.figures.states += 1;
            let (name, undo) = self.disk.enter(&pieces)?;
            if self.seen.len() >= self.job.distinct_max && !self.seen.contains(&name) {
                self.figures.left_out = true;
            } else if self.seen.insert(name) {
                self.figures.distinct += 1;
                self.judge()?;
            }
            self.disk.leave(undo)?;
        }
        Ok(())
    }

    fn judge(&mut self) -> Result<(), ReplayError> {
        let image = self.disk.path();
        if let (Reader::Env(kind), Some(figures)) = (&self.job.reader, &mut self.figures.env) {
            env_judge::judge(&mut self.tools, image, *kind, figures)?;
        }
        if let (Reader::Store(inside), Some(figures)) = (&self.job.reader, &mut self.figures.store)
        {
            let _ = store_judge::judge(&mut self.tools, image, inside, self.dir, figures)?;
        }
        Ok(())
    }
}
