//! The write log of a whole device: at every moment a cut can come, what GRUB would start and what the agent would know.
//!
//! - [`spans`]: the log cut at its flushes, and which spans the store is looked at in
//! - [`places`]: where the partitions are
//! - [`slots`]: whether a slot holds a complete image, whatever the cut leaves
//! - [`boot_judge`]: GRUB's file system reads the environment, GRUB runs grub.cfg on the device's own disk
//! - [`store`]: the agent's store on the data partition, and what it must not forget
//! - [`figures`]: what came of it
//!
//! All partitions are on one disk, so one flush settles what was written to any of them.

pub mod boot_judge;
pub mod figures;
pub mod places;
pub mod slots;
pub mod spans;
pub mod store;

use self::boot_judge::BootJudge;
use self::figures::Figures;
use self::places::Places;
use self::slots::{Slots, WrittenTo};
use self::spans::spans;
use self::store::StoreOfDevice;
use crate::disk::{Disk, Piece, Place};
use crate::error::ReplayError;
use crate::log::Log;
use crate::states::{Plan, Random};
use crate::tools::Tools;
use std::path::{Path, PathBuf};

/// Where the agent's store is on the data partition.
const STORE: &str = "/margo-agent/state";

/// What is replayed.
#[derive(Debug, Clone)]
pub struct Job {
    /// The write log.
    pub log: PathBuf,
    /// The disk as it was when the recording began.
    pub base: PathBuf,
    /// The command that runs image tools.
    pub tools: PathBuf,
    /// The root images that a slot can hold.
    pub images: Vec<PathBuf>,
    /// The device's disk at the end of the recording (qcow2), to compare the replayed one with.
    pub final_disk: Option<PathBuf>,
    /// How much of a span is looked at in the boot environment.
    pub env_plan: Plan,
    /// And in the store.
    pub store_plan: Plan,
    /// Spans without a write to the store that are looked at all the same, evenly spaced.
    pub other_spans: usize,
}

/// Replays and judges in the scratch directory `dir`, which the tools see under the same name. `tell` hears how far it is.
///
/// # Errors
/// [`ReplayError`]
pub fn run(job: &Job, dir: &Path, tell: &mut dyn FnMut(&str)) -> Result<Figures, ReplayError> {
    let log = Log::open(&job.log)?;
    let entries = log.entries()?;
    let mut tools = Tools::start(&job.tools, dir)?;
    let places = Places::of(&mut tools, &job.base, &entries)?;
    let disk = |place: Place, name: &str| {
        Disk::new(&log, &job.base, place.offset, Some(place.size_bytes), &dir.join(name))
    };
    let mut env = disk(places.env, "env.img")?;
    let mut boot = disk(places.boot, "boot.img")?;
    let mut data = disk(places.data, "data.img")?;
    let mut slots = Slots::new(&log, &job.base, &job.images, [places.root_a, places.root_b])?;
    let mut judge = BootJudge::new(dir, places, Random::new(job.env_plan.seed))?;
    let mut store = StoreOfDevice::new(STORE, Random::new(job.store_plan.seed));
    let mut figures = Figures::default();
    let spans = spans(&log, &entries, places.data, job.other_spans)?;
    figures.count(&entries, &spans);
    for (number, span) in spans.iter().enumerate() {
        let entries = entries.get(span.entries.clone()).unwrap_or_default();
        let of = |disk: &Disk<'_>| -> Vec<Piece> {
            entries.iter().flat_map(|entry| disk.pieces(entry)).collect()
        };
        let written = WrittenTo {
            env: of(&env),
            roots: slots.places().map(|place| {
                entries.iter().flat_map(|entry| crate::disk::pieces_within(entry, place)).collect()
            }),
        };
        judge.span(
            &mut tools,
            (&mut env, &mut boot),
            (&slots, &written),
            &job.env_plan,
            &mut figures.boot,
        )?;
        let pending = of(&data);
        if span.is_judged {
            store.span(
                &mut tools,
                &mut data,
                &pending,
                (span, &job.store_plan),
                dir,
                &mut figures.store,
            )?;
        }
        data.settle(&pending)?;
        env.settle(&written.env)?;
        slots.settle(&written.roots)?;
        boot.settle(&of(&boot))?;
        tell(&format!(
            "span {} of {}: {} boots and {} stores judged",
            number.saturating_add(1),
            spans.len(),
            figures.boot.states,
            figures.store.distinct
        ));
    }
    if let Some(end) = &job.final_disk {
        tell("comparing the replayed disk with the device's");
        figures.same_disk = Some(places.compare(&mut tools, end, boot.path(), data.path())?);
    }
    Ok(figures)
}
