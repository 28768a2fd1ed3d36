//! Fields on stderr, for people: a named message says all there is to say, anything else shows its fields.

use std::fmt::{self, Write};
use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// The field that makes a message a named one; its other fields are for the journal.
const NAMED: &str = "message_id";

/// Formats fields.
#[derive(Debug)]
pub(super) struct Plain;

impl<'w> FormatFields<'w> for Plain {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line::default();
        fields.record(&mut line);
        write!(writer, "{}", line.message)?;
        if line.is_named { Ok(()) } else { write!(writer, "{}", line.fields) }
    }
}

#[derive(Debug, Default)]
struct Line {
    message: String,
    fields: String,
    is_named: bool,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        // Texts of our own need no quotes to be read.
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            NAMED => {
                self.is_named = true;
                Ok(())
            }
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Output {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_named_message_is_its_text_and_others_show_their_fields() {
        let output = Output::default();
        let writer = output.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .fmt_fields(Plain)
            .with_ansi(false)
            .with_target(false)
            .without_time()
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(message_id = "f0", prev = "a", "a -> b");
            tracing::info!(image = "x", count = 2, "pulling");
        });
        let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, " INFO a -> b\n INFO pulling image=x count=2\n");
    }
}
