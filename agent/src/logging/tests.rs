//! Tests of the catalog, error chains and cutting.

use super::catalog::{ALL, catalog_text};
use super::{ErrorChain, clip, field};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

#[test]
fn ids_are_128_bits_and_unique() {
    let ids: BTreeSet<_> = ALL.iter().map(|message| message.id).collect();
    assert_eq!(ids.len(), ALL.len());
    for message in ALL {
        assert_eq!(message.id.len(), 32, "{}", message.name);
        assert!(message.id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
        assert!(!message.explanation.is_empty() && !message.next_action.is_empty());
    }
}

#[test]
fn the_shipped_catalog_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/margo-agent.catalog");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, catalog_text()).unwrap();
    }
    let shipped = std::fs::read_to_string(&path).unwrap();
    assert_eq!(shipped, catalog_text(), "run the tests with UPDATE=1 to write it anew");
}

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<String>>);

impl<S: tracing::Subscriber> Layer<S> for Seen {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        struct Text<'a>(&'a mut String);
        impl Visit for Text<'_> {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                write!(self.0, " {field}={value:?}").unwrap();
            }
        }
        let mut text = self.0.lock().unwrap();
        text.push_str(event.metadata().level().as_str());
        event.record(&mut Text(&mut text));
    }
}

#[test]
fn a_named_message_carries_its_id_and_level() {
    let seen = Seen::default();
    let subscriber = tracing_subscriber::registry().with(seen.clone());
    tracing::subscriber::with_default(subscriber, || {
        crate::log_message!(super::catalog::STATE_HEALED, damaged_file = "state-a", "healed");
    });
    let id = super::catalog::STATE_HEALED.id;
    let expected = format!("WARN message=healed message_id={id:?} damaged_file=\"state-a\"");
    assert_eq!(*seen.0.lock().unwrap(), expected);
}

#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Link {
    text: String,
    #[source]
    source: Option<Box<Self>>,
}

fn chain(texts: &[&str]) -> Link {
    let mut links = texts.iter().rev();
    let last = Link { text: (*links.next().unwrap()).into(), source: None };
    links.fold(last, |source, text| Link { text: (*text).into(), source: Some(Box::new(source)) })
}

#[test]
fn an_error_chain_has_every_cause_once() {
    let shown = |texts: &[&str]| ErrorChain(&chain(texts)).to_string();
    assert_eq!(
        shown(&["cannot save", "cannot write a", "disk full"]),
        "cannot save: cannot write a: disk full"
    );
    assert_eq!(shown(&["cannot save: disk full", "disk full"]), "cannot save: disk full");
}

#[test]
fn an_error_chain_has_a_limit() {
    let long = "x".repeat(5000);
    assert_eq!(ErrorChain(&chain(&["a", &long, "never seen"])).to_string().len(), 2048);
    let deep: Vec<String> = (0..100).map(|n| format!("e{n}")).collect();
    let deep: Vec<&str> = deep.iter().map(String::as_str).collect();
    assert!(ErrorChain(&chain(&deep)).to_string().ends_with("e16"));
}

#[test]
fn long_fields_are_cut_at_a_character() {
    assert_eq!(clip("short", 10), "short");
    assert_eq!(clip("äöüäöü", 9), "äöü…");
    assert_eq!(clip("äöüäöü", 8), "äö…");
    assert_eq!(field(&"ä".repeat(1000)).len(), 1023);
}
