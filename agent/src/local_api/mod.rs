//! The local socket that `margoctl` talks to.
