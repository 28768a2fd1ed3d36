//! The device's journal as it comes: kept in a file, and looked through by fields.

use crate::error::{Doing as _, Outcome};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Entries kept in memory; older ones are only in the file.
const ENTRIES_MAX: usize = 200_000;

/// One entry.
#[derive(Clone, Debug)]
pub(crate) struct Entry(Map<String, Value>);

impl Entry {
    /// A field, or nothing.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether it is the named message and has the field. Fields of the agent have a prefix, which may be left out.
    pub(crate) fn is(&self, id: &str, field: Option<&(String, String)>) -> bool {
        let has = |(name, value): &(String, String)| {
            let name = name.to_uppercase();
            let prefixed = format!("F_{name}");
            [name, prefixed].iter().any(|name| self.field(name) == value)
        };
        self.field("MESSAGE_ID") == id && field.is_none_or(has)
    }
}

/// A place in the journal.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark(usize);

/// The journal of one device over all its boots.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl Journal {
    /// Takes what comes from a connected socket; the lines are appended to a file.
    pub(crate) fn follow(&self, stream: UnixStream, file: &Path) -> Outcome {
        let file = File::options().create(true).append(true).open(file).doing("journal file")?;
        let entries = Arc::clone(&self.entries);
        std::thread::spawn(move || {
            let mut file = file;
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                // Without the file the test goes on.
                let _ = file.write_all(&line);
                if let Ok(Value::Object(fields)) = serde_json::from_slice(&line) {
                    let mut entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
                    if entries.len() < ENTRIES_MAX {
                        entries.push(Entry(fields));
                    }
                }
                line.clear();
            }
        });
        Ok(())
    }

    /// The end, now.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.entries.lock().unwrap_or_else(PoisonError::into_inner).len())
    }

    /// Where a boot's entries begin; the end when none has come yet.
    pub(crate) fn first_of(&self, boot_id: &str) -> Mark {
        // The journal writes it without dashes.
        let id = boot_id.replace('-', "");
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let first = entries.iter().position(|entry| entry.field("_BOOT_ID") == id);
        Mark(first.unwrap_or(entries.len()))
    }

    /// The first entry since `mark` that fits.
    pub(crate) fn find(&self, mark: Mark, is_it: impl Fn(&Entry) -> bool) -> Option<Entry> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().skip(mark.0).find(|entry| is_it(entry)).cloned()
    }

    /// The last lines of the agent and of errors, for a failed test.
    pub(crate) fn tail(&self, count: usize) -> Vec<String> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let speaks = |entry: &&Entry| {
            entry.field("SYSLOG_IDENTIFIER").starts_with("margo")
                || entry.field("PRIORITY").parse::<u8>().is_ok_and(|priority| priority <= 3)
        };
        let line = |entry: &Entry| {
            let message = entry.field("MESSAGE");
            format!("{}: {message}", entry.field("SYSLOG_IDENTIFIER"))
        };
        let mut lines: Vec<String> =
            entries.iter().rev().filter(speaks).take(count).map(line).collect();
        lines.reverse();
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn entries_are_found_by_message_id_and_field_since_a_mark() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let journal = Journal::default();
        journal.follow(ours, &dir.path().join("journal")).unwrap();
        let say = |theirs: &mut UnixStream, next: &str| {
            writeln!(theirs, "torn{{\n{{\"MESSAGE_ID\":\"abc\",\"F_NEXT\":\"{next}\"}}").unwrap();
        };
        say(&mut theirs, "synced");
        let field = ("next".to_owned(), "synced".to_owned());
        let began = Instant::now();
        while journal.find(Mark::default(), |e| e.is("abc", Some(&field))).is_none() {
            assert!(began.elapsed() < Duration::from_secs(10));
            std::thread::yield_now();
        }
        let mark = journal.mark();
        assert!(journal.find(mark, |e| e.is("abc", None)).is_none());
        assert!(journal.find(Mark::default(), |e| e.is("abd", None)).is_none());
        let other = ("next".to_owned(), "trusted".to_owned());
        assert!(journal.find(Mark::default(), |e| e.is("abc", Some(&other))).is_none());
    }
}
