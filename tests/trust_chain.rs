//! Versions of trust: files proved into one, and the chain of updates from the pin to the newest.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "trust_chain/attacks.rs"]
mod attacks;
#[allow(dead_code)]
#[path = "support/case.rs"]
mod case;
#[path = "trust_chain/documents.rs"]
mod documents;
#[allow(dead_code)]
#[path = "support/packets.rs"]
mod packets;
#[allow(dead_code)]
#[path = "support/people.rs"]
mod people;
#[path = "trust_chain/proved.rs"]
mod proved;
#[path = "trust_chain/revocation.rs"]
mod revocation;
#[path = "trust_chain/world.rs"]
mod world;
