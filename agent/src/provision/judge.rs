//! Whether a package may be installed on this device: everything that is wrong with it, at once.

use super::defect::{Defect, DefectCode};
use super::identity::{Credentials, judge_identity};
use super::install::Wanted;
use super::package::{BUNDLE, KEY, Package, REGISTRY, SETTINGS, SVID};
use super::places::Places;
use super::settings::{self, PackageSettings};
use crate::clock::format_utc;
use crate::identity::Svid;

/// Who asks, which decides what an already provisioned device does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A person, who may say that an identity is to be replaced.
    Person {
        /// They said so.
        replace: bool,
    },
    /// Nobody: a drive or credentials, which are there at every boot and must not undo what came later.
    Unattended,
}

/// The verdict on a package.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    /// What is wrong; empty = it may be installed.
    pub(super) defects: Vec<Defect>,
    /// What is worth saying.
    pub(super) notes: Vec<String>,
    /// What would be installed; meaningless with defects.
    pub(super) wanted: Wanted,
    /// The identity it brings.
    pub(super) spiffe_id: Option<String>,
    /// The package is right and the device stays as it is, for this reason.
    pub(super) kept: Option<String>,
}

/// Judges a package for this device.
pub(super) fn judge(package: &Package, places: &Places, way: Way) -> Judgement {
    let mut judgement = Judgement::default();
    let (unknown, defects): (Vec<_>, Vec<_>) =
        package.defects.iter().cloned().partition(|defect| defect.code == DefectCode::FileUnknown);
    judgement.notes = unknown.iter().map(ToString::to_string).collect();
    judgement.defects = defects;
    if judgement.defects.iter().any(|defect| defect.code == DefectCode::PackageUnreadable) {
        // Nothing more can be said about what cannot be read.
        return judgement;
    }
    let settings = PackageSettings::read(package, &mut judgement.defects);
    let may_replace = settings.options.may_replace || way == Way::Person { replace: true };
    let credentials = presence(package, places, &settings, &mut judgement);
    let credentials = credentials.then(|| {
        judge_identity(package, places.now(), &mut judgement.defects, &mut judgement.notes)
    });
    judge_settings(package, places, &settings, &mut judgement);
    if let Some(credentials) = &credentials {
        judgement.spiffe_id = credentials.chain.as_ref().map(|chain| chain.id().to_string());
        compare(credentials, places, &settings, way, may_replace, &mut judgement);
    }
    judgement
}

/// Whether the package brings an identity; what is missing is said.
fn presence(
    package: &Package,
    places: &Places,
    settings: &PackageSettings,
    judgement: &mut Judgement,
) -> bool {
    let files = [SVID, KEY, BUNDLE];
    let brings_any = files.iter().any(|file| package.mentions(file));
    let is_complete_without = settings.options.identity_later || places.svid().is_some();
    if !brings_any && is_complete_without && !package.files.is_empty() | package.url.is_some() {
        if places.svid().is_none() {
            judgement.notes.push("the identity is to come later".to_owned());
        }
        return false;
    }
    for file in files.iter().filter(|file| !package.mentions(file)) {
        let what = format!("is not in {}", package.source);
        judgement.defects.push(Defect::new(DefectCode::FileMissing, *file, what));
    }
    true
}

fn judge_settings(
    package: &Package,
    places: &Places,
    settings: &PackageSettings,
    judgement: &mut Judgement,
) {
    let url_is_wrong = judgement.defects.iter().any(|d| d.code == DefectCode::UrlInvalid);
    if settings.url().is_none() && places.url().is_none() && !url_is_wrong {
        let defect = if package.mentions(SETTINGS) {
            let what = "has no `url` under `[wfm]`, and the device's configuration has none";
            Defect::new(DefectCode::UrlMissing, SETTINGS, what).field("wfm.url")
        } else {
            let what = format!("is not in {}: it names the fleet manager", package.source);
            Defect::new(DefectCode::FileMissing, SETTINGS, what)
        };
        judgement.defects.push(defect);
    }
    let brought = |name: &String| package.files.contains_key(&format!("{REGISTRY}{name}"));
    for (key, name) in settings.files_below(Places::registry_name()) {
        if !brought(&name) && !places.registry_dir.join(&name).exists() {
            let what = format!("is named by {key} and is not in {}", package.source);
            let file = format!("{REGISTRY}{name}");
            judgement.defects.push(Defect::new(DefectCode::FileMissing, file, what).field(key));
        }
    }
    let text = settings.text();
    if let Some(text) = text.as_deref().filter(|_| judgement.defects.iter().all(is_no_setting)) {
        settings::check_merged(&places.sources, text, &mut judgement.defects);
        note_overridden(places, settings, text, &mut judgement.notes);
    }
    judgement.wanted.settings = text.map(String::into_bytes);
    judgement.wanted.registry = package
        .files
        .iter()
        .filter_map(|(name, bytes)| Some((name.strip_prefix(REGISTRY)?.to_owned(), bytes.clone())))
        .collect();
}

