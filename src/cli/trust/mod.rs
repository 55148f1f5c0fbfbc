//! `trust`: who may approve what. Look at a directory of trust, compare two, change one, ask it questions.
//!
//! What is edited is a working directory, reviewed like code. What this machine goes by is another copy, below
//! its configuration, and only a pin moves that.

mod diff;
mod show;

use std::path::Path;

use clap::Subcommand;

use crate::cli::Common;
use crate::cli::place;
use crate::cli::report::{Failure, Outcome};
use crate::trust::{self, Files, Trust, TrustError};

/// What can be done with trust.
#[derive(Subcommand, Debug)]
#[command(defer = true)]
pub(super) enum Command {
    /// What one version changes in another, and what that means
    Diff(diff::Arguments),
    /// People, tokens, tiers and rules
    Show(show::Arguments),
}

/// Runs a subcommand.
pub(super) fn trust(common: &Common, command: Command) -> Outcome {
    match command {
        Command::Diff(arguments) => diff::diff(common, &arguments),
        Command::Show(arguments) => show::show(common, &arguments),
    }
}

/// A directory of trust that nothing needs to vouch for, since it is only looked at.
///
/// # Errors
/// If it does not load.
fn load(directory: &Path) -> Result<(Trust, Files), Failure> {
    let bad = |error: TrustError| place::bad_trust(&error, directory);
    let files = trust::read_directory(directory).map_err(bad)?;
    let trust = Trust::from_files(&files).map_err(bad)?;
    Ok((trust, files))
}
