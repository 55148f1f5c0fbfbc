//! Grants: sealed and opened, checked at a gate, attacked, and read by other people's libraries.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "grant/attacks.rs"]
mod attacks;
#[path = "support/case.rs"]
#[expect(dead_code, reason = "shared with other tests, which use more of it")]
mod case;
#[path = "grant/documents.rs"]
mod documents;
#[path = "grant/interop.rs"]
mod interop;
#[path = "grant/life.rs"]
mod life;
#[path = "support/packets.rs"]
#[expect(dead_code, reason = "shared with other tests, which use more of it")]
mod packets;
#[path = "support/people.rs"]
#[expect(dead_code, reason = "shared with other tests, which use more of it")]
mod people;
#[path = "grant/world.rs"]
#[expect(dead_code, reason = "shared with other tests, which use more of it")]
mod world;
