//! The settings of a package: `margo-provision.toml` and its fragments, checked by the agent's own table of keys.

use super::defect::{Defect, DefectCode};
use super::package::{FRAGMENTS, Package, SETTINGS};
use crate::config::{ConfigError, Sources, check_fragment};
use std::path::Path;
use toml::{Table, Value};

/// The table that is about the package itself.
const PACKAGE: &str = "package";
/// What the image decides, not who provisions a device.
const FORBIDDEN: [&[&str]; 4] = [&["paths"], &["engine"], &["local_api"], &["wfm", "identity_dir"]];
/// Tables that add up by this key instead of replacing one another.
const REGISTRY: (&str, &str) = ("registry", "host");

const HEADER: &str = "\
# Written by provisioning (`margoctl provision`, a config drive, or credentials). Do not edit: the next package
# replaces it. Settings of your own go into another fragment beside it.
";

/// What the package says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// Another identity may be replaced.
    pub(super) may_replace: bool,
    /// It brings no identity on purpose: the key is made on the device.
    pub(super) identity_later: bool,
}

/// Settings that are right by themselves.
#[derive(Clone, Debug, Default)]
pub(super) struct PackageSettings {
    pub(super) options: Options,
    /// All fragments together, without the package's own table.
    pub(super) table: Table,
}

impl PackageSettings {
    /// Reads and merges the package's fragments; what is wrong goes to `defects`.
    pub(super) fn read(package: &Package, defects: &mut Vec<Defect>) -> Self {
        let mut settings = Self::default();
        for (name, bytes) in &package.files {
            let is_main = name == SETTINGS;
            if !is_main && !name.starts_with(FRAGMENTS) {
                continue;
            }
            let Ok(text) = std::str::from_utf8(bytes) else {
                defects.push(Defect::new(DefectCode::SettingsSyntax, name, "is not UTF-8 text"));
                continue;
            };
            check(name, text, is_main, defects);
            let Ok(mut table) = text.parse::<Table>() else { continue };
            let about = table.remove(PACKAGE);
            if let (true, Some(about)) = (is_main, about) {
                settings.options = options(&about, defects);
            }
            forbid(name, &table, defects);
            settings.add(table);
        }
        if let Some(url) = &package.url {
            settings.add_url(url, defects);
        }
        settings
    }

    fn add_url(&mut self, url: &str, defects: &mut Vec<Defect>) {
        let table: Table =
            [("url".to_owned(), Value::String(url.to_owned()))].into_iter().collect();
        let table: Table = [("wfm".to_owned(), Value::Table(table))].into_iter().collect();
        check("margo.wfm-url", &table.to_string(), false, defects);
        self.add(table);
    }

    fn add(&mut self, table: Table) {
        let mut table = table;
        if let Some(Value::Array(new)) = table.remove(REGISTRY.0) {
            self.add_registries(new);
        }
        merge(&mut self.table, table);
    }

    fn add_registries(&mut self, new: Vec<Value>) {
        let host = |value: &Value| value.get(REGISTRY.1).cloned();
        let entry = self.table.entry(REGISTRY.0).or_insert_with(|| Value::Array(Vec::new()));
        let Value::Array(all) = entry else { return };
        for registry in new {
            all.retain(|old| host(old) != host(&registry));
            all.push(registry);
        }
    }

    /// The fleet manager's address, if the package gives one.
    pub(super) fn url(&self) -> Option<&str> {
        self.table.get("wfm")?.get("url")?.as_str()
    }

    /// The text of the device's fragment; `None` when there is nothing to set.
    pub(super) fn text(&self) -> Option<String> {
        (!self.table.is_empty()).then(|| format!("{HEADER}\n{}", self.table))
    }

    /// Files that registries of the package want below `directory`, with the key that names them.
    pub(super) fn files_below(&self, directory: &Path) -> Vec<(String, String)> {
        let registries = self.table.get(REGISTRY.0).and_then(Value::as_array);
        let mut files = Vec::new();
        for registry in registries.into_iter().flatten() {
            for key in ["password_file", "ca_file"] {
                let path = registry.get(key).and_then(Value::as_str).map(Path::new);
                let name = path.and_then(|path| path.strip_prefix(directory).ok());
                if let Some(name) = name {
                    files.push((format!("registry.{key}"), name.display().to_string()));
                }
            }
        }
        files
    }
}

