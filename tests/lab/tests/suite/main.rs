//! The lab from outside: raw clients, a real container engine, the program itself.

mod common;
mod mis;
mod wfm_api;
mod wfm_faults;
