//! Damage to the boot environment on a switched-off disk: the blocks are found by what they begin with.

use super::disk::Disk;
use crate::error::{Outcome, Trouble};
use crate::project::Project;

/// What a GRUB environment block begins with.
const SIGNATURE: &[u8] = b"# GRUB Environment Block\n";
/// Bytes of a block.
const BLOCK_BYTES: usize = 1024;
/// Clusters of a FAT of this size are whole sectors.
const STEP: usize = 512;
const NOISE: u8 = 0xA5;

/// Overwrites the first copy, the second or both with noise.
pub(crate) fn damage(project: &Project, disk: &Disk, which: &str) -> Outcome {
    let range = disk.partition(project, "env")?;
    let content = disk.read(project, range)?;
    let found = blocks(&content);
    let wanted = match which {
        "first" => found.first().into_iter().copied().collect(),
        "second" => found.get(1).into_iter().copied().collect(),
        _ => found.clone(),
    };
    if wanted.is_empty() {
        return Err(Trouble::new(format!("no {which} copy: {} found", found.len())));
    }
    for place in wanted {
        let offset = range.offset.saturating_add(u64::try_from(place).unwrap_or(u64::MAX));
        disk.write(project, offset, &[NOISE; BLOCK_BYTES])?;
    }
    Ok(())
}

/// Where blocks are, in bytes from the start.
fn blocks(content: &[u8]) -> Vec<usize> {
    let sectors = content.chunks(STEP).enumerate();
    let found = sectors.filter(|(_, sector)| sector.starts_with(SIGNATURE));
    found.map(|(number, _)| number * STEP).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_copies_are_found_where_they_are() {
        let mut content = vec![0; 8192];
        for place in [1024, 4608] {
            content[place..place + SIGNATURE.len()].copy_from_slice(SIGNATURE);
        }
        content[700..700 + SIGNATURE.len()].copy_from_slice(SIGNATURE);
        assert_eq!(blocks(&content), [1024, 4608]);
    }
}
