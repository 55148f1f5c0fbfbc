//! The store in SQLite: what each change demands, its log, races, kill -9, damaged files.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "store/changes.rs"]
mod changes;
#[path = "store/children.rs"]
mod children;
#[path = "store/crashes.rs"]
mod crashes;
#[path = "store/files.rs"]
mod files;
#[path = "store/log.rs"]
mod log;
#[path = "store/races.rs"]
mod races;
#[path = "store/whole.rs"]
mod whole;
#[path = "store/world.rs"]
mod world;
