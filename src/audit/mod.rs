//! The log: what the verifier did, one entry after the other, so that nobody can rewrite it unnoticed.

pub mod checkpoint;
pub mod cosigned;
pub mod entry;
pub mod export;
pub mod note;
pub mod proof;
pub mod review;
pub mod tiles;
pub mod tree;
pub mod witness;

pub use checkpoint::{Checkpoint, LogSigner, SignedCheckpoint};
pub use entry::Entry;
pub use note::{LogKey, WitnessKey};
pub use proof::{LogProof, Receipt};
pub use witness::Witnesses;
