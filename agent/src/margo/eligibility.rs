//! Whether this device may run a deployment: `deviceConstraints` against its own capabilities (R136–R138).
//!
//! Capacity first; then the rules, of which one must match. An expression that is malformed, or that compares what
//! cannot be compared, is false. Every "no" comes with a reason for the status report.

use super::quantity;
use super::wire::{CapacityRequirements, DeviceConstraints, MatchExpression, Selector};
use serde_json::Value;

/// Longest reason, in characters.
const REASON_CHARS_MAX: usize = 400;
/// Deepest nesting of item selectors.
const DEPTH_MAX: usize = 8;

/// The verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Eligibility {
    /// It may run here.
    Eligible,
    /// It may not, and why.
    Ineligible {
        /// For a person: what was required and what was found.
        reason: String,
    },
}

/// Evaluates constraints against a capabilities document (`properties` and `labels`), as it is reported.
pub fn evaluate(constraints: &DeviceConstraints, capabilities: &Value) -> Eligibility {
    let properties = capabilities.get("properties").unwrap_or(&Value::Null);
    let labels = capabilities.get("labels").unwrap_or(&Value::Null);
    let verdict = capacity(constraints.capacity_requirements.as_ref(), properties)
        .and_then(|()| rules(constraints, properties, labels));
    match verdict {
        Ok(()) => Eligibility::Eligible,
        Err(reason) => {
            Eligibility::Ineligible { reason: reason.chars().take(REASON_CHARS_MAX).collect() }
        }
    }
}

fn capacity(required: Option<&CapacityRequirements>, properties: &Value) -> Result<(), String> {
    let Some(required) = required else { return Ok(()) };
    if let Some(cpu) = &required.cpu {
        // Cores of separate entries are never summed (R108).
        let fits = |entry: &Value| {
            let cores = entry.get("cores").and_then(Value::as_f64).unwrap_or(0.0);
            let architecture = entry.get("architecture").and_then(Value::as_str);
            let listed = cpu.architectures.is_empty()
                || architecture.is_some_and(|own| cpu.architectures.iter().any(|one| one == own));
            cores >= cpu.cores && listed
        };
        let cpus = properties.get("cpus").and_then(Value::as_array);
        if !cpus.is_some_and(|cpus| cpus.iter().any(fits)) {
            let kinds = cpu.architectures.join("|");
            return Err(format!("no cpu has {} cores of [{kinds}]", cpu.cores));
        }
    }
    enough("memory", required.memory.as_deref(), properties)?;
    enough("storage", required.storage.as_deref(), properties)
}

fn enough(name: &str, required: Option<&str>, properties: &Value) -> Result<(), String> {
    let Some(required) = required else { return Ok(()) };
    let own = properties.get(name).and_then(Value::as_str).unwrap_or("none");
    match (quantity::parse(required), quantity::parse(own)) {
        (Some(wanted), Some(found)) if found >= wanted => Ok(()),
        (None, _) => Err(format!("required {name} `{required}` is not a quantity")),
        (Some(_), _) => Err(format!("{required} of {name} required, device has {own}")),
    }
}

fn rules(
    constraints: &DeviceConstraints,
    properties: &Value,
    labels: &Value,
) -> Result<(), String> {
    let rules = constraints.eligibility_rules.as_deref().unwrap_or_default();
    let mut reasons = Vec::new();
    for rule in rules {
        let by_property = rule
            .property_selector
            .as_ref()
            .map_or(Ok(()), |selector| all(selector, &|key| property(properties, key), 0));
        let verdict = by_property.and_then(|()| {
            rule.label_selector
                .as_ref()
                .map_or(Ok(()), |selector| all(selector, &|key| label(labels, key), 0))
        });
        match verdict {
            Ok(()) => return Ok(()),
            Err(reason) => reasons.push(reason),
        }
    }
    if rules.is_empty() {
        return Ok(());
    }
    Err(format!("no eligibility rule matches: {}", reasons.join("; ")))
}

/// What a key leads to.
enum Found<'a> {
    /// Nothing is there.
    Nothing,
    /// A comparable value.
    Value(&'a Value),
    /// Something no operator is defined for.
    Unusable,
}

type Lookup<'l, 'v> = &'l dyn Fn(&str) -> Found<'v>;

fn property<'v>(properties: &'v Value, key: &str) -> Found<'v> {
    // The empty pointer is the whole object, for which no operator is defined.
    match properties.pointer(key) {
        None => Found::Nothing,
        Some(value) => usable(value),
    }
}

