//! What the device would start after a cut: GRUB's own file system reads both copies of the environment, and GRUB runs the
//! grub.cfg of the device's own ESP on the device's own disk.
//!
//! The slot it starts must hold a complete image. The same situation (environment, and which slots are complete) is
//! asked once. Whether GRUB chose as `margo_boot_env::choice` says is compared on the way.

use super::figures::{BootFigures, FAULTS_SHOWN};
use super::places::Places;
use super::slots::{Slots, WrittenTo, number};
use crate::disk::{Disk, Piece};
use crate::error::ReplayError;
use crate::log::file_error;
use crate::states::{Plan, Random, subsets};
use crate::tools::Tools;
use margo_boot_env::choice::{Choice, Reason, Source, World, would_boot};
use margo_boot_env::env::{Env, Slot};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// An environment (by the name of the partition's content) and which slots are complete.
type Situation = (u64, [bool; 2]);

/// The judge, with what it knows already.
#[derive(Debug)]
pub struct BootJudge {
    dir: PathBuf,
    places: Places,
    random: Random,
    known: HashMap<Situation, Verdict>,
}

/// What is to be said of a situation.
#[derive(Debug, Clone)]
struct Verdict {
    first_unreadable: bool,
    unreadable: bool,
    half_written: bool,
    disagrees: bool,
    decision: String,
}

/// What GRUB said.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    started: Option<(Slot, Reason)>,
    source: Option<Source>,
}

impl BootJudge {
    /// A judge that works in `dir`.
    ///
    /// # Errors
    /// [`ReplayError::File`]
    pub fn new(dir: &Path, places: Places, random: Random) -> Result<Self, ReplayError> {
        // The emulator's `linux` looks for the kernel among the host's files, under GRUB's name for it, from where it
        // runs. Whether the kernel in the slot is sound is what the comparison with the image says.
        for part in ["(hd0,gpt3)", "(hd0,gpt4)"] {
            let kernels = dir.join("kernels").join(part).join("boot");
            let made = fs::create_dir_all(&kernels);
            made.map_err(|source| file_error("create", &kernels, source))?;
            for name in ["vmlinuz", "initrd.img"] {
                put(&kernels.join(name), b"")?;
            }
        }
        // Keys for whatever wants one pressed.
        put(&dir.join("keys"), &[b'\n'; 4096])?;
        let map = format!("(hd0) {}\n", dir.join("boot.img").display());
        put(&dir.join("map"), map.as_bytes())?;
        Ok(Self { dir: dir.to_path_buf(), places, random, known: HashMap::new() })
    }

    /// Every state of one span. `env` is the environment's partition, `boot` all that GRUB needs.
    ///
    /// # Errors
    /// [`ReplayError`]
    pub fn span(
        &mut self,
        tools: &mut Tools,
        (env, boot): (&mut Disk<'_>, &mut Disk<'_>),
        (slots, written): (&Slots<'_>, &WrittenTo),
        plan: &Plan,
        figures: &mut BootFigures,
    ) -> Result<(), ReplayError> {
        if written.env.is_empty() && written.roots.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let complete = slots.are_complete(&written.roots)?;
        let (subsets, is_all) = subsets(written.env.len(), plan, &mut self.random);
        figures.spans += 1;
        figures.spans_complete += usize::from(is_all);
        for subset in subsets {
            let pieces: Vec<Piece> =
                subset.iter().filter_map(|index| written.env.get(*index).copied()).collect();
            let (name, undo) = env.enter(&pieces)?;
            let situation = (name, complete);
            let verdict = match self.known.get(&situation) {
                Some(known) => known.clone(),
                None => {
                    let verdict = self.judge(tools, env, boot, complete)?;
                    figures.situations += 1;
                    self.known.insert(situation, verdict.clone());
                    verdict
                }
            };
            env.leave(undo)?;
            count(&verdict, figures);
        }
        Ok(())
    }

    fn judge(
        &self,
        tools: &mut Tools,
        env: &Disk<'_>,
        boot: &Disk<'_>,
        complete: [bool; 2],
    ) -> Result<Verdict, ReplayError> {
        let mut copy = |name: &str| {
            let output =
                tools.run(&format!("grub-fstest '{}' cat /{name}", env.path().display()))?;
            Ok::<_, ReplayError>((output.status == 0).then_some(output.stdout))
        };
        let (first, second) = (copy("grubenv")?, copy("grubenv.bak")?);
        let is_readable =
            |copy: &Option<Vec<u8>>| copy.as_ref().is_some_and(|bytes| Env::parse(bytes).is_ok());
        let [kernel_a, kernel_b] = complete;
        let world = World { kernel_a, kernel_b, writable: true };
        let wanted = would_boot(first.as_deref(), second.as_deref(), world);
        let said = self.ask_grub(tools, env, boot)?;
        // The disk GRUB was asked on has none of the unflushed writes to a slot. With some of them a kernel may well be
        // loaded, so no slot that is not complete may be offered either.
        let offered = would_boot(first.as_deref(), second.as_deref(), World::SOUND).started;
        let half_written = [said.started, offered].iter().any(|started| match started {
            Some((slot, _)) => !complete.get(number(*slot)).copied().unwrap_or_default(),
            None => true,
        });
        Ok(Verdict {
            first_unreadable: !is_readable(&first),
            unreadable: !is_readable(&first) && !is_readable(&second),
            half_written,
            // What GRUB makes of half a slot nobody foretells.
            disagrees: !half_written
                && (said.started != wanted.started || said.source != Some(wanted.source)),
            decision: text(&said, &wanted, complete),
        })
    }

    /// Starts GRUB on the disk with this environment; what it counts is taken back.
    fn ask_grub(
        &self,
        tools: &mut Tools,
        env: &Disk<'_>,
        boot: &Disk<'_>,
    ) -> Result<Said, ReplayError> {
        boot.restore(env.path(), self.places.env)?;
        let command = "cd {dir}/kernels && TERM=dumb timeout 120 \
                       grub-emu -r hd0,gpt1 -d /grub -m {dir}/map < {dir}/keys";
        let output = tools.run(command)?;
        boot.restore(env.path(), self.places.env)?;
        // The terminal breaks lines; nothing of ours has a line break in it.
        let text = String::from_utf8_lossy(&output.stdout).replace(['\r', '\n'], "");
        said(&text).ok_or_else(|| {
            let end: String = text.chars().rev().take(200).collect();
            let end: String = end.chars().rev().collect();
            let why = format!("it spoke of no choice in {}: {end:?}", self.dir.display());
            ReplayError::Tools { command: "grub-emu".to_owned(), why }
        })
    }
}

/// The last choice GRUB spoke of.
fn said(text: &str) -> Option<Said> {
    let (_, line) = text.rsplit_once("margo-boot: ")?;
    let word = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)).unwrap_or("");
    let source = match word("env=") {
        "first" => Some(Source::First),
        "second" => Some(Source::Second),
        "defaults" => Some(Source::Defaults),
        _ => None,
    };
    let reasons = [Reason::Committed, Reason::Trial, Reason::LastResort];
    let reason = reasons.into_iter().find(|reason| reason.name() == word("reason="));
    Some(Said { started: Slot::parse(word("slot=")).zip(reason), source })
}

