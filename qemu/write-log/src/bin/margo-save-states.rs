//! margo-save-states DIR COUNT DOCUMENT: saves a durable state again and again with the agent's own store, for recording.

use margo_agent::store::{Copies, Store};
use state_machine::state::Durable;
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [dir, count, document] = words.as_slice() else {
        return Err("usage: margo-save-states DIR COUNT DOCUMENT.json".into());
    };
    let full: Durable = serde_json::from_slice(&std::fs::read(document)?)?;
    // Short and long in turn, so that old and new differ in every sector and in size.
    let documents = [Durable::default(), full];
    let (mut store, _) = Store::open::<Durable>(Path::new(dir))?;
    for (round, document) in documents.iter().cycle().take(count.parse()?).enumerate() {
        // As the agent does: both copies for what must survive the loss of either.
        store.save(document, if round % 3 == 2 { Copies::Both } else { Copies::One })?;
    }
    Ok(())
}
