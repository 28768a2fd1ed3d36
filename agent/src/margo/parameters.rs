//! A deployment's parameters as environment variables of its components.

use super::deployment::{DeploymentError, ProfileKind};
use super::wire::{RawParameter, RawTarget};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Most parameters of one deployment.
const PARAMETERS_MAX: usize = 256;
/// Most targets of one parameter.
const TARGETS_MAX: usize = 64;
/// Longest variable name, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// Longest value, in bytes.
const VALUE_BYTES_MAX: usize = 32 * 1024;

/// Variables by component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters(BTreeMap<String, BTreeMap<String, String>>);

impl Parameters {
    pub(super) fn environment_for(&self, component: &str) -> BTreeMap<String, String> {
        self.0.get(component).cloned().unwrap_or_default()
    }
}

/// Resolves parameters to variables. Targets that name none of the components do not apply and are dropped.
/// Only compose profiles have variables; the others' parameters are not looked into.
///
/// # Errors
/// A value without a text form, a name that cannot be a variable, or two values for one variable.
pub(super) fn check(
    raw: BTreeMap<String, RawParameter>,
    profile: &ProfileKind,
    components: &BTreeSet<&str>,
) -> Result<Parameters, DeploymentError> {
    if *profile != ProfileKind::Compose {
        return Ok(Parameters::default());
    }
    if raw.len() > PARAMETERS_MAX {
        let reason = format!("more than {PARAMETERS_MAX} entries");
        return Err(DeploymentError::field("spec.parameters", reason));
    }
    let mut parameters = Parameters::default();
    for (name, parameter) in raw {
        let place = format!("spec.parameters.{}", name.escape_debug());
        let place: String = place.chars().take(160).collect();
        if parameter.targets.len() > TARGETS_MAX {
            let reason = format!("more than {TARGETS_MAX} entries");
            return Err(DeploymentError::field(format!("{place}.targets"), reason));
        }
        let value = stringify(&parameter.value)
            .filter(|text| text.len() <= VALUE_BYTES_MAX && !text.contains('\0'))
            .ok_or_else(|| {
                let reason = "not a scalar or an array of scalars, or too long";
                DeploymentError::field(format!("{place}.value"), reason)
            })?;
        for target in parameter.targets {
            add(&mut parameters, &target, &value, &place, components)?;
        }
    }
    Ok(parameters)
}

fn add(
    parameters: &mut Parameters,
    target: &RawTarget,
    value: &str,
    place: &str,
    components: &BTreeSet<&str>,
) -> Result<(), DeploymentError> {
    let pointer = &target.pointer;
    let usable = !pointer.is_empty()
        && pointer.len() <= NAME_BYTES_MAX
        && !pointer.contains('=')
        && !pointer.chars().any(|char| char.is_control() || char.is_whitespace());
    if !usable {
        let reason = "pointer is not the name of an environment variable";
        return Err(DeploymentError::field(format!("{place}.targets"), reason));
    }
    for component in &target.components {
        if !components.contains(component.as_str()) {
            continue;
        }
        let variables = parameters.0.entry(component.clone()).or_default();
        let old = variables.insert(pointer.clone(), value.to_owned());
        if old.is_some_and(|old| old != value) {
            let reason = format!("another parameter sets `{pointer}` of `{component}` differently");
            return Err(DeploymentError::field(place, reason));
        }
    }
    Ok(())
}

/// Numbers never with an exponent; arrays, which the specification leaves open, as JSON.
fn stringify(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(whole), _, _) => whole.to_string(),
            (None, Some(whole), _) => whole.to_string(),
            (None, None, Some(fraction)) => fraction.to_string(),
            (None, None, None) => return None,
        }),
        Value::Array(items) => {
            let scalars = items
                .iter()
                .all(|item| matches!(item, Value::String(_) | Value::Bool(_) | Value::Number(_)));
            scalars.then(|| value.to_string())
        }
        Value::Null | Value::Object(_) => None,
    }
}
