//! `trust revoke`: a token is lost, and one admin ends what it is worth, here and at once.

use clap::Args;

use crate::audit::Entry;
use crate::card::KeptPin;
use crate::cli::pinned::Chosen;
use crate::cli::report::{Failure, Outcome, Report, Verdict};
use crate::cli::work::{self, Desk};
use crate::cli::{Common, ask, failure, local, place, revoked, verifier};
use crate::response::{Response, armored};
use crate::statement::Decision;
use crate::store::{CommitError, Op, Store as _};
use crate::text::Text;
use crate::trust::policy::{Approvers, REVOKE_ACTION};
use crate::trust::revocation::{self, Revocation, RevocationError};
use crate::trust::roster::{Person, Token};
use crate::trust::{NotAdmitted, Trust};
use crate::unix_time::UnixTime;
use crate::verify::tier;

const EXAMPLE: &str = "\
Example:
  touchgate trust revoke 12345678 --because \"left in a taxi\"   one token
  touchgate trust revoke alice                                 everything that alice holds";

// Arguments of `trust revoke`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(in crate::cli) struct Arguments {
    /// Whose tokens, or the number of one
    #[arg(value_name = "PERSON|SERIAL")]
    whose: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
    /// Read the PIN from this descriptor
    #[arg(long, value_name = "N")]
    pin_fd: Option<u32>,
}

/// Signs a revocation and keeps it.
pub(super) fn revoke(common: &Common, arguments: &Arguments) -> Outcome {
    let because = arguments.because.as_deref().map(Text::new).transpose();
    let because = because.map_err(|error| Failure::usage(format!("--because: {error}")))?;
    let mut chosen = place::trust(common.trust.as_deref(), common.unpinned)?;
    let (statement, response) = {
        let (person, tokens) = find(&chosen.trust, &arguments.whose)?;
        let challenge = revocation::challenge(
            &chosen.trust,
            person,
            &tokens,
            because,
            &ask::requester()?,
            UnixTime::now(),
            ask::randomness()?,
        );
        let statement = challenge.map_err(|error| failed(&error))?.decided(Decision::Approve);
        let mut desk = Desk::new(common, arguments.pin_fd)?;
        let mut token = work::find_token(common, &desk.patience(statement.challenge.expires))?;
        work::check_touch(token.info(), &chosen.trust)?;
        let cert = work::certificate(token.info(), Some(&chosen.trust), None)?;
        work::show_statement(&desk, &statement);
        let response = work::sign(&mut desk, &mut token, &cert, &statement, &mut KeptPin::default())?;
        (statement, response)
    };
    let challenge = statement.challenge;
    let now = UnixTime::now();
    let revocation =
        Revocation::judge(&response, &challenge, &chosen.trust, now).map_err(|error| failed(&error))?;
    let path = revoked::keep(&challenge.id, &response)?;
    chosen.trust.revoke(revocation.keys().iter().cloned());
    let logged = log(&chosen, &revocation, &response, now).map_err(|failure| {
        failure
            .with("file", path.display().to_string())
            .fact("revoked", "it is kept and holds, and does not stand in the log")
    })?;
    let report = told(&chosen, &revocation, logged).with("file", path.display().to_string());
    // What was asked or granted with a say of that token ends here and now.
    if let (true, Some(store)) = (logged, local::store(&chosen.trust)?) {
        verifier::start(&store, chosen.trust, chosen.manifest)?;
    }
    Ok(report)
}

/// The person, and those of their tokens that are meant.
fn find<'a>(trust: &'a Trust, whose: &str) -> Result<(&'a Person, Vec<&'a Token>), Failure> {
    for person in trust.roster.people() {
        let meant = |token: &&Token| {
            (person.name == whose || token.serial == whose) && !trust.is_revoked(token.key.fingerprint())
        };
        let tokens: Vec<&Token> = person.tokens.iter().filter(meant).collect();
        if !tokens.is_empty() {
            return Ok((person, tokens));
        }
    }
    Err(Failure::failed(
        "no-such-token",
        format!("{whose} is nobody who holds a token here, and no token's number"),
    )
    .hint("`touchgate trust show` lists both; what is revoked already is not revoked again"))
}

