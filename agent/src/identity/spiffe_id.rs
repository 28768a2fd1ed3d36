//! SPIFFE IDs of the two kinds Margo defines: a WFM and a client of a WFM. Anything else is an error.

use state_machine::ids::IdentityKey;
use std::fmt;

/// Longest ID, as in the SPIFFE specification.
const ID_BYTES_MAX: usize = 2048;
/// Longest trust domain name.
const TRUST_DOMAIN_BYTES_MAX: usize = 255;

/// Why a URI is not the SPIFFE ID of a Margo principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeIdError {
    /// Not `spiffe://`.
    #[error("URI scheme is not spiffe")]
    Scheme,
    /// The part after `//` is not a trust domain name: lowercase letters, digits, `.`, `-`, `_`.
    #[error("trust domain is not a valid name")]
    TrustDomain,
    /// There is no path.
    #[error("path is empty or the root")]
    RootPath,
    /// The path is not `/margo/wfm/<wfm-id>` or `/margo/wfm/<wfm-id>/client/<client-id>`.
    #[error("path is not of a WFM or a WFM client")]
    Shape,
    /// An id holds something other than unreserved characters, or is `.` or `..`.
    #[error("wfm-id or client-id holds a forbidden character")]
    Segment,
    /// Longer than SPIFFE allows.
    #[error("longer than 2048 bytes")]
    TooLong,
}

/// The identity of a WFM or of one of its clients. Compared exactly; nothing is inferred from the ids (R083).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    trust_domain: String,
    wfm_id: String,
    client_id: Option<String>,
}

impl SpiffeId {
    /// Reads an ID as it stands in a certificate.
    ///
    /// # Errors
    /// Anything but the two exact shapes.
    pub fn parse(text: &str) -> Result<Self, SpiffeIdError> {
        if text.len() > ID_BYTES_MAX {
            return Err(SpiffeIdError::TooLong);
        }
        let rest = text.strip_prefix("spiffe://").ok_or(SpiffeIdError::Scheme)?;
        let (trust_domain, path) = match rest.split_once('/') {
            Some((trust_domain, path)) => (trust_domain, Some(path)),
            None => (rest, None),
        };
        check_trust_domain(trust_domain)?;
        let path = path.filter(|path| !path.is_empty()).ok_or(SpiffeIdError::RootPath)?;
        let segments: Vec<&str> = path.split('/').collect();
        let (wfm_id, client_id) = match segments.as_slice() {
            ["margo", "wfm", wfm_id] => (*wfm_id, None),
            ["margo", "wfm", wfm_id, "client", client_id] => (*wfm_id, Some(*client_id)),
            _ => return Err(SpiffeIdError::Shape),
        };
        check_segment(wfm_id)?;
        if let Some(client_id) = client_id {
            check_segment(client_id)?;
        }
        Ok(Self {
            trust_domain: trust_domain.to_owned(),
            wfm_id: wfm_id.to_owned(),
            client_id: client_id.map(str::to_owned),
        })
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// The WFM this identity is or belongs to.
    pub fn wfm_id(&self) -> &str {
        &self.wfm_id
    }

    /// The client, unless this is a WFM.
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// The WFM that this identity belongs to: the only peer a client may talk to (R081).
    #[must_use]
    pub fn wfm(&self) -> Self {
        Self {
            trust_domain: self.trust_domain.clone(),
            wfm_id: self.wfm_id.clone(),
            client_id: None,
        }
    }

    /// The key under which accepted versions are comparable: this identity at this endpoint.
    pub fn identity_key(&self, endpoint: &str) -> IdentityKey {
        IdentityKey::new(format!("{self}@{endpoint}"))
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/margo/wfm/{}", self.trust_domain, self.wfm_id)?;
        match &self.client_id {
            Some(client_id) => write!(f, "/client/{client_id}"),
            None => Ok(()),
        }
    }
}

fn check_trust_domain(name: &str) -> Result<(), SpiffeIdError> {
    let permitted =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    if !name.is_empty() && name.len() <= TRUST_DOMAIN_BYTES_MAX && name.bytes().all(permitted) {
        Ok(())
    } else {
        Err(SpiffeIdError::TrustDomain)
    }
}

/// RFC 3986 unreserved characters, and never a relative step.
fn check_segment(segment: &str) -> Result<(), SpiffeIdError> {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let relative = segment == "." || segment == "..";
    if !segment.is_empty() && !relative && segment.bytes().all(unreserved) {
        Ok(())
    } else {
        Err(SpiffeIdError::Segment)
    }
}
