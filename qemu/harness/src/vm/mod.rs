//! Virtual machines: their disks, their command line, their life and their control channel.

pub(crate) mod accel;
pub(crate) mod arch;
pub(crate) mod args;
pub(crate) mod disk;
pub(crate) mod environment;
pub(crate) mod gpt;
pub(crate) mod machine;
pub(crate) mod qmp;
pub(crate) mod snapshot;
pub(crate) mod stick;
pub(crate) mod write_log;
