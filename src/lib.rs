//! Step-up approval by touch: the text shown is the text a hardware token signs, and only what was
//! signed may run.
//!
//! A challenge travels through the modules in the order in which they stand here.

// A stream that is gone must not end the program in a panic: `cli::report` writes.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod request;

pub mod challenge;

pub mod statement;

pub mod sign;

pub mod response;

pub mod verify;

pub mod trust;

pub mod grant;

pub mod evidence;

pub mod audit;

pub mod ceremony;

pub mod verifier;

// How people and tokens come into trust.
pub mod enrolment;

// What the flow stands on.
mod armor;
pub mod card;
pub mod digest;
mod file;
pub mod store;
pub mod text;
pub mod unix_time;
mod wire;

// The edges.
#[cfg(feature = "cli")]
pub mod cli;
