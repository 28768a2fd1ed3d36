//! What the three servers share: a listener that can go down and come back on its port, byte counters on the raw stream, and the
//! passage every request takes through faults and the request log.

pub(crate) mod body;
pub(crate) mod exchange;
pub(crate) mod problem;
pub(crate) mod server;
pub(crate) mod url;
pub(crate) mod wire;

#[cfg(test)]
mod tests;
