//! What the fuzz targets share.

pub mod client;
pub mod values;
pub mod watched;

pub use watched::{Watched, personality};
