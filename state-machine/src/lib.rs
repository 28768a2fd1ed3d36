//! The pure machine behind `margo-agent`: what a Margo device does next, and what it remembers.
//!
//! No clock, file, socket, randomness, task or log exists in here. The driver's contract, in this order:
//!
//! 1. wait for an [`event::Event`], or for [`step::Step::wake_at_ms`];
//! 2. call [`machine::step`];
//! 3. if [`step::Step::persist`], write `next.durable` to stable storage, and nothing below before that (I1);
//! 4. log the transitions;
//! 5. abort the cancelled effects, then start the new ones; each comes back as
//!    [`event::Event::EffectFinished`] with its id.
//!
//! After a crash the only input is [`event::Event::Started`] on the durable part; the machine orders again
//! whatever that part implies. Effects are idempotent by contract. `step` is total and never panics.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

extern crate alloc;

pub mod backoff;
pub mod desired;
pub mod effect;
pub mod engine;
pub mod event;
pub mod failure;
pub mod firmware;
pub mod ids;
pub mod machine;
pub mod onboarding;
pub mod policy;
pub mod report;
pub mod state;
pub mod step;
pub mod sync;
pub mod time;
pub mod transition;
pub mod workload;

pub use machine::step;
