//! Certificate, key and trust bundle of a package: each by itself, then how they fit together and the time.

use super::defect::{Defect, DefectCode};
use super::package::{BUNDLE, KEY, Package, SVID};
use super::places::Now;
use crate::clock::format_utc;
use crate::identity::{
    LeafRule, Svid, SvidChain, SvidError, SvidKey, TrustBundle, TrustBundleError, VerifyError,
};
use crate::logging::ErrorChain;
use std::collections::BTreeMap;
use std::path::Path;

/// What could be read of them.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    pub(super) chain: Option<Chain>,
    pub(super) bundle: Option<TrustBundle>,
    /// As they will be installed.
    pub(super) files: BTreeMap<String, Vec<u8>>,
}

/// The chain's facts; the chain itself went into the pairing with its key.
#[derive(Debug)]
pub(super) struct Chain {
    id: crate::identity::SpiffeId,
    validity_unix_secs: (i64, i64),
}

impl Chain {
    pub(super) fn id(&self) -> &crate::identity::SpiffeId {
        &self.id
    }

    pub(super) fn validity_unix_secs(&self) -> (i64, i64) {
        self.validity_unix_secs
    }
}

/// Judges the three files. Those that are missing were complained about before.
pub(super) fn judge_identity(
    package: &Package,
    now: Now,
    defects: &mut Vec<Defect>,
    notes: &mut Vec<String>,
) -> Credentials {
    let file = |name: &str| package.files.get(name);
    let chain = file(SVID).and_then(|pem| {
        SvidChain::parse(pem, Path::new(SVID)).map_err(|e| defects.push(svid_defect(&e))).ok()
    });
    let key = file(KEY).and_then(|pem| {
        SvidKey::parse(pem, Path::new(KEY)).map_err(|e| defects.push(svid_defect(&e))).ok()
    });
    let bundle = file(BUNDLE).and_then(|json| {
        TrustBundle::parse(json).map_err(|e| defects.push(bundle_defect(&e))).ok()
    });
    let mut credentials = Credentials::default();
    if let Some(chain) = chain {
        credentials.chain =
            Some(Chain { id: chain.id().clone(), validity_unix_secs: chain.validity_unix_secs() });
        let is_timely = judge_time(&chain, now, defects, notes);
        if let Some(bundle) = &bundle {
            judge_trust(&chain, bundle, now, is_timely, defects);
        }
        if let Some(Err(error)) = key.map(|key| Svid::pair(chain, key)) {
            defects.push(svid_defect(&error));
        }
    }
    credentials.bundle = bundle;
    for name in [SVID, KEY, BUNDLE] {
        credentials.files.extend(file(name).map(|bytes| (name.to_owned(), bytes.clone())));
    }
    credentials
}

/// The validity, by a clock that may be worth nothing. True if the chain can be judged at that time.
fn judge_time(
    chain: &SvidChain,
    now: Now,
    defects: &mut Vec<Defect>,
    notes: &mut Vec<String>,
) -> bool {
    let (begin, end) = chain.validity_unix_secs();
    let earliest = i64::try_from(now.earliest()).unwrap_or(i64::MAX);
    let shown =
        |secs: i64| format_utc(u64::try_from(secs).unwrap_or_default().saturating_mul(1_000));
    let clock = format_utc(now.unix_secs.saturating_mul(1_000));
    if earliest > end {
        let what = format!("was valid until {}, and now it is {}", shown(end), shown(earliest));
        defects.push(Defect::new(DefectCode::SvidExpired, SVID, what).field("notAfter"));
        return false;
    }
    if now.is_behind() {
        notes.push(format!(
            "the clock says {clock}, which is before {}: the certificate's dates ({} to {}) were not judged and the \
             fleet manager is not contacted until the clock is right",
            shown(i64::try_from(now.floor_unix_secs).unwrap_or(i64::MAX)),
            shown(begin),
            shown(end)
        ));
    } else if begin > earliest && now.is_unconfirmed {
        notes.push(format!(
            "the certificate is valid from {}; the clock says {clock} and was not confirmed yet, so that was \
             not held against it",
            shown(begin)
        ));
    } else if begin > earliest {
        let what = format!("is valid from {}, and now it is {clock}", shown(begin));
        defects.push(Defect::new(DefectCode::SvidNotYetValid, SVID, what).field("notBefore"));
        return false;
    }
    true
}

