//! The diagrams in the README are drawn from each sub-machine's edges; a test says when they are out of date.

use crate::support::MACHINES;
use crate::tests::is_update;
use state_machine::transition::Edge;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

/// What people do, in every state: drawn, it would hide the rest.
const IN_EVERY_STATE: &str = "requested";

fn diagram(edges: &[Edge]) -> String {
    let mut arrows: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for edge in edges {
        let reason = edge.why.as_str();
        if reason != IN_EVERY_STATE {
            arrows.entry((edge.prev, edge.next)).or_default().insert(reason);
        }
    }
    let mut text = "```mermaid\nstateDiagram-v2\n".to_owned();
    for ((prev, next), reasons) in arrows {
        let reasons: Vec<&str> = reasons.into_iter().collect();
        writeln!(text, "    {prev} --> {next}: {}", reasons.join(", ")).unwrap();
    }
    text.push_str("```\n");
    text
}

#[test]
fn diagrams_in_the_readme_are_drawn_from_the_edges() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let present = std::fs::read_to_string(&path).unwrap();
    let mut wanted = present.clone();
    for (machine, edges) in MACHINES {
        let (begin, end) =
            (format!("<!-- diagram {} -->\n", machine.as_str()), "<!-- end -->".to_owned());
        let start =
            wanted.find(&begin).expect("the README has a place for each diagram") + begin.len();
        let length = wanted[start..].find(&end).expect("each place has an end");
        wanted.replace_range(start..start + length, &diagram(edges));
    }
    if is_update() && wanted != present {
        std::fs::write(&path, &wanted).unwrap();
    } else {
        assert!(wanted == present, "diagrams are out of date: UPDATE=1 redraws them");
    }
}

#[test]
fn no_edge_is_listed_twice() {
    for (machine, edges) in MACHINES {
        let distinct: BTreeSet<&Edge> = edges.iter().collect();
        assert_eq!(distinct.len(), edges.len(), "{}", machine.as_str());
    }
}
