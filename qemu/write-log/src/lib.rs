//! Every state a disk can be in after a power cut, from a write log that QEMU recorded, judged by the real readers.
//!
//! - [`log`]: the log's format (QEMU's `blklogwrites`, that is the kernel's dm-log-writes)
//! - [`states`]: which subsets of the writes between two flushes are looked at
//! - [`disk`]: a file that is put into one state after the other
//! - [`tools`]: commands of the image tools, run by one shell that stays
//! - [`env_judge`]: GRUB and our library read the boot environment
//! - [`store_judge`]: the agent's store is read from ext4 after its journal was replayed
//! - [`run`]: all of it together for one partition, with figures
//! - [`device`]: a whole device: the slots and the store as well

pub mod device;
pub mod disk;
pub mod env_judge;
pub mod error;
pub mod log;
pub mod run;
pub mod states;
pub mod store_judge;
pub mod tools;