fn is_no_setting(defect: &Defect) -> bool {
    !matches!(
        defect.code,
        DefectCode::SettingsSyntax
            | DefectCode::SettingUnknown
            | DefectCode::SettingInvalid
            | DefectCode::SettingNotAllowed
            | DefectCode::UrlInvalid
    )
}

/// A later fragment of the device may win over the package.
fn note_overridden(
    places: &Places,
    settings: &PackageSettings,
    text: &str,
    notes: &mut Vec<String>,
) {
    let Ok(merged) = places.sources.load_provisioned(text) else { return };
    if let (Some(wanted), Some(url)) = (settings.url(), merged.wfm.url.as_deref())
        && wanted != url
    {
        notes.push(format!("another fragment sets wfm.url to {url}, which wins over {wanted}"));
    }
}

/// Against what is installed: is it the same device, and is it any newer?
fn compare(
    credentials: &Credentials,
    places: &Places,
    settings: &PackageSettings,
    way: Way,
    may_replace: bool,
    judgement: &mut Judgement,
) {
    judgement.wanted.identity = credentials.files.clone();
    let (Some(chain), Some(installed)) = (&credentials.chain, places.svid()) else { return };
    let is_same = installed.id() == chain.id();
    if !is_same && !may_replace {
        let what = format!("is {}, the device is {}", chain.id(), installed.id());
        judgement.defects.push(Defect::new(DefectCode::OtherIdentity, SVID, what));
    }
    let other_url = match (settings.url(), places.url()) {
        (Some(new), Some(old)) if new != old && !may_replace => {
            Some(format!("is {new}, the device's is {old}"))
        }
        _ => None,
    };
    let highest = places.bundle().and_then(|bundle| bundle.sequence());
    let bundle = credentials.bundle.as_ref();
    let is_rollback = is_same && bundle.is_some_and(|bundle| !bundle.may_follow(highest));
    let (begin, _) = chain.validity_unix_secs();
    let is_newer = begin > installed.not_before_unix_secs() && !is_rollback;
    if way == Way::Unattended && is_same && !is_newer {
        if may_replace {
            // Settings may be corrected; an identity that was renewed since stays.
            judgement.wanted.identity.clear();
        } else {
            judgement.kept = Some(kept(&installed, other_url.as_deref()));
        }
        return;
    }
    if let Some(what) = other_url {
        let defect = Defect::new(DefectCode::OtherIdentity, SETTINGS, what).field("wfm.url");
        judgement.defects.push(defect);
    }
    if is_rollback && !may_replace {
        let sequence = bundle.and_then(crate::identity::TrustBundle::sequence).unwrap_or_default();
        let highest = highest.unwrap_or_default();
        let what = format!("has sequence {sequence}, the installed one {highest}");
        judgement
            .defects
            .push(Defect::new(DefectCode::BundleOlder, BUNDLE, what).field("spiffe_sequence"));
    }
    if is_same && begin < installed.not_before_unix_secs() {
        let text = "the certificate is older than the installed one of the same identity";
        judgement.notes.push(text.to_owned());
    }
}

/// Why a package that is no news changes nothing.
fn kept(installed: &Svid, other_url: Option<&str>) -> String {
    let since = u64::try_from(installed.not_before_unix_secs()).unwrap_or_default();
    let since = format_utc(since.saturating_mul(1_000));
    let id = installed.id();
    let mut text =
        format!("the device already is {id}, with a certificate of {since}, as new or newer");
    if let Some(other) = other_url {
        text.push_str(&format!("; the package's wfm.url {other}: `replace = true` would take it"));
    }
    text
}