/// A situation and what GRUB does in it, in one line.
fn text(said: &Said, wanted: &Choice, complete: [bool; 2]) -> String {
    let started = match said.started {
        Some((slot, reason)) => format!("starts {slot} ({})", reason.name()),
        None => "starts nothing".to_owned(),
    };
    // As it was before a try was counted is not to be had from `after`; which tries are left says as much.
    let env = &wanted.after;
    let state = |slot| format!("{}/{}", env.state(slot).name(), env.state(slot).tries());
    let source = match said.source {
        Some(Source::First) => "first copy",
        Some(Source::Second) => "second copy",
        Some(Source::Defaults) => "defaults",
        None => "unknown",
    };
    let holds = |complete| if complete { "complete" } else { "partial" };
    let [a, b] = complete;
    format!(
        "{started}; left in the {source}: first={} a={} b={}; slot A {}, slot B {}",
        env.first,
        state(Slot::A),
        state(Slot::B),
        holds(a),
        holds(b)
    )
}

fn count(verdict: &Verdict, figures: &mut BootFigures) {
    figures.states += 1;
    figures.first_unreadable += usize::from(verdict.first_unreadable);
    figures.unreadable += usize::from(verdict.unreadable);
    figures.half_written += usize::from(verdict.half_written);
    figures.disagreements += usize::from(verdict.disagrees);
    match figures.decisions.iter_mut().find(|(text, _)| *text == verdict.decision) {
        Some((_, states)) => *states += 1,
        None => figures.decisions.push((verdict.decision.clone(), 1)),
    }
    let faults = [
        (verdict.unreadable, "no copy of the environment can be read"),
        (verdict.half_written, "a slot is started or offered that is not complete"),
        (verdict.disagrees, "GRUB and margo_boot_env::choice disagree"),
    ];
    for (_, what) in faults.into_iter().filter(|(is_so, _)| *is_so) {
        let fault = format!("span {}: {what}: GRUB {}", figures.spans, verdict.decision);
        if figures.faults.len() < FAULTS_SHOWN {
            figures.faults.push(fault);
        }
    }
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), ReplayError> {
    fs::write(path, bytes).map_err(|source| file_error("write", path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_choice_counts() {
        let text = "GRUB margo-boot: slot=A reason=committed env=first order=\"A B\"x \
                    margo-boot: slot=B reason=trial env=second order=\"B A\" a=good/0";
        let said = said(text).unwrap();
        assert_eq!(said.started, Some((Slot::B, Reason::Trial)));
        assert_eq!(said.source, Some(Source::Second));
    }

    #[test]
    fn no_kernel_is_a_choice_and_silence_is_none() {
        let none =
            said("margo-boot: slot=none reason=no-kernel env=defaults order=\"A B\"").unwrap();
        assert_eq!((none.started, none.source), (None, Some(Source::Defaults)));
        assert_eq!(said("error: no such partition"), None);
    }
}
