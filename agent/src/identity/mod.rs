//! Who the device is and whom it trusts.
//!
//! The SVID (certificate chain and key) and the trust bundle are files that provisioning puts in place; they are
//! read and checked here. The WFM is recognised only by the SPIFFE ID in its certificate, validated against the
//! bundle: host names and public certificate authorities play no role (R048, R080).

mod bundle_error;
mod leaf;
mod spiffe_id;
mod svid;
#[cfg(test)]
pub(crate) mod test_pki;
#[cfg(test)]
mod tests;
mod tls;
mod trust_bundle;
mod verifier;
mod watch;

pub use bundle_error::TrustBundleError;
pub(crate) use bundle_error::chain as error_chain;
pub use leaf::{KeyRule, LeafRule};
pub use spiffe_id::{SpiffeId, SpiffeIdError};
pub use svid::{Svid, SvidError};
pub(crate) use svid::{SvidChain, SvidKey};
pub use tls::{Clock, TlsError, client_config};
pub use trust_bundle::TrustBundle;
pub use verifier::VerifyError;
pub use watch::watch;
