//! `trust check`: whether a directory loads, and what is odd about it.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::Common;
use crate::cli::place;
use crate::cli::report::{Failure, Outcome, Report, Verdict, exit, printable};
use crate::trust::check::{Finding, Severity, check as look_over};
use crate::trust::{self, Trust, TrustError};
use crate::unix_time::UnixTime;

const EXAMPLE: &str = "\
Example:
  touchgate trust check            ./trust, before it is signed; exit code 3 if something in it cannot work";

// Arguments of `trust check`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(in crate::cli) struct Arguments {
    /// The directory [--trust, else ./trust]
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Loads and looks it over.
pub(super) fn check(common: &Common, arguments: &Arguments) -> Outcome {
    let directory = super::working_directory(common, arguments.directory.as_deref())?;
    let bad = |error: TrustError| {
        let failure = place::bad_trust(&error, &directory);
        match error.cause() {
            TrustError::Unreadable { .. } => failure,
            _ => Failure { verdict: Verdict::Rejected, exit: exit::NO, ..failure },
        }
    };
    let files = trust::read_directory(&directory).map_err(bad)?;
    let trust = Trust::from_files(&files).map_err(bad)?;
    let findings = look_over(&trust, &files, UnixTime::now());
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let shown = printable(&directory.display().to_string());
    let head = match (errors, findings.len() - errors) {
        (0, 0) => format!("{shown}: nothing is odd about it\n"),
        (errors, warnings) => {
            format!("{shown}: {}, {}\n", counted(errors, "error"), counted(warnings, "warning"))
        }
    };
    let text = findings
        .iter()
        .fold(head, |text, finding| text + &format!("  {}\n", printable(&finding.to_string())));
    let report = match errors {
        0 => Report::done(text),
        _ => Report {
            exit: exit::NO,
            ..Report::decided(Verdict::Rejected, text).with("code", code(&findings))
        },
    };
    Ok(report
        .with("directory", directory.display().to_string())
        .with("trust", trust.version.to_string())
        .with("findings", json!(findings)))
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The first error's.
fn code(findings: &[Finding]) -> &'static str {
    let error = findings.iter().find(|finding| finding.severity == Severity::Error);
    error.map_or("bad-trust", |finding| finding.code)
}
