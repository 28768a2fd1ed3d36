//! What this release wrote, every later one reads, and the other way round: a firmware fallback brings the
//! previous release back to a document that a newer one wrote.
//!
//! `compat/durable-v1.json` is never rewritten. A new release adds a document of its own and keeps the old ones.

#[cfg(test)]
#[path = "compat/rich.rs"]
mod rich;

#[cfg(test)]
mod tests {
    use crate::rich::durable;
    use serde_json::{Value, json};
    use state_machine::failure::Code;
    use state_machine::state::{Durable, SCHEMA_VERSION};

    const V1: &str = include_str!("compat/durable-v1.json");

    #[test]
    fn version_1_is_read_as_what_it_was_written_from() {
        assert_eq!(SCHEMA_VERSION, 1, "a newer schema has a document of its own here");
        assert_eq!(serde_json::from_str::<Durable>(V1).unwrap(), durable());
    }

    #[test]
    fn version_1_is_still_what_is_written() {
        // Whatever changes here, the previous release must be able to read.
        let golden: Value = serde_json::from_str(V1).unwrap();
        let written = serde_json::to_value(durable()).unwrap();
        assert_eq!(written, golden, "a new document would be:\n{written:#}");
    }

    /// Adds a field to every object whose keys are field names.
    fn extend(value: &mut Value, is_map: bool) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields.iter_mut() {
                    // These are keyed by deployment or component; the others by variant.
                    let keyed = [
                        "workloads",
                        "deployments",
                        "held",
                        "phase",
                        "booted",
                        "origin",
                        "verdict",
                    ];
                    extend(field, keyed.contains(&name.as_str()));
                }
                if !is_map {
                    fields.insert("from_a_newer_release".to_owned(), json!({ "any": [1, "x"] }));
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| extend(item, false)),
            _ => {}
        }
    }

    #[test]
    fn fields_of_a_newer_release_are_tolerated_everywhere() {
        let mut document: Value = serde_json::from_str(V1).unwrap();
        extend(&mut document, false);
        assert_eq!(
            document.pointer("/workloads/d-keep/from_a_newer_release/any/0"),
            Some(&json!(1))
        );
        assert_eq!(serde_json::from_value::<Durable>(document).unwrap(), durable());
    }

    #[test]
    fn a_failure_that_only_a_newer_release_knows_costs_its_name_alone() {
        let document = V1.replace("\"CLOCK_BEHIND\"", "\"FROM_A_NEWER_RELEASE\"");
        let read = serde_json::from_str::<Durable>(&document).unwrap();
        let mut expected = durable();
        for workload in expected.workloads.values_mut() {
            if let Some(failure) = &mut workload.failure
                && failure.code == Code::ClockBehind
            {
                failure.code = Code::Internal;
            }
        }
        assert_ne!(expected, durable());
        assert_eq!(read, expected);
    }

    #[test]
    fn fields_that_an_older_release_did_not_write_have_defaults() {
        assert_eq!(serde_json::from_str::<Durable>("{}").unwrap(), Durable::default());
        let workload = json!({
            "desired": { "id": "d", "revision": "r", "version": 3, "name": "n", "components": [] },
            "held": {},
            "phase": "preparing",
        });
        let document = json!({
            "onboarding": { "identity": null, "capabilities": null },
            "sync": { "accepted": null },
            "workloads": { "d": workload },
            "outbox": { "deployments": { "d": { "latest": null } } },
        });
        let durable: Durable = serde_json::from_value(document).unwrap();
        let workload = durable.workloads.values().next().unwrap();
        assert!(workload.dropped_by.is_none() && workload.adopted.is_none());
        assert!(workload.good.is_none() && workload.failure.is_none() && !workload.untidy);
        assert_eq!(durable.firmware, state_machine::firmware::Firmware::default());
        assert!(!durable.sync.preload_ended && durable.onboarding.offered.is_none());
        assert_eq!(durable.outbox.waiting(), 0);
    }

    #[test]
    fn phases_of_firmware_keep_their_names() {
        // One document holds one attempt: the others' names are told here.
        use state_machine::firmware::Phase::*;
        let all =
            [Preparing, Ready, Installing, Installed, Returning, Discarding, Trial, Committing];
        for phase in [&all[..], &[Rejecting]].concat() {
            assert_eq!(serde_json::to_value(phase).unwrap(), json!(phase.as_str()));
        }
        assert_eq!(Rejecting as usize, all.len(), "a phase is missing here");
    }

    #[test]
    fn the_document_has_one_of_everything() {
        let document: Value = serde_json::from_str(V1).unwrap();
        let workloads = document["workloads"].as_object().unwrap();
        let name = |phase: &Value| match phase {
            Value::String(name) => name.clone(),
            other => other.as_object().unwrap().keys().next().unwrap().clone(),
        };
        let mut phases: Vec<String> = workloads.values().map(|w| name(&w["phase"])).collect();
        phases.sort();
        phases.dedup();
        let all = ["applying", "leaving", "prepared", "preparing", "pruning", "removing"];
        assert_eq!(phases, [&all[..], &["restoring", "running"]].concat());
        for code in Code::ALL {
            assert!(V1.contains(code.as_str()), "no failure {code} in the document");
        }
    }
}
