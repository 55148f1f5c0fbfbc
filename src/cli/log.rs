//! What `-v` adds on standard error: our own log records, never those of the card library.
//!
//! At its loudest the card library logs PINs (`card::record` says how), and nothing here could vouch
//! for what other libraries write. Our own records mask what a PIN goes into.

use std::io::Write as _;

use log::{LevelFilter, Log, Metadata, Record};

use super::report::printable;

/// Our own modules.
const OURS: &str = "touchgate";

struct StandardError;

impl Log for StandardError {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().split("::").next() == Some(OURS)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = record.level().as_str().to_ascii_lowercase();
            // With standard error gone there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "{level}: {}", printable(&record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// Says as much as was asked for: nothing, `-v` what is done, `-vv` every exchange with the card.
pub(super) fn start(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    // Somebody else's logger can only be there if this library is not run by our `main`.
    if log::set_logger(&StandardError).is_ok() {
        log::set_max_level(level);
    }
}
