//! `trust`: who may approve what. Look at a directory of trust, compare two, change one, ask it questions.
//!
//! What is edited is a working directory, reviewed like code. What this machine goes by is another copy, below
//! its configuration, and only a pin moves that.

mod add;
mod check;
mod diff;
mod explain;
mod pin;
mod revoke;
mod show;
mod sign;
mod write;

use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::cli::Common;
use crate::cli::place;
use crate::cli::report::{Failure, Outcome};
use crate::trust::{self, Files, Trust, TrustError};

/// What can be done with trust.
#[derive(Subcommand, Debug)]
#[command(defer = true)]
pub(super) enum Command {
    /// Take what `enrol` made into a directory that is worked on
    Add(add::Arguments),
    /// Whether a directory loads, and what is odd about it
    Check(check::Arguments),
    /// What one version changes in another, and what that means
    Diff(diff::Arguments),
    /// Which rule decides about a request, why that one, and who can still approve it
    Explain(explain::Arguments),
    /// Settle which version this person goes by
    Pin(pin::Arguments),
    /// End what a lost token is worth here, at once
    Revoke(revoke::Arguments),
    /// People, tokens, tiers and rules
    Show(show::Arguments),
    /// Sign the next version: compare, show, touch
    Sign(sign::Arguments),
}

/// Runs a subcommand.
pub(super) fn trust(common: &Common, command: Command) -> Outcome {
    match command {
        Command::Add(arguments) => add::add(common, &arguments),
        Command::Check(arguments) => check::check(common, &arguments),
        Command::Diff(arguments) => diff::diff(common, &arguments),
        Command::Explain(arguments) => explain::explain(common, &arguments),
        Command::Pin(arguments) => pin::pin(common, &arguments),
        Command::Revoke(arguments) => revoke::revoke(common, &arguments),
        Command::Show(arguments) => show::show(common, &arguments),
        Command::Sign(arguments) => sign::sign(common, &arguments),
    }
}

/// The directory that is worked on: the one that was named, else `--trust`, else `./trust`.
///
/// # Errors
/// If none was named and there is none here.
fn working_directory(common: &Common, named: Option<&Path>) -> Result<PathBuf, Failure> {
    let here = || Some(Path::new("trust")).filter(|here| here.is_dir());
    let found = named.or(common.trust.as_deref()).or_else(here);
    found.map(Path::to_owned).ok_or_else(|| {
        Failure::usage("there is no directory of trust here")
            .hint("name it, or go where `trust/` lies; `touchgate init --team` makes one")
    })
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
