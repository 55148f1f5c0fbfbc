//! What the fuzz targets share.

pub mod client;
pub mod parsers;
pub mod values;
pub mod watched;

pub use watched::{Watched, personality};
