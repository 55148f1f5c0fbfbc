//! The log: what the verifier did, one entry after the other, so that nobody can rewrite it unnoticed.

pub mod entry;
pub mod tree;

pub use entry::Entry;
