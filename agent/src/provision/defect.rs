//! What can be wrong with a provisioning package: one stable code each, with cause and next step.
//!
//! The table feeds `margoctl explain` and the page `agent/dist/PROVISIONING.md`.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! defects {
    ($( $variant:ident, $text:literal, $cause:literal, $next:literal; )*) => {
        /// The kind of a defect. Never renamed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        // Through text: derived for the variants it would take several times the space in the program.
        #[serde(try_from = "String", into = "String")]
        pub enum DefectCode { $(
            #[doc = $cause]
            $variant,
        )* }

        impl DefectCode {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// What it means.
            pub const fn cause(self) -> &'static str {
                match self { $(Self::$variant => $cause),* }
            }

            /// What a person can do.
            pub const fn next_action(self) -> &'static str {
                match self { $(Self::$variant => $next),* }
            }
        }
    };
}

defects! {
    PackageUnreadable, "PACKAGE_UNREADABLE",
        "The package itself cannot be opened: the directory, archive, drive or credentials.",
        "Check the path and that you may read it. A drive needs a FAT, ext4 or ISO 9660 file system.";
    PackageTooLarge, "PACKAGE_TOO_LARGE",
        "The package holds more files or bytes than any provisioning package needs.",
        "Put nothing but the provisioning files into it.";
    FileMissing, "FILE_MISSING",
        "A file that the package needs is not in it.",
        "Add the file. A package without an identity says so: `identity = \"later\"` under `[package]`.";
    FileUnreadable, "FILE_UNREADABLE",
        "A file of the package is there and cannot be read.",
        "Check the file's permissions, or run the command as root.";
    FileTooLarge, "FILE_TOO_LARGE",
        "A file is larger than such a file can be.",
        "Check that it is the right file.";
    FileUnknown, "FILE_UNKNOWN",
        "The package holds a file that provisioning does not know.",
        "Take it out, or correct its name.";
    SettingsSyntax, "SETTINGS_SYNTAX",
        "The settings are not valid TOML.",
        "Correct the named line.";
    SettingUnknown, "SETTING_UNKNOWN",
        "The settings have a key that does not exist.",
        "Correct the key; `10-defaults.toml` lists all of them.";
    SettingInvalid, "SETTING_INVALID",
        "A key of the settings has a value it cannot have, or does not fit the device's other settings.",
        "Correct the value as the message says.";
    SettingNotAllowed, "SETTING_NOT_ALLOWED",
        "A key of the settings is the image's business and cannot be provisioned.",
        "Take the key out, or set it in a fragment of the image.";
    UrlMissing, "URL_MISSING",
        "Neither the package nor the device's configuration says where the fleet manager is.",
        "Add `url` under `[wfm]`.";
    UrlInvalid, "URL_INVALID",
        "The fleet manager's address is not an https URL.",
        "Write it like `https://wfm.example.com`, without user, query or fragment.";
    CertificateNotPem, "CERTIFICATE_NOT_PEM",
        "The certificate file is not PEM, or holds no certificate.",
        "Give the chain as PEM: the leaf first, then each intermediate.";
    CertificateInvalid, "CERTIFICATE_INVALID",
        "A certificate of the chain breaks the rules for an X.509-SVID.",
        "Have the certificate issued again; the message names the rule.";
    SpiffeIdInvalid, "SPIFFE_ID_INVALID",
        "The certificate's URI is not the SPIFFE ID of a fleet manager's client.",
        "Have it issued for `spiffe://<trust domain>/margo/wfm/<wfm id>/client/<client id>`.";
    SvidExpired, "SVID_EXPIRED",
        "The certificate's validity is over.",
        "Have a new one issued. If that is wrong, correct the device's clock.";
    SvidNotYetValid, "SVID_NOT_YET_VALID",
        "The certificate's validity has not begun, by a clock that looks right.",
        "Wait, have it issued with an earlier beginning, or correct the device's clock.";
    KeyNotPem, "KEY_NOT_PEM",
        "The key file holds no unencrypted PKCS#8 key in PEM.",
        "Convert it: `openssl pkcs8 -topk8 -nocrypt -in old.key -out svid.key`.";
    KeyUnsupported, "KEY_UNSUPPORTED",
        "The private key is of a kind that cannot be used.",
        "Use ECDSA P-256; P-384, Ed25519 and RSA of 3072 bits or more work as well.";
    KeyMismatch, "KEY_MISMATCH",
        "The certificate was not issued for this key.",
        "Take key and certificate from the same issue.";
    KeyRequestMissing, "KEY_REQUEST_MISSING",
        "A chain was given and no key waits for one on this device.",
        "Run `margoctl provision key-request` first and have that request signed.";
    BundleInvalid, "BUNDLE_INVALID",
        "The trust bundle is no SPIFFE bundle document with at least one X.509 anchor.",
        "Fetch the trust domain's bundle again, as JSON.";
    BundleForeign, "BUNDLE_FOREIGN",
        "The trust bundle belongs to another trust domain than the certificate.",
        "Take the bundle of the trust domain that the certificate names.";
    BundleOlder, "BUNDLE_OLDER",
        "The trust bundle has a lower sequence number than the one that is installed.",
        "Take the newest bundle, or replace on purpose: `--replace`, or `replace = true` under `[package]`.";
    ChainUntrusted, "CHAIN_UNTRUSTED",
        "The certificate chain does not lead to an anchor of the trust bundle.",
        "Add the missing intermediates to the chain, or take the matching bundle.";
    OtherIdentity, "OTHER_IDENTITY",
        "The device already is someone else, or belongs to another fleet manager's address.",
        "If that is meant: `--replace`, or `replace = true` under `[package]`.";
    InstallFailed, "INSTALL_FAILED",
        "The package is good and could not be written to this device.",
        "Run as root, and check that /etc/margo-agent is writable and has space.";
}

impl From<DefectCode> for String {
    fn from(code: DefectCode) -> Self {
        code.as_str().to_owned()
    }
}

impl TryFrom<String> for DefectCode {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let found = Self::ALL.iter().copied().find(|code| code.as_str() == text);
        found.ok_or("there is no such code")
    }
}

impl fmt::Display for DefectCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defect {
    /// Its kind.
    pub code: DefectCode,
    /// The file at fault, with the line if there is one; the package as a whole where it is no single file.
    pub file: String,
    /// The key or field at fault, if it is a part of the file.
    pub field: Option<String>,
    /// What is wrong with it.
    pub what: String,
}

impl Defect {
    pub(super) fn new(code: DefectCode, file: impl Into<String>, what: impl Into<String>) -> Self {
        Self { code, file: file.into(), field: None, what: what.into() }
    }

    pub(super) fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.file)?;
        if let Some(field) = &self.field {
            write!(f, " [{field}]")?;
        }
        write!(f, ": {}", self.what)
    }
}
