//! Evidence: what it shows, and that nothing in it can be changed, left out, added or exchanged.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "evidence/attacks.rs"]
mod attacks;
#[path = "evidence/bytes.rs"]
mod bytes;
#[allow(dead_code)]
#[path = "support/case.rs"]
mod case;
#[path = "evidence/cli.rs"]
mod cli;
#[path = "evidence/document.rs"]
mod document;
#[path = "evidence/gate.rs"]
mod gate;
#[path = "evidence/good.rs"]
mod good;
#[path = "evidence/log.rs"]
mod log;
#[allow(dead_code)]
#[path = "support/packets.rs"]
mod packets;
#[allow(dead_code)]
#[path = "support/people.rs"]
mod people;
#[path = "evidence/recipe.rs"]
mod recipe;
#[path = "evidence/scene.rs"]
mod scene;
