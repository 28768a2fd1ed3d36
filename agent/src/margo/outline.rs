//! What can be told of a document that is refused: names only, for the report of its refusal.
//!
//! The WFM takes a report only if it has one entry for each component (R183) and the deployment's own name as the source
//! of its error (R185), also when what is wrong is the document. So the names are looked for where they should be,
//! whatever else is there. They are never acted on: preparing the document refuses it.

use super::deployment::{NAME_BYTES_MAX, yaml_options};
use serde_json::Value;
use std::collections::BTreeSet;

/// Most components named (I11). More than a valid document may have: too many is one of the reasons for a refusal.
const NAMED_MAX: usize = 128;

/// The names in a refused document. All empty where nothing can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// `metadata.name`.
    pub name: Option<String>,
    /// `spec.deploymentProfile.type` is `custom`.
    pub is_custom: bool,
    /// `spec.deploymentProfile.components[].name`, in order, each once. Not necessarily valid names.
    pub components: Vec<String>,
}

impl Outline {
    /// Reads what there is to read, within the limits of a valid document.
    pub fn read(yaml: &[u8]) -> Self {
        // What is no YAML at all, or has keys twice, has no names that anybody could agree on.
        let Ok(root) = serde_saphyr::from_slice_with_options::<Value>(yaml, yaml_options()) else {
            return Self::default();
        };
        let text = |pointer: &str| root.pointer(pointer).and_then(name);
        let components = root.pointer("/spec/deploymentProfile/components");
        let components = components.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let mut seen = BTreeSet::new();
        Self {
            name: text("/metadata/name"),
            is_custom: text("/spec/deploymentProfile/type").as_deref() == Some("custom"),
            components: components
                .iter()
                .filter_map(|component| component.get("name").and_then(name))
                .filter(|name| seen.insert(name.clone()))
                .take(NAMED_MAX)
                .collect(),
        }
    }
}

/// A text that can stand in a report.
fn name(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        // Written without quotes; the WFM means the text.
        Value::Number(number) => number.to_string(),
        Value::Bool(_) | Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    let fits = !text.is_empty() && text.len() <= NAME_BYTES_MAX;
    (fits && !text.chars().any(char::is_control)).then_some(text)
}