/// Later values win, key by key.
fn merge(all: &mut Table, new: Table) {
    for (key, value) in new {
        match (all.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (_, value) => {
                all.insert(key, value);
            }
        }
    }
}

fn check(name: &str, text: &str, is_main: bool, defects: &mut Vec<Defect>) {
    let errors = check_fragment(Path::new(name), text);
    let is_own = |error: &ConfigError| matches!(error, ConfigError::UnknownKey { key, .. } if is_main && key == PACKAGE);
    defects.extend(errors.iter().filter(|error| !is_own(error)).map(defect));
}

/// A mistake of the configuration as one of the package.
pub(super) fn defect(error: &ConfigError) -> Defect {
    let (code, place, field) = match error {
        ConfigError::Syntax { place, .. } => (DefectCode::SettingsSyntax, Some(place), None),
        ConfigError::UnknownKey { place, key, .. } => {
            (DefectCode::SettingUnknown, Some(place), Some(key))
        }
        ConfigError::Invalid { place, key, .. } | ConfigError::WrongType { place, key, .. }
            if key == "wfm.url" =>
        {
            (DefectCode::UrlInvalid, Some(place), Some(key))
        }
        ConfigError::WrongType { place, key, .. }
        | ConfigError::OutOfRange { place, key, .. }
        | ConfigError::Invalid { place, key, .. }
        | ConfigError::Missing { place, key } => {
            (DefectCode::SettingInvalid, Some(place), Some(key))
        }
        ConfigError::Conflict { place, .. } => (DefectCode::SettingInvalid, Some(place), None),
        ConfigError::Table { key } => (DefectCode::SettingInvalid, None, Some(key)),
        ConfigError::ListDir { .. }
        | ConfigError::Read { .. }
        | ConfigError::TooManyFiles { .. }
        | ConfigError::TooLarge { .. } => (DefectCode::SettingInvalid, None, None),
    };
    let file = place.map_or_else(|| "the device's configuration".to_owned(), ToString::to_string);
    let message = crate::logging::ErrorChain(error).to_string();
    // The place is said already.
    let what = message.strip_prefix(&format!("{file}: ")).unwrap_or(&message).to_owned();
    let defect = Defect::new(code, file, what);
    match field {
        Some(field) => defect.field(field),
        None => defect,
    }
}

/// What only the image may set.
fn forbid(name: &str, table: &Table, defects: &mut Vec<Defect>) {
    for path in FORBIDDEN {
        let mut keys = path.iter();
        let first = keys.next().and_then(|key| table.get(*key));
        if keys.fold(first, |value, key| value.and_then(|value| value.get(*key))).is_some() {
            let what = "belongs to the image and cannot be provisioned";
            let defect = Defect::new(DefectCode::SettingNotAllowed, name, what);
            defects.push(defect.field(path.join(".")));
        }
    }
}

fn options(about: &Value, defects: &mut Vec<Defect>) -> Options {
    let mut options = Options::default();
    let mut refuse = |code, key: &str, what: &str| {
        defects.push(Defect::new(code, SETTINGS, what).field(format!("{PACKAGE}.{key}")));
    };
    let Some(table) = about.as_table() else {
        refuse(DefectCode::SettingInvalid, "", "must be a table");
        return options;
    };
    for (key, value) in table {
        match (key.as_str(), value) {
            ("replace", Value::Boolean(replace)) => options.may_replace = *replace,
            ("replace", _) => refuse(DefectCode::SettingInvalid, key, "must be true or false"),
            ("identity", Value::String(word)) if word == "later" => options.identity_later = true,
            ("identity", Value::String(word)) if word == "here" => {}
            ("identity", _) => {
                refuse(DefectCode::SettingInvalid, key, "must be \"here\" or \"later\"");
            }
            _ => refuse(
                DefectCode::SettingUnknown,
                key,
                "there is no such key; known are replace and identity",
            ),
        }
    }
    options
}

/// Whether the device would run with these settings beside its other fragments.
pub(super) fn check_merged(sources: &Sources, text: &str, defects: &mut Vec<Defect>) {
    if let Err(errors) = sources.load_provisioned(text) {
        defects.extend(errors.0.iter().map(defect));
    }
}
