//! What the harness has inside a device without touching its image: units that come as credentials, a shell on one port,
//! the journal on another.

pub(crate) mod credentials;
pub(crate) mod ctl;
pub(crate) mod journal;
pub(crate) mod probe;
