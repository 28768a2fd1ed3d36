//! The pure machine behind `margo-agent`.
#![no_std]
extern crate alloc;

pub mod failure;
pub mod ids;
