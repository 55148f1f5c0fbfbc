//! Quorum, refusals, break-glass: real signatures, from the roster to the decision.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "quorum/attacks.rs"]
mod attacks;
#[allow(dead_code)]
#[path = "support/case.rs"]
mod case;
#[path = "quorum/debts.rs"]
mod debts;
#[path = "quorum/oracle.rs"]
mod oracle;
#[allow(dead_code)]
#[path = "support/packets.rs"]
mod packets;
#[allow(dead_code)]
#[path = "support/people.rs"]
mod people;
#[path = "quorum/scene.rs"]
mod scene;
#[path = "quorum/standings.rs"]
mod standings;
