//! The command line. The doc comments are its help.

use crate::vm::arch::Arch;
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Boot the device image in QEMU, break it, and check what it does
#[derive(Debug, Parser)]
#[command(name = "margo-qemu", version)]
pub(crate) struct Args {
    /// Disk image of the device [default: what qemu/build makes]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) image: Option<PathBuf>,

    /// The device's processor; another one than this machine's is emulated
    #[arg(long, global = true, value_enum, default_value_t = Arch::Amd64, value_name = "ARCH")]
    pub(crate) arch: Arch,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run scenarios; all of qemu/scenarios when none is named
    Test(Test),
    /// Show the whole path: app, firmware update, broken firmware, fallback
    Demo,
    /// Keep a device up to play with: serial console here, a lab behind it
    Run(Play),
    /// Measure boots, installs, sizes and memory, and compare them with the same device without the agent
    Bench(Bench),
    /// Write the pages that are made from the program and the scenario files
    Docs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Test {
    /// Names of scenarios, or paths of files
    pub(crate) scenarios: Vec<String>,
    /// Only scenarios whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
    /// Leave out what is marked `nightly`
    #[arg(long)]
    pub(crate) quick: bool,
    /// List them and what they show, run nothing
    #[arg(long)]
    pub(crate) list: bool,
    /// Only read the files
    #[arg(long)]
    pub(crate) check: bool,
    /// Print the firmware bundles they order, one VERSION:KIND a line, run nothing
    #[arg(long)]
    pub(crate) bundles: bool,
    /// Devices at the same time
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub(crate) jobs: usize,
    /// Run each so many times
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) repeat: usize,
    /// Print the results as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Show every step as it begins, and a timeline at the end
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// Keep the disks of scenarios that pass
    #[arg(long)]
    pub(crate) keep: bool,
    /// Record all that the device of the one named scenario asks of its disk; keeps the disk, too
    #[arg(long, value_name = "FILE")]
    pub(crate) write_log: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    /// Parts to measure; sizes and the last suite's time are always told
    #[arg(value_enum)]
    pub(crate) parts: Vec<BenchPart>,
    /// Take each sample so many times; in each round all ways take a turn
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = at_least_one)]
    pub(crate) rounds: usize,
    /// Print the figures as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A part of the figures that needs devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum BenchPart {
    /// Boots after a power cut without network
    Boot,
    /// Firmware installs, and the agent's memory before and after
    Install,
}

impl Bench {
    /// Whether a part is to be measured.
    pub(crate) fn wants(&self, part: BenchPart) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a number of rounds, at least 1".to_owned()),
        Ok(rounds) => Ok(rounds),
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Play {
    /// Begin with a prepared device of qemu/scenarios/prepared instead of a new one
    #[arg(long, value_name = "NAME")]
    pub(crate) from: Option<String>,
    /// Forward a port of this machine's loopback: HOST:GUEST
    #[arg(long, value_name = "HOST:GUEST")]
    pub(crate) forward: Vec<String>,
    /// Memory in MiB
    #[arg(long, default_value_t = 1024, value_name = "MiB")]
    pub(crate) memory: u64,
    /// Processors
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub(crate) cpus: u64,
    /// Leave it unprovisioned
    #[arg(long)]
    pub(crate) unprovisioned: bool,
    /// Run this shell command in the device as root and end
    #[arg(long, value_name = "COMMAND")]
    pub(crate) command: Option<String>,
}
