//! Judges the bodies that devices send. What breaks the schema is "malformed" (400); what fits the schema but contradicts the
//! specification's prose or itself is "semantic" (422).

mod capabilities;
mod status;

pub(super) use capabilities::{capabilities, is_device_id};
pub(super) use status::{Known, StatusBody, status};

use serde_json::{Map, Value};

use crate::net::problem::{FieldError, Problem};

/// Errors listed in one answer; a body with more is broken enough.
const ERRORS_MAX: usize = 20;

/// Collects what is wrong with a body.
#[derive(Debug, Default)]
struct Findings {
    malformed: Vec<FieldError>,
    semantic: Vec<FieldError>,
}

impl Findings {
    fn malformed(&mut self, field: impl Into<String>, message: impl Into<String>) {
        push(&mut self.malformed, field.into(), message.into());
    }

    fn semantic(&mut self, field: impl Into<String>, message: impl Into<String>) {
        push(&mut self.semantic, field.into(), message.into());
    }

    fn finish(self) -> Result<(), Problem> {
        if !self.malformed.is_empty() {
            let detail = "the body does not fit the schema";
            return Err(Problem::invalid_request(detail, self.malformed));
        }
        if !self.semantic.is_empty() {
            return Err(Problem::semantic("the body contradicts the rules", self.semantic));
        }
        Ok(())
    }

    /// A required member of any kind.
    fn required<'a>(
        &mut self,
        object: &'a Map<String, Value>,
        at: &str,
        key: &str,
    ) -> Option<&'a Value> {
        let value = object.get(key);
        if value.is_none() {
            self.malformed(join(at, key), "is required");
        }
        value
    }

    /// A required text.
    fn text<'a>(&mut self, object: &'a Map<String, Value>, at: &str, key: &str) -> Option<&'a str> {
        let value = self.required(object, at, key)?;
        let text = value.as_str();
        if text.is_none() {
            self.malformed(join(at, key), "must be a string");
        }
        text
    }

    /// An optional list of objects, each given to the check with its path.
    fn objects(
        &mut self,
        object: &Map<String, Value>,
        at: &str,
        key: &str,
        mut check: impl FnMut(&mut Self, &Map<String, Value>, &str),
    ) {
        let Some(value) = object.get(key) else { return };
        let path = join(at, key);
        let Some(items) = value.as_array() else {
            return self.malformed(path, "must be an array");
        };
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match item.as_object() {
                Some(item) => check(self, item, &path),
                None => self.malformed(path, "must be an object"),
            }
        }
    }

    /// A required text out of a fixed set.
    fn one_of(&mut self, object: &Map<String, Value>, at: &str, key: &str, known: &[&str]) {
        if let Some(text) = self.text(object, at, key)
            && !known.contains(&text)
        {
            self.malformed(join(at, key), format!("must be one of {}", known.join(", ")));
        }
    }
}

fn push(list: &mut Vec<FieldError>, field: String, message: String) {
    if list.len() < ERRORS_MAX {
        list.push(FieldError { field, message });
    }
}

fn join(at: &str, key: &str) -> String {
    if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") }
}

/// Parses a body as a JSON object.
fn parse(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Problem::invalid_request("the body is not a JSON object", Vec::new())),
        Err(error) => Err(Problem::invalid_request(&format!("not JSON: {error}"), Vec::new())),
    }
}

#[cfg(test)]
mod tests;
