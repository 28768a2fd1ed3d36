//! The bytes of one state file: a readable header line, then the document as JSON.
//!
//! `margo-state 1 schema=1 readable-by=1 generation=7 copy=single length=120 sha256=<hex>\n{…}`
//! The checksum covers the line before ` sha256=` and the body, so a damaged header is damage and is never
//! mistaken for a newer schema. Later formats keep that rule; everything else in the line may change.

use ring::digest::{Context, SHA256};
use std::fmt::Write as _;

/// Largest document accepted, in bytes of JSON (I11).
pub const BODY_SIZE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Longest header line looked at, in bytes.
const HEADER_SIZE_BYTES_MAX: usize = 512;

/// Largest state file read, in bytes.
pub(super) const FILE_SIZE_BYTES_MAX: usize = BODY_SIZE_BYTES_MAX + HEADER_SIZE_BYTES_MAX;

const MAGIC: &str = "margo-state 1";
const MAGIC_FAMILY: &str = "margo-state ";
const CHECKSUM_KEY: &str = " sha256=";

/// What a release writes, and who can read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    /// Schema of the documents this release writes and the newest it knows.
    pub version: u32,
    /// Oldest schema whose readers can read what this release writes. A firmware fallback brings the
    /// previous release back, so this trails `version` by at least one release.
    pub readable_by: u32,
}

/// This release's schema.
pub const SCHEMA: Schema = Schema { version: 1, readable_by: 1 };

/// A file's place in the save it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A save of one copy.
    Single,
    /// The first of a save of both copies. Found as the newest, the second is still to be written.
    First,
    /// The second of a save of both copies.
    Second,
}

impl Role {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::First => "first",
            Self::Second => "second",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Single, Self::First, Self::Second].into_iter().find(|role| role.as_str() == text)
    }
}

/// What the header of a valid file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Rises by one with every write attempt; the highest is the newest.
    pub(super) generation: u64,
    /// Place in its save.
    pub(super) role: Role,
    /// Schema of the writer and its readers.
    pub(super) schema: Schema,
}

/// Why bytes are not a state file of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Defect {
    /// The bytes were changed or cut; the text tells a person how.
    Damaged(String),
    /// Intact, but written for newer readers.
    Newer(Schema),
}

fn damaged(why: impl Into<String>) -> Defect {
    Defect::Damaged(why.into())
}

/// A complete file around `body`.
pub(super) fn encode(header: Header, body: &[u8]) -> Vec<u8> {
    let mut line = String::with_capacity(192);
    // Writing to a String cannot fail.
    let _ = write!(
        line,
        "{MAGIC} schema={} readable-by={} generation={} copy={} length={}",
        header.schema.version,
        header.schema.readable_by,
        header.generation,
        header.role.as_str(),
        body.len(),
    );
    let sum = checksum(line.as_bytes(), body);
    let _ = writeln!(line, "{CHECKSUM_KEY}{sum}");
    let mut file = line.into_bytes();
    file.extend_from_slice(body);
    file
}

/// Checks a file read by a release that knows `known`, and gives its header and body.
pub(super) fn decode(file: &[u8], known: u32) -> Result<(Header, &[u8]), Defect> {
    if file.is_empty() {
        return Err(damaged("it is empty"));
    }
    let head = file.get(..HEADER_SIZE_BYTES_MAX).unwrap_or(file);
    let line_end = head
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or_else(|| damaged("it has no complete header line"))?;
    let (line, rest) = file.split_at(line_end);
    let body = rest.get(1..).unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| damaged("its header is not text"))?;
    let (fields, sum) =
        line.rsplit_once(CHECKSUM_KEY).ok_or_else(|| damaged("its header has no checksum"))?;
    if sum != checksum(fields.as_bytes(), body) {
        return Err(damaged(why_mismatched(fields, body.len())));
    }
    let header = parse_fields(fields)?;
    if header.schema.readable_by > known {
        return Err(Defect::Newer(header.schema));
    }
    Ok((header, body))
}

/// Tells a cut file from one whose bytes were changed: they point at different causes.
fn why_mismatched(fields: &str, body_len: usize) -> String {
    let length = fields
        .split(' ')
        .find_map(|field| field.strip_prefix("length="))
        .and_then(|text| text.parse::<usize>().ok());
    match length {
        Some(length) if length != body_len => {
            format!("its body has {body_len} bytes instead of {length}")
        }
        _ => "its checksum does not match".into(),
    }
}

/// Reads the header of a file whose checksum is right. What is strange here is a newer format, not damage.
fn parse_fields(fields: &str) -> Result<Header, Defect> {
    let unknown = Defect::Newer(Schema { version: u32::MAX, readable_by: u32::MAX });
    let Some(rest) = fields.strip_prefix(MAGIC).and_then(|rest| rest.strip_prefix(' ')) else {
        return Err(if fields.starts_with(MAGIC_FAMILY) {
            unknown
        } else {
            damaged("it is not a margo state file")
        });
    };
    let mut values = rest.split(' ');
    let mut value = |key: &str| values.next()?.strip_prefix(key)?.strip_prefix('=');
    let header = (|| {
        let version = value("schema")?.parse().ok()?;
        let readable_by = value("readable-by")?.parse().ok()?;
        let generation = value("generation")?.parse().ok()?;
        let role = Role::parse(value("copy")?)?;
        Some(Header { generation, role, schema: Schema { version, readable_by } })
    })();
    header.ok_or(unknown)
}

fn checksum(fields: &[u8], body: &[u8]) -> String {
    let mut context = Context::new(&SHA256);
    context.update(fields);
    context.update(b"\n");
    context.update(body);
    hex::encode(context.finish())
}
