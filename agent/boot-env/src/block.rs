//! The GRUB environment block: a header line, `NAME=VALUE` lines, and `#` up to the end.
//!
//! Read exactly as GRUB's `load_env` reads it, written so that a power cut cannot mix two versions: all that changes
//! lies in the first 512 bytes, which a disk writes whole or not at all. No meaning is given to any name here.

use crate::error::BlockError;

/// What GRUB expects at the start of the file.
pub const HEADER: &[u8] = b"# GRUB Environment Block\n";

/// Size of the file, fixed by GRUB's own tools.
pub const SIZE_BYTES: usize = 1024;

/// Header and variables end here at the latest: the size of a disk's sector, the unit that is written whole.
pub const USED_BYTES_MAX: usize = 512;

/// A file longer than this is not looked at (I11).
pub const READ_BYTES_MAX: usize = 64 * 1024;

/// Variables in the order in which they stand in the file. Names and values are bytes: GRUB does not check them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block {
    variables: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Block {
    /// Reads a block as GRUB does: whatever its length, as long as the header is there.
    ///
    /// # Errors
    /// [`BlockError::NoHeader`] where GRUB says "invalid environment block".
    pub fn parse(bytes: &[u8]) -> Result<Self, BlockError> {
        let mut rest = bytes.strip_prefix(HEADER).ok_or(BlockError::NoHeader)?;
        if rest.is_empty() {
            // GRUB wants one byte more than the header.
            return Err(BlockError::NoHeader);
        }
        let mut variables = Vec::new();
        while let Some(first) = rest.first() {
            let comment = *first == b'#';
            let name_end =
                if comment { Some(0) } else { rest.iter().position(|byte| *byte == b'=') };
            let Some((name, value)) = name_end.and_then(|at| rest.split_at_checked(at)) else {
                break;
            };
            let value = if comment { value } else { value.get(1..).unwrap_or_default() };
            // A line that does not end is no line, also for GRUB.
            let Some((value, after)) = take_line(value) else { break };
            if !comment {
                variables.push((text_of(name), text_of(&value)));
            }
            rest = after;
        }
        Ok(Self { variables })
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// [`BlockError::TooLong`] when the variables do not fit into one sector, [`BlockError::BadName`] for a name
    /// that would be read back as something else.
    pub fn to_bytes(&self) -> Result<[u8; SIZE_BYTES], BlockError> {
        let mut text = HEADER.to_vec();
        for (name, value) in &self.variables {
            if name.is_empty() || name.starts_with(b"#") || name.contains(&b'=') {
                return Err(BlockError::BadName { name: lossy(name) });
            }
            text.extend_from_slice(name);
            text.push(b'=');
            for byte in value {
                if matches!(byte, b'\\' | b'\n') {
                    text.push(b'\\');
                }
                text.push(*byte);
            }
            text.push(b'\n');
        }
        if text.len() > USED_BYTES_MAX {
            return Err(BlockError::TooLong { size_bytes: text.len() });
        }
        text.resize(SIZE_BYTES, b'#');
        text.try_into().map_err(|text: Vec<u8>| BlockError::TooLong { size_bytes: text.len() })
    }

    /// A variable's value; of several with one name the last, as in GRUB.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let found = self.variables.iter().rev().find(|(known, _)| known == name.as_bytes());
        found.map(|(_, value)| value.as_slice())
    }

    /// Appends a variable.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.variables.push((name.to_vec(), value.to_vec()));
    }

    /// All variables, in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.variables.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }
}

/// The unescaped text up to the line's end, and what follows it. `None` when the line does not end.
fn take_line(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut text = Vec::new();
    let mut at = bytes.iter().enumerate();
    while let Some((index, byte)) = at.next() {
        match byte {
            b'\n' => return Some((text, bytes.get(index + 1..).unwrap_or_default())),
            b'\\' => text.extend(at.next().map(|(_, escaped)| *escaped)),
            other => text.push(*other),
        }
    }
    None
}

/// GRUB's strings end at a zero byte.
fn text_of(bytes: &[u8]) -> Vec<u8> {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}

/// A name for an error message.
fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
