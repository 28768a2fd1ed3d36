//! The agent as a process, the lab and a real engine. One program, so that what mostly waits can wait side by side.
//! Each module is marked as a test so that helpers may unwrap as tests do.

#[cfg(test)]
mod bad_archive;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod config;
#[cfg(test)]
mod disk_full;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod mismatch;
#[cfg(test)]
mod offline;
#[cfg(test)]
mod operator;
#[cfg(test)]
mod partial;
#[cfg(test)]
mod path;
#[cfg(test)]
mod preload;
#[cfg(test)]
mod provision;
#[cfg(test)]
mod quiet;
#[cfg(test)]
mod registry;