/// Puts it into the log of the verifier on this machine, if there is one, under trust that is in force there.
fn log(chosen: &Chosen, revocation: &Revocation, response: &Response, at: UnixTime) -> Result<bool, Failure> {
    let Some(store) = local::store(&chosen.trust)? else { return Ok(false) };
    let version = chosen.trust.version;
    if store.trust().map_err(|error| local::store_failed(&error))? != Some(version) {
        let mut trust = Trust::from_manifest(&chosen.manifest)
            .map_err(|error| place::bad_trust(&error, &chosen.directory))?;
        trust.lose(&chosen.lost);
        trust.revoke(revocation.keys().iter().cloned());
        verifier::start(&store, trust, chosen.manifest.clone())?;
    }
    let entry = Entry::TokenRevoked {
        at,
        person: revocation.person().to_owned(),
        keys: revocation.keys().iter().map(|key| key.to_hex()).collect(),
        by: revocation.by().unwrap_or_default().to_owned(),
        statement: String::from_utf8_lossy(&response.statement).into_owned(),
        signature: armored(&response.signature),
    };
    match store.commit(&[Op::Under(version), Op::Log(entry)]) {
        Ok(_) => Ok(true),
        Err(CommitError::Store(error)) => Err(local::store_failed(&error)),
        Err(_) => Err(Failure::failed("trust-rollback", format!("trust {version} was replaced meanwhile"))
            .hint("use the newer version of trust")),
    }
}

/// A group and who is left of it.
struct Short {
    rule: String,
    group: String,
    needs: u32,
    left: usize,
}

/// The groups in which fewer people are left than a rule asks for.
fn short(trust: &Trust) -> Vec<Short> {
    let mut found = Vec::new();
    for rule in trust.rules() {
        for need in &rule.need {
            let Approvers::Group(group) = &need.from else { continue };
            let holds =
                |token: &Token| !trust.is_revoked(token.key.fingerprint()) && tier(token).0 >= rule.tier;
            let able = |person: &&Person| person.groups.contains(group) && person.tokens.iter().any(holds);
            let left = trust.roster.people().iter().filter(able).count();
            if left < usize::try_from(need.count).unwrap_or(usize::MAX) {
                let (rule, group) = (rule.to_string(), group.clone());
                found.push(Short { rule, group, needs: need.count, left });
            }
        }
    }
    found
}

fn told(chosen: &Chosen, revocation: &Revocation, logged: bool) -> Report {
    let trust = &chosen.trust;
    let keys: Vec<String> = revocation.keys().iter().map(|key| key.to_hex()).collect();
    let short = short(trust);
    let mut text = format!(
        "revoked: {} of {}, by {}\n  here     at once{}\n  others   with the next version of trust, at the latest at {}: then this one ends\n",
        if keys.len() == 1 { "the token".to_owned() } else { format!("{} tokens", keys.len()) },
        revocation.person(),
        revocation.by().unwrap_or_default(),
        if logged { ", and in the log" } else { "; no log is kept here" },
        trust.valid_until,
    );
    for Short { rule, group, needs, left } in &short {
        text.push_str(&format!("  short    {group}: {left} left, {rule} needs {needs}\n"));
    }
    text.push_str("next: take it out of trust, and have that signed: `touchgate trust sign`");
    let short: Vec<_> = short
        .iter()
        .map(|short| {
            serde_json::json!({ "rule": short.rule, "group": short.group, "needs": short.needs, "left": short.left })
        })
        .collect();
    Report::decided(Verdict::Approved, text)
        .with("person", revocation.person())
        .with("by", revocation.by())
        .with("keys", keys)
        .with("because", revocation.because().map(ToString::to_string))
        .with("logged", logged)
        .with("others_by", trust.valid_until.to_string())
        .with("short", short)
}

fn failed(error: &RevocationError) -> Failure {
    match error {
        RevocationError::NotAdmitted(NotAdmitted::NoRule { .. }) => {
            Failure::failed("no-rule", format!("no rule says who revokes tokens ({REVOKE_ACTION})"))
                .hint("add one for your admins with an update of trust; this token goes with an update, too")
        }
        RevocationError::Rejected(rejection) => failure::rejected(rejection, "the revocation"),
        RevocationError::Large(_) | RevocationError::TooLarge(_) => {
            Failure::failed("too-large", error.to_string())
                .hint("revoke the tokens one by one, by their numbers")
        }
        RevocationError::NotMet(_) => Failure::failed("not-met", error.to_string())
            .hint("a rule for revoking should ask for one admin, who may have to act alone"),
        RevocationError::NotAdmitted(_) | RevocationError::Other | RevocationError::Statement(_) => {
            Failure::failed("not-revoked", error.to_string()).hint("nothing was changed")
        }
    }
}
