//! The lab from outside: raw clients, a real container engine, the program itself.
//! Each module is marked as a test so that helpers may unwrap as tests do.

#[cfg(test)]
mod common;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod mis;
#[cfg(test)]
mod program;
#[cfg(test)]
mod registry;
#[cfg(test)]
mod wfm_api;
#[cfg(test)]
mod wfm_faults;
