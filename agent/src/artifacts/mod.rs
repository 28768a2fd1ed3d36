//! Content-addressed store of everything a desired state needs.
