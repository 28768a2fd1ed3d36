//! Where logs go and how much of them.

use crate::config::LogLevel;
use std::io::IsTerminal as _;
use std::path::Path;
use tracing::Subscriber;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer, Registry};

/// Environment variable with a filter that beats the configured level: `debug`, or `margo_agent::engine=trace`.
const FILTER_VARIABLE: &str = "MARGO_LOG";
const IDENTIFIER: &str = "margo-agent";
const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";

/// Where logs go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// The journal when the process runs under it, else stderr.
    Auto,
    /// The journal.
    Journal,
    /// Lines on stderr.
    Stderr,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The journal was asked for and is not there.
    #[error("cannot open the journal's socket")]
    OpenJournal {
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// `MARGO_LOG` is no filter.
    #[error("{FILTER_VARIABLE} is {value:?}, which is no log filter")]
    Filter {
        /// Its value.
        value: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Logging was set up before.
    #[error("logging is already set up")]
    Twice {
        /// What the library said.
        #[source]
        source: TryInitError,
    },
}

/// Changes the level later, when the configuration has been read or is read anew.
#[derive(Clone, Debug)]
pub struct LevelHandle(reload::Handle<Targets, Registry>);

impl LevelHandle {
    /// Logs at `level` from now on, unless `MARGO_LOG` says otherwise.
    pub fn set(&self, level: LogLevel) {
        if let Ok(filter) = filter(level) {
            // Fails only when the subscriber is gone, and then there is nothing to log to.
            let _ = self.0.reload(filter);
        }
    }
}

/// Sets up logging for the whole process, once, at `info` or what `MARGO_LOG` says.
///
/// # Errors
/// See [`LogError`]. `Auto` never fails for want of a journal.
pub fn init(target: LogTarget) -> Result<LevelHandle, LogError> {
    let (filter, handle) = reload::Layer::new(filter(LogLevel::Info)?);
    let registry = tracing_subscriber::registry().with(filter);
    let result = match target {
        LogTarget::Stderr => registry.with(stderr()).try_init(),
        LogTarget::Journal => registry.with(journal()?).try_init(),
        LogTarget::Auto => match under_journal().then(journal) {
            Some(Ok(journal)) => registry.with(journal).try_init(),
            Some(Err(_)) | None => registry.with(stderr()).try_init(),
        },
    };
    result.map_err(|source| LogError::Twice { source })?;
    Ok(LevelHandle(handle))
}

/// `JOURNAL_STREAM` is set exactly for processes whose output goes to the journal.
fn under_journal() -> bool {
    std::env::var_os("JOURNAL_STREAM").is_some() && Path::new(JOURNAL_SOCKET).exists()
}

fn filter(level: LogLevel) -> Result<Targets, LogError> {
    let value = std::env::var(FILTER_VARIABLE).unwrap_or_default();
    parse_filter(&value, level)
}

/// Libraries only speak up when something is wrong; the level is for the agent itself.
fn parse_filter(value: &str, level: LogLevel) -> Result<Targets, LogError> {
    let text = match value.trim() {
        "" => directives(level.as_str()),
        word => LogLevel::parse(word).map_or_else(|| word.to_owned(), |l| directives(l.as_str())),
    };
    text.parse().map_err(|source| LogError::Filter { value: value.to_owned(), source })
}

fn directives(level: &str) -> String {
    match level {
        "error" => "error".to_owned(),
        level => format!("warn,margo_agent={level},margoctl={level}"),
    }
}

fn journal<S>() -> Result<impl Layer<S>, LogError>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let layer = tracing_journald::layer().map_err(|source| LogError::OpenJournal { source })?;
    // Without a prefix a field named `message_id` is the journal's MESSAGE_ID.
    Ok(layer.with_field_prefix(None).with_syslog_identifier(IDENTIFIER.to_owned()))
}

fn stderr<S>() -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    // The service manager stamps lines itself.
    let is_managed = std::env::var_os("INVOCATION_ID").is_some();
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .fmt_fields(super::plain::Plain)
        .with_ansi(colours)
        .with_target(false)
        .with_timer(Stamp { is_wanted: !is_managed })
}

/// UTC time stamps, without a time library.
struct Stamp {
    is_wanted: bool,
}

impl FormatTime for Stamp {
    fn format_time(&self, w: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        if self.is_wanted {
            write!(w, "{}", crate::clock::format_utc(crate::clock::wall_unix_ms()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_the_agents_and_libraries_stay_quiet() {
        let text = |value, level| parse_filter(value, level).unwrap().to_string();
        assert!(text("", LogLevel::Info).contains("margo_agent=info"));
        assert!(text("debug", LogLevel::Info).contains("margo_agent=debug"));
        assert!(text("", LogLevel::Debug).contains("warn"));
        assert_eq!(text("margo_agent::engine=trace", LogLevel::Info), "margo_agent::engine=trace");
    }

    #[test]
    fn a_filter_that_is_none_is_named() {
        let error = parse_filter("margo_agent=loud=er", LogLevel::Info).unwrap_err();
        assert_eq!(
            error.to_string(),
            "MARGO_LOG is \"margo_agent=loud=er\", which is no log filter"
        );
    }
}
