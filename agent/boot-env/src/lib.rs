//! The boot environment: which slot the device starts, how many tries a new one has, and who it is.
//!
//! GRUB reads it and counts down tries; RAUC, the trial guard and the boot-time repair change it through this crate.
//! Nothing else may write it: the guarantees hold only for writes in place (README.md beside this crate says why).
//!
//! - [`block`]: the 1024 bytes as GRUB understands them
//! - [`env`]: what they mean, and the changes that exist
//! - [`choice`]: what GRUB will do with them; `meta-margo/os/boot/grub.cfg` is tested against it
//! - [`copies`]: the two files, how they are read, written and repaired
//! - [`disk`]: the file operations underneath, and the real ones
//! - [`heal`]: the repair at boot
//! - [`cmdline`]: what the boot loader told the kernel
//! - [`lock`]: one writer at a time
//! - [`reboot`]: leaving a trial, also when nothing else works any more

pub mod block;
pub mod choice;
pub mod cmdline;
pub mod copies;
pub mod disk;
pub mod env;
pub mod error;
pub mod heal;
pub mod lock;
pub mod reboot;
