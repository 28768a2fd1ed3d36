//! Bundles: where RAUC reads one from, and what it finds in it.

use super::slots::{peel, string};
use state_machine::effect::Bundle;
use state_machine::failure::{Code, Failure};
use std::collections::HashMap;
use zbus::{OwnedVariant, Variant};

/// Where RAUC reads a bundle from, as it wants to be told.
#[derive(Clone, PartialEq, Eq)]
pub struct Origin {
    /// A path or a URL.
    pub location: String,
    /// Headers of every request, `Name: value`; may hold a token.
    pub headers: Vec<String>,
    /// PEM file of the authority that signed the server's certificate.
    pub tls_ca: Option<String>,
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Tokens must never reach a log.
        f.debug_struct("Origin").field("location", &self.location).finish_non_exhaustive()
    }
}

impl Origin {
    /// A path or URL that needs nothing else.
    pub fn plain(location: impl Into<String>) -> Self {
        Self { location: location.into(), headers: Vec::new(), tls_ca: None }
    }

    /// Whether RAUC reads it over the network while it installs.
    pub fn is_streamed(&self) -> bool {
        ["http://", "https://"].iter().any(|scheme| self.location.starts_with(scheme))
    }

    /// The arguments that `InspectBundle` and `InstallBundle` share.
    pub(super) fn arguments(&self) -> HashMap<&'static str, Variant<'static>> {
        let mut arguments = HashMap::new();
        if !self.headers.is_empty() {
            arguments.insert("http-headers", Variant::new(self.headers.clone()));
        }
        if let Some(tls_ca) = &self.tls_ca {
            arguments.insert("tls-ca", Variant::new(tls_ca.clone()));
        }
        arguments
    }
}

/// What `InspectBundle` tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) compatible: String,
    pub(super) version: String,
    pub(super) manifest: Option<String>,
}

impl Contents {
    /// Reads the answer; what is absent stays empty.
    pub(super) fn read(answer: &HashMap<String, OwnedVariant>) -> Self {
        let find = |wanted: &str| {
            let Variant::Dict(update) = peel(answer.get("update")?) else { return None };
            let (_, found) =
                update.iter().find(|(key, _)| string(key).as_deref() == Some(wanted))?;
            string(found).filter(|found| !found.is_empty())
        };
        Self {
            compatible: find("compatible").unwrap_or_default(),
            version: find("version").unwrap_or_default(),
            manifest: answer.get("manifest-hash").and_then(|hash| string(hash)),
        }
    }

    /// The bundle, if it is made for this device.
    ///
    /// # Errors
    /// [`Code::FirmwareRejected`], with what was expected and what was found.
    pub(super) fn judge(self, compatible: &str) -> Result<Bundle, Failure> {
        if self.compatible != compatible {
            let message = format!(
                "the bundle is made for `{}`, this device is `{compatible}`",
                self.compatible
            );
            return Err(Failure::new(Code::FirmwareRejected, message));
        }
        if self.version.is_empty() {
            let message = "the bundle's manifest has no `version` under [update]";
            return Err(Failure::new(Code::FirmwareRejected, message));
        }
        Ok(Bundle { version: self.version, manifest: self.manifest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(compatible: &str, version: &str) -> Contents {
        Contents {
            compatible: compatible.to_owned(),
            version: version.to_owned(),
            manifest: Some("ab".to_owned()),
        }
    }

    #[test]
    fn a_bundle_for_another_device_or_without_version_is_rejected() {
        assert_eq!(contents("dev", "2").judge("dev").unwrap().version, "2");
        for (one, said) in [(contents("other", "2"), "other"), (contents("dev", ""), "version")] {
            let failure = one.judge("dev").unwrap_err();
            assert_eq!(failure.code, Code::FirmwareRejected);
            assert!(failure.message.contains(said), "{failure}");
        }
    }

    #[test]
    fn an_answer_with_nothing_in_it_is_empty() {
        assert_eq!(Contents::read(&HashMap::new()), Contents::default());
    }

    #[test]
    fn a_token_is_not_shown() {
        let mut origin = Origin::plain("https://r.example/v2/fw/blobs/sha256:0");
        origin.headers.push("Authorization: Bearer secret".to_owned());
        assert!(origin.is_streamed() && !Origin::plain("/fw.raucb").is_streamed());
        assert!(!format!("{origin:?}").contains("secret"));
        assert_eq!(origin.arguments().len(), 1);
    }
}
