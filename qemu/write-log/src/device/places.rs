//! Where a device's partitions are, from its partition table.

use crate::disk::Place;
use crate::error::ReplayError;
use crate::log::{Entry, file_error};
use crate::tools::Tools;
use serde::Deserialize;
use std::path::Path;

const SECTOR_BYTES: u64 = 512;

/// The parts that are looked at.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    /// The boot environment.
    pub env: Place,
    /// Slot A.
    pub root_a: Place,
    /// Slot B.
    pub root_b: Place,
    /// The data partition up to the end of the disk: it may grow.
    pub data: Place,
    /// All that is before it: what GRUB needs.
    pub boot: Place,
}

#[derive(Deserialize)]
struct Answer {
    partitiontable: Table,
}

#[derive(Deserialize)]
struct Table {
    partitions: Vec<Partition>,
}

#[derive(Deserialize)]
struct Partition {
    start: u64,
    size: u64,
    #[serde(default)]
    name: String,
}

impl Places {
    /// Reads the table of the disk the recording began with. The disk is as long as that, or as the last write says.
    ///
    /// # Errors
    /// [`ReplayError`]
    pub fn of(tools: &mut Tools, base: &Path, entries: &[Entry]) -> Result<Self, ReplayError> {
        let length =
            std::fs::metadata(base).map_err(|source| file_error("look at", base, source))?;
        let written = entries.iter().map(|entry| entry.to.saturating_add(entry.size_bytes)).max();
        let end = length.len().max(written.unwrap_or_default());
        let command = format!("sfdisk --json '{}'", base.display());
        let output = tools.run(&command)?;
        let table = serde_json::from_slice::<Answer>(&output.stdout).map_err(|_| {
            let why = "it shows no partition table; --base must be a raw disk image".to_owned();
            ReplayError::Tools { command, why }
        })?;
        let place = |name: &str| {
            let mut all = table.partitiontable.partitions.iter();
            let found = all.find(|partition| partition.name == name).ok_or_else(|| {
                let text = format!("--base {} has no partition {name}", base.display());
                ReplayError::Usage(text)
            })?;
            Ok::<_, ReplayError>(Place {
                offset: found.start.saturating_mul(SECTOR_BYTES),
                size_bytes: found.size.saturating_mul(SECTOR_BYTES),
            })
        };
        let offset = place("data")?.offset;
        Ok(Self {
            env: place("env")?,
            root_a: place("root_a")?,
            root_b: place("root_b")?,
            data: Place { offset, size_bytes: end.saturating_sub(offset) },
            boot: Place { offset: 0, size_bytes: offset },
        })
    }

    /// Whether the replayed parts are, byte for byte, what the device left in `end` (qcow2).
    ///
    /// # Errors
    /// [`ReplayError::Tools`]
    pub fn compare(
        &self,
        tools: &mut Tools,
        end: &Path,
        boot: &Path,
        data: &Path,
    ) -> Result<bool, ReplayError> {
        let (end, boot, data) = (end.display(), boot.display(), data.display());
        let made =
            tools.run(&format!("qemu-img convert -f qcow2 -O raw '{end}' {{dir}}/end.img"))?;
        if made.status != 0 {
            let command = format!("qemu-img convert {end}");
            return Err(ReplayError::Tools { command, why: format!("status {}", made.status) });
        }
        let (from, length) = (self.data.offset, self.data.size_bytes);
        let compared = tools.run(&format!(
            "cmp -n {from} '{boot}' {{dir}}/end.img && cmp -n {length} -i 0:{from} '{data}' {{dir}}/end.img"
        ))?;
        Ok(compared.status == 0)
    }
}
