//! `verify`: judge approvals offline, by pinned trust alone or with the request as it was issued.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::challenge::Challenge;
use crate::cli::place::{self, Chosen};
use crate::cli::report::{Failure, Outcome, Report, Verdict, exit, printable};
use crate::cli::{Common, failure, read_input};
use crate::response::{MAX_RESPONSE, MAX_SIGNATURE, Response, ResponseError};
use crate::statement::{MAX_STATEMENT, Statement};
use crate::unix_time::UnixTime;
use crate::verify::{self, Against, OpenRequests, Rejection, Unchecked, Verified};

const EXAMPLE: &str = "\
Example:
  touchgate verify HJ5C9.approval
  touchgate verify HJ5C9.approval --request HJ5C9.request   also: asked so, and in time
  touchgate verify ok                                       ok and ok.asc, as `--detached` wrote them";

/// Arguments of `verify`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(super) struct Arguments {
    /// Approvals or refusals; a statement with its signature beside it in FILE.asc or FILE.sig; - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The request as it was issued
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
}

/// Judges every file; the worst result is the command's.
pub(super) fn verify(common: &Common, arguments: &Arguments) -> Outcome {
    let chosen = place::trust(common.trust.as_deref(), common.unpinned)?;
    let mut requests = OpenRequests::default();
    let mut against_request = false;
    if let Some(path) = &arguments.request {
        let bytes = read_input(path, MAX_STATEMENT)?;
        let bad = |error: crate::statement::StatementError| {
            Failure::failed(error.code(), format!("{}: {error}", path.display()))
        };
        requests.open(Challenge::parse(&bytes).map_err(bad)?);
        against_request = true;
    }
    let mut outcomes: Vec<Outcome> = Vec::new();
    for path in &arguments.files {
        let against = if against_request { Against::Ledger(&mut requests) } else { Against::Alone };
        outcomes.push(one(path, &chosen, against));
    }
    let worst = outcomes.iter().enumerate().rev().max_by_key(|(_, outcome)| match outcome {
        Ok(report) => report.exit,
        Err(failure) => failure.exit,
    });
    let last = worst.map_or(0, |(at, _)| at);
    let worst = outcomes.remove(last);
    for outcome in &outcomes {
        crate::cli::report::finish(outcome, common.json);
    }
    worst
}

fn one(path: &Path, chosen: &Chosen, against: Against<'_>) -> Outcome {
    let name = printable(&path.display().to_string());
    let response = read_response(path)?;
    let unchecked: &[Unchecked] = match against {
        Against::Alone => &Unchecked::ALONE,
        // A request's file says what was asked, not what was answered before.
        Against::Ledger(_) => &[Unchecked::SingleUse],
    };
    let verified = verify::response(&response, &chosen.trust, against, UnixTime::now());
    let report = match verified.map_err(|rejection| failure::rejected(&rejection, &name))? {
        Verified::Approved(approval) => {
            let mut text = said("approved", &name, approval.challenge(), approval.person());
            text.push_str(&signed(
                &approval.key().to_hex(),
                approval.serial(),
                approval.tier(),
                approval.signed_at(),
            ));
            Report::decided(Verdict::Approved, text)
                .with("person", approval.person())
                .with("serial", approval.serial())
                .with("key", approval.key().to_hex())
                .with("acr", approval.tier().acr())
                .with("signed_at", approval.signed_at().to_string())
        }
        Verified::Refused(refusal) => {
            let mut text = said("refused", &name, refusal.challenge(), refusal.person());
            if let Some(because) = refusal.because() {
                text.push_str(&format!("  because  {because}\n"));
            }
            text.push_str(&signed(
                &refusal.key().to_hex(),
                refusal.serial(),
                refusal.tier(),
                refusal.signed_at(),
            ));
            Report { exit: exit::NO, ..Report::decided(Verdict::Refused, text) }
                .with("code", "refused")
                .with("person", refusal.person())
                .with("because", refusal.because().map(ToString::to_string))
        }
    };
    let open: Vec<&str> = unchecked.iter().map(|unchecked| words(*unchecked)).collect();
    let pin = if chosen.pinned { "" } else { "\n  not pinned: this trust is whatever the directory says" };
    let text = format!("{}  not checked: {}{pin}\n", report.text, open.join("; "));
    let codes: Vec<&str> = unchecked.iter().map(|unchecked| unchecked.code()).collect();
    Ok(Report { text, ..report }
        .with("file", name)
        .with("unchecked", json!(codes))
        .with("pinned", chosen.pinned))
}

fn said(word: &str, name: &str, challenge: &Challenge, person: &str) -> String {
    let request = &challenge.request;
    format!(
        "{word}: {name}: {} on {}, by {person} for {}\n",
        request.action, request.resource, request.requester
    )
}

fn signed(key: &str, serial: &str, tier: verify::Tier, at: UnixTime) -> String {
    format!("  signed   {at} by key {key} on token {serial}\n  evidence {tier} ({})\n", tier.acr())
}

fn words(unchecked: Unchecked) -> &'static str {
    match unchecked {
        Unchecked::Freshness => "whether it was answered in time (freshness)",
        Unchecked::Issued => "whether a verifier asked this (issued; pass --request)",
        Unchecked::SingleUse => "whether it was used before (single-use)",
    }
}

/// An approval file, or a statement and its detached signature beside it.
fn read_response(path: &Path) -> Result<Response, Failure> {
    let bytes = read_input(path, MAX_RESPONSE)?;
    let name = path.display().to_string();
    match Response::parse(&bytes) {
        Ok(response) => Ok(response),
        Err(ResponseError::Cleartext) => Err(failure::rejected(&Rejection::CleartextForm, &name)),
        Err(error @ (ResponseError::CarriageReturn | ResponseError::TooLarge { .. })) => {
            Err(refused(error.code(), format!("{name}: {error}")))
        }
        Err(ResponseError::NoSignature) => {
            let beside = |ending: &str| {
                let mut name = path.as_os_str().to_owned();
                name.push(ending);
                PathBuf::from(name)
            };
            let Some(signature) = [beside(".asc"), beside(".sig")].into_iter().find(|path| path.exists())
            else {
                // The grammar's own complaint is the better one if this is no statement at all.
                Statement::parse(&bytes).map_err(|error| failure::rejected(&error.into(), &name))?;
                let missing = format!("{name}: no signature in it, and none beside it");
                return Err(refused(ResponseError::NoSignature.code(), missing)
                    .hint(format!("put the detached signature into {name}.asc")));
            };
            let signature = read_input(&signature, MAX_SIGNATURE)?;
            Ok(Response { statement: bytes, signature })
        }
    }
}

fn refused(code: &'static str, message: String) -> Failure {
    Failure { verdict: Verdict::Rejected, exit: exit::NO, ..Failure::failed(code, message) }
}
