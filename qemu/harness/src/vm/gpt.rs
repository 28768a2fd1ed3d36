//! Partitions by their names, from a GUID partition table.

use crate::error::{Outcome, Trouble};

/// Bytes of a sector.
pub(crate) const SECTOR_BYTES: u64 = 512;
/// What must be read of a disk: protective MBR, header, 128 entries.
pub(crate) const HEAD_SECTORS: u64 = 34;
const ENTRIES: usize = 128;
const ENTRY_BYTES: usize = 128;

/// Where a partition is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// Finds a partition in the head of a disk.
pub(crate) fn find(head: &[u8], name: &str) -> Outcome<Range> {
    if head.get(512..520) != Some(b"EFI PART") {
        return Err(Trouble::new("the disk has no GUID partition table"));
    }
    let mut names = Vec::new();
    for number in 0..ENTRIES {
        let from = 1024 + number * ENTRY_BYTES;
        let Some(entry) = head.get(from..from + ENTRY_BYTES) else { break };
        let label = label(entry.get(56..128).unwrap_or_default());
        let (first, last) = (number_at(entry, 32), number_at(entry, 40));
        if label == name && first > 0 && last >= first {
            let length = (last - first + 1).saturating_mul(SECTOR_BYTES);
            return Ok(Range { offset: first.saturating_mul(SECTOR_BYTES), length });
        }
        if !label.is_empty() {
            names.push(label);
        }
    }
    Err(Trouble::new(format!("no partition {name}; there are: {}", names.join(", "))))
}

fn number_at(entry: &[u8], from: usize) -> u64 {
    let bytes = entry.get(from..from + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}

fn label(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|pair| match pair {
        [low, high] => u16::from_le_bytes([*low, *high]),
        _ => 0,
    });
    let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    String::from_utf16_lossy(&units)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(partitions: &[(&str, u64, u64)]) -> Vec<u8> {
        let mut head = vec![0; usize::try_from(HEAD_SECTORS * SECTOR_BYTES).unwrap()];
        head[512..520].copy_from_slice(b"EFI PART");
        for (number, (name, first, last)) in partitions.iter().enumerate() {
            let from = 1024 + number * ENTRY_BYTES;
            head[from + 32..from + 40].copy_from_slice(&first.to_le_bytes());
            head[from + 40..from + 48].copy_from_slice(&last.to_le_bytes());
            for (place, unit) in name.encode_utf16().enumerate() {
                let at = from + 56 + place * 2;
                head[at..at + 2].copy_from_slice(&unit.to_le_bytes());
            }
        }
        head
    }

    #[test]
    fn a_partition_is_found_by_its_name() {
        let head = disk(&[("esp", 2048, 4095), ("env", 4096, 8191)]);
        let range = find(&head, "env").unwrap();
        assert_eq!(range, Range { offset: 4096 * 512, length: 4096 * 512 });
        assert!(find(&head, "data").unwrap_err().to_string().contains("esp, env"));
    }

    #[test]
    fn what_is_no_table_is_an_error() {
        assert!(find(&[0; 4096], "env").unwrap_err().to_string().contains("no GUID"));
        assert!(find(b"", "env").is_err());
    }
}
