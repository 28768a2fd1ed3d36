//! Pulling OCI artifacts from a registry.