/// The chain against the bundle, at a time at which the leaf is valid.
fn judge_trust(
    chain: &SvidChain,
    bundle: &TrustBundle,
    now: Now,
    is_timely: bool,
    defects: &mut Vec<Defect>,
) {
    let own = chain.id().trust_domain();
    if !bundle.may_be_of(own) {
        let found: Vec<&str> = bundle.trust_domains().collect();
        let what = format!("is of trust domain {}, the certificate of {own}", found.join(", "));
        defects.push(Defect::new(DefectCode::BundleForeign, BUNDLE, what));
        return;
    }
    let (begin, _) = chain.validity_unix_secs();
    let begin = u64::try_from(begin).unwrap_or_default();
    let at = if is_timely { now.earliest().max(begin) } else { begin };
    if let Err(error) = chain.verify_against(bundle, at) {
        defects.push(Defect::new(DefectCode::ChainUntrusted, SVID, trust_words(&error)));
    }
}

fn trust_words(error: &VerifyError) -> String {
    match error {
        VerifyError::Chain(webpki::Error::UnknownIssuer) => {
            "no anchor of bundle.json has issued it, and no intermediate in the file leads to one"
                .to_owned()
        }
        other => other.to_string(),
    }
}

fn svid_defect(error: &SvidError) -> Defect {
    let code = match error {
        SvidError::Certificate { source: LeafRule::Id(_), .. } | SvidError::NotClient { .. } => {
            DefectCode::SpiffeIdInvalid
        }
        SvidError::Certificate { source: LeafRule::Unreadable, .. }
        | SvidError::Certificate { .. } => DefectCode::CertificateInvalid,
        SvidError::ChainLength { count: 0, .. } => DefectCode::CertificateNotPem,
        SvidError::ChainLength { .. } => DefectCode::CertificateInvalid,
        SvidError::Pem { path, .. } if path == Path::new(KEY) => DefectCode::KeyNotPem,
        SvidError::Pem { .. } => DefectCode::CertificateNotPem,
        SvidError::NoKey { .. } => DefectCode::KeyNotPem,
        SvidError::KeyUnsupported { .. } => DefectCode::KeyUnsupported,
        SvidError::KeyMismatch { .. } => DefectCode::KeyMismatch,
        SvidError::Read { .. } | SvidError::KeyExposed { .. } => DefectCode::FileUnreadable,
        SvidError::TooLarge { .. } => DefectCode::FileTooLarge,
    };
    let file = match error {
        SvidError::NoKey { .. }
        | SvidError::KeyUnsupported { .. }
        | SvidError::KeyMismatch { .. } => KEY,
        SvidError::Pem { path, .. } if path == Path::new(KEY) => KEY,
        _ => SVID,
    };
    let defect = Defect::new(code, file, ErrorChain(error).to_string());
    match (code, error) {
        (DefectCode::SpiffeIdInvalid, _) => defect.field("URI name"),
        (_, SvidError::Certificate { index, .. }) => defect.field(format!("certificate {index}")),
        _ => defect,
    }
}

fn bundle_defect(error: &TrustBundleError) -> Defect {
    let what = ErrorChain(error).to_string();
    let defect = Defect::new(DefectCode::BundleInvalid, BUNDLE, what);
    match error {
        TrustBundleError::Key { index, .. } | TrustBundleError::Anchor { index, .. } => {
            defect.field(format!("keys[{index}]"))
        }
        TrustBundleError::TooManyKeys { .. } | TrustBundleError::NoAnchors => defect.field("keys"),
        TrustBundleError::Read { .. }
        | TrustBundleError::File { .. }
        | TrustBundleError::TooLarge { .. }
        | TrustBundleError::Json { .. } => defect,
    }
}
