//! The relationship with the WFM: key and SVID, trust bundle, client.

use super::{Shared, lock};
use crate::clock;
use crate::identity::{Clock as TlsClock, Svid, TrustBundle, client_config};
use crate::log_message;
use crate::logging::{ErrorChain, catalog};
use crate::margo::{Limits, WfmClient, WfmError};
use crate::workload::blocking;
use state_machine::effect::Outcome;
use state_machine::failure::{Code, Failure};
use std::sync::Arc;

/// What there is of it so far.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// The device's SVID.
    pub svid: Option<Arc<Svid>>,
    /// Why there is no usable one.
    pub identity_error: Option<String>,
    /// When the WFM last answered, in milliseconds since 1970.
    pub last_contact_unix_ms: Option<u64>,
    /// The last exchange reached the WFM.
    pub is_reached: bool,
    pub(super) client: Option<Arc<WfmClient>>,
}

/// Part of an SVID's life that is left when its renewal is overdue: one in so many.
const OVERDUE_PART: i64 = 5;

/// Says so while there is time: an expired SVID cuts the device off from its WFM, though not from its workloads.
fn warn_of_expiry(svid: &Svid) {
    let now = i64::try_from(clock::wall_unix_ms() / 1_000).unwrap_or(i64::MAX);
    let (begin, end) = (svid.not_before_unix_secs(), svid.not_after_unix_secs());
    let left_secs = end.saturating_sub(now);
    let life_secs = end.saturating_sub(begin);
    if left_secs < life_secs.checked_div(OVERDUE_PART).unwrap_or_default() {
        let when = u64::try_from(end).unwrap_or_default().saturating_mul(1_000);
        log_message!(
            catalog::IDENTITY_EXPIRING,
            left_secs,
            "the SVID is valid until {}, {left_secs} s from now",
            clock::format_utc(when)
        );
    }
}

impl Shared {
    pub(super) async fn load_identity(&self) -> Result<Outcome, Failure> {
        let loaded = self.read_svid().await;
        let mut connection = lock(&self.connection);
        connection.client = None;
        match loaded {
            Ok((svid, url)) => {
                let identity = svid.id().identity_key(&url);
                warn_of_expiry(&svid);
                connection.svid = Some(svid);
                connection.identity_error = None;
                Ok(Outcome::IdentityLoaded { identity })
            }
            Err(failure) => {
                connection.svid = None;
                connection.identity_error = Some(failure.message.clone());
                Err(failure)
            }
        }
    }

    async fn read_svid(&self) -> Result<(Arc<Svid>, String), Failure> {
        let Some(url) = self.settings.wfm.url.clone() else {
            let message = "no fleet manager is configured: set `wfm.url`";
            return Err(Failure::new(Code::IdentityInvalid, message));
        };
        let dir = self.settings.wfm.identity_dir.clone();
        let svid = blocking(move || {
            let loaded = Svid::load(&dir.join("svid.pem"), &dir.join("svid.key"));
            loaded.map_err(|error| error.to_failure())
        })
        .await?;
        Ok((Arc::new(svid), url))
    }

    pub(super) async fn load_trust(&self) -> Result<Outcome, Failure> {
        let path = self.settings.wfm.identity_dir.join("bundle.json");
        let bundle = blocking(move || TrustBundle::load(&path).map_err(|e| e.to_failure())).await?;
        let Some(svid) = lock(&self.connection).svid.clone() else {
            return Err(Failure::new(Code::IdentityInvalid, "there is no SVID"));
        };
        let url = self.settings.wfm.url.clone().unwrap_or_default();
        let client = self.client(&url, &svid, &bundle)?;
        lock(&self.connection).client = Some(Arc::new(client));
        Ok(Outcome::TrustLoaded)
    }

    fn client(&self, url: &str, svid: &Svid, bundle: &TrustBundle) -> Result<WfmClient, Failure> {
        let invalid = |error: &(dyn std::error::Error + 'static)| {
            Failure::new(Code::IdentityInvalid, ErrorChain(error).to_string())
        };
        let floor_unix_secs = lock(&self.clock).floor_unix_ms() / 1_000;
        let tls = client_config(svid, bundle, &TlsClock::system(floor_unix_secs))
            .map_err(|error| invalid(&error))?;
        let (wfm, limits) = (&self.settings.wfm, &self.settings.limits);
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let limits = Limits {
            connect_timeout_ms: wfm.connect_timeout_secs.saturating_mul(1_000),
            request_timeout_ms: wfm.request_timeout_secs.saturating_mul(1_000),
            max_connection_age_ms: wfm.connection_age_max_secs.saturating_mul(1_000),
            manifest_bytes_max: size(limits.manifest_size_bytes_max),
            deployment_bytes_max: limits.deployment_size_bytes_max,
            bundle_bytes_max: size(limits.bundle_size_bytes_max),
            ..Limits::default()
        };
        WfmClient::new(url, tls, limits).map_err(|error| invalid(&error))
    }

    /// The client, once there is an identity and a trust bundle.
    pub(super) fn wfm(&self) -> Result<Arc<WfmClient>, Failure> {
        let client = lock(&self.connection).client.clone();
        client.ok_or_else(|| Failure::new(Code::IdentityInvalid, "the WFM cannot be verified yet"))
    }

    /// Notes an answer of the WFM, good or bad: it was verified, so its clock bounds ours.
    pub(super) fn answered<T>(&self, result: Result<T, WfmError>) -> Result<T, Failure> {
        let result = result.map_err(|error| error.to_failure());
        let silent = matches!(
            &result,
            Err(failure) if matches!(
                failure.code,
                Code::WfmUnreachable | Code::WfmUntrusted | Code::ClockBehind
            )
        );
        let was_reached = std::mem::replace(&mut lock(&self.connection).is_reached, !silent);
        if !silent {
            if !was_reached {
                log_message!(catalog::WFM_REACHED, "the fleet manager answers");
            }
            lock(&self.connection).last_contact_unix_ms = Some(clock::wall_unix_ms());
            if let Err(error) = lock(&self.clock).note_trusted() {
                tracing::debug!(%error, "the clock's floor could not be kept, ignoring");
            }
        }
        result
    }
}
