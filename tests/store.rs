//! The store in SQLite: what each change demands, and the log that it keeps.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "store/changes.rs"]
mod changes;
#[path = "store/log.rs"]
mod log;
#[path = "store/world.rs"]
mod world;