/// Elements that are scalars themselves have no members.
fn label<'v>(labels: &'v Value, key: &str) -> Found<'v> {
    labels.get(key).map_or(Found::Nothing, usable)
}

fn usable(value: &Value) -> Found<'_> {
    let good = match value {
        Value::String(_) | Value::Number(_) | Value::Bool(_) => true,
        Value::Array(items) => {
            items.iter().all(Value::is_string)
                || items.iter().all(Value::is_number)
                || items.iter().all(Value::is_object)
        }
        Value::Null | Value::Object(_) => false,
    };
    if good { Found::Value(value) } else { Found::Unusable }
}

fn all(selector: &Selector, lookup: Lookup<'_, '_>, depth: usize) -> Result<(), String> {
    selector.match_expressions.iter().try_for_each(|expression| {
        let found = lookup(&expression.key);
        if matches(expression, &found, depth) { Ok(()) } else { Err(reason(expression, &found)) }
    })
}

fn reason(expression: &MatchExpression, found: &Found<'_>) -> String {
    let values = expression.values.as_deref().unwrap_or_default();
    let wanted: Vec<String> = values.iter().map(Value::to_string).collect();
    let own = match found {
        Found::Nothing => "it is absent".to_owned(),
        Found::Value(value) => format!("it is {value}"),
        Found::Unusable => "its type cannot be compared".to_owned(),
    };
    format!("`{}` {} [{}], but {own}", expression.key, expression.operator, wanted.join(","))
}

fn matches(expression: &MatchExpression, found: &Found<'_>, depth: usize) -> bool {
    let values = expression.values.as_deref().unwrap_or_default();
    let value = match found {
        Found::Unusable => return false,
        Found::Nothing => return expression.operator == "DoesNotExist" && values.is_empty(),
        Found::Value(value) => *value,
    };
    let objects = match value {
        Value::Array(items) if items.first().is_some_and(Value::is_object) => Some(items),
        _ => None,
    };
    match (expression.operator.as_str(), objects) {
        // The published table spells the second one `ContainersAny`.
        ("ContainsAll" | "ContainsAny" | "ContainersAny", Some(items)) => {
            contains(expression, items, depth)
        }
        (_, Some(_)) => false,
        ("In", None) => one_type(values) && contains_one(value, values),
        ("NotIn", None) => one_type(values) && !contains_one(value, values),
        ("Exists", None) => values.is_empty(),
        ("Gt", None) => ordered(value, values, |own, limit| own > limit),
        ("Lt", None) => ordered(value, values, |own, limit| own < limit),
        // `DoesNotExist` on something that exists, and operators unknown here.
        (_, None) => false,
    }
}

/// Strings, numbers, or one boolean; at least one.
fn one_type(values: &[Value]) -> bool {
    !values.is_empty()
        && (values.iter().all(Value::is_string)
            || values.iter().all(Value::is_number)
            || (values.len() == 1 && values.iter().all(Value::is_boolean)))
}

fn contains_one(own: &Value, values: &[Value]) -> bool {
    match own {
        Value::Array(items) => items.iter().any(|item| values.iter().any(|one| equal(item, one))),
        scalar => values.iter().any(|one| equal(scalar, one)),
    }
}

/// `1` equals `1.0`; texts are compared exactly.
fn equal(left: &Value, right: &Value) -> bool {
    left == right
        || match (left.as_f64(), right.as_f64()) {
            (Some(left), Some(right)) => left == right,
            _ => false,
        }
}

fn ordered(own: &Value, values: &[Value], compare: fn(f64, f64) -> bool) -> bool {
    match (own.as_f64(), values) {
        (Some(own), [limit]) => limit.as_f64().is_some_and(|limit| compare(own, limit)),
        _ => false,
    }
}

fn contains(expression: &MatchExpression, items: &[Value], depth: usize) -> bool {
    let Some(selector) = expression.item_selector.as_deref() else { return false };
    if expression.values.as_ref().is_some_and(|values| !values.is_empty()) || depth >= DEPTH_MAX {
        return false;
    }
    let deeper = depth.saturating_add(1);
    items.iter().any(|item| {
        let lookup = |key: &str| property(item, key);
        if expression.operator == "ContainsAll" {
            all(selector, &lookup, deeper).is_ok()
        } else {
            selector
                .match_expressions
                .iter()
                .any(|inner| matches(inner, &lookup(&inner.key), deeper))
        }
    })
}
