//! `approve --watch`: what comes into an exchange directory, one request after the other, at a terminal.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use crate::card::CardError;
use crate::challenge::Challenge;
use crate::cli::approve::{Signing, Source, answer};
use crate::cli::exchange::Exchange;
use crate::cli::prompt::{Terminal, Typed};
use crate::cli::report::{Failure, Outcome, Report, exit, say};
use crate::cli::work::{catch_signals, in_words};
use crate::cli::{Common, ask, place};
use crate::statement::Decision;
use crate::trust::roster::Person;
use crate::unix_time::UnixTime;

/// How far apart the directory is looked at: soon enough for people, seldom enough for a network share.
pub(in crate::cli) const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Asks about each request until the person has enough of it.
pub(super) fn watch(common: &Common, signing: &Signing) -> Outcome {
    let Some(directory) = &signing.exchange else {
        return Err(Failure::usage("--watch needs --exchange DIR"));
    };
    let exchange = Exchange::open(directory)?;
    let cancel = Arc::new(AtomicBool::new(false));
    catch_signals(&cancel)?;
    let terminal = if common.no_input { None } else { Terminal::open(Arc::clone(&cancel)) };
    let terminal = terminal.ok_or_else(|| {
        Failure::usage("--watch asks at a terminal, and there is none").hint("name the request: approve CODE")
    })?;
    let source = Source::Exchange(Exchange::open(directory)?);
    let myself = myself(common);
    let (mut passed_over, mut answered) = (BTreeSet::new(), 0_u32);
    say(&format!("watching {}; Ctrl-C ends\n", directory.display()));
    while !cancel.load(Ordering::SeqCst) {
        let waiting = exchange.waiting(myself.as_deref(), UnixTime::now())?;
        let next = waiting.into_iter().map(|(_, challenge)| challenge);
        let Some(challenge) = next.into_iter().find(|challenge| !passed_over.contains(&challenge.id)) else {
            sleep(LOOK_EVERY);
            continue;
        };
        let decision = match terminal.ask(&question(&challenge)) {
            Ok(Typed::Line(line)) => match line.trim_ascii() {
                b"a" | b"approve" => Decision::Approve,
                b"r" | b"refuse" => Decision::Refuse { because: None },
                _ => {
                    passed_over.insert(challenge.id);
                    continue;
                }
            },
            Ok(Typed::Cancelled) => continue,
            Ok(Typed::Ended) | Err(_) => break,
        };
        let id = challenge.id;
        match answer(common, signing, &source, challenge, decision) {
            Ok(report) => {
                passed_over.insert(id);
                answered += 1;
                say(&format!("{}\n", report.text));
            }
            Err(failure) if failure.exit == exit::INTERRUPTED => return Err(failure),
            // A wrong PIN, a token that was not touched: it waits on.
            Err(failure) => say(&failure.text()),
        }
    }
    if cancel.load(Ordering::SeqCst) {
        return Err(CardError::Cancelled { waited: Duration::ZERO }.into());
    }
    Ok(Report::done(format!("{answered} answered")).with("answered", answered))
}

fn question(challenge: &Challenge) -> String {
    let request = &challenge.request;
    let left = in_words(challenge.expires.since(UnixTime::now()));
    format!(
        "{}: {} on {}, asked by {}, {left} left\napprove (a), refuse (r), or pass over (Enter)? ",
        challenge.id.short_code(),
        request.action,
        request.resource,
        request.requester
    )
}

/// Who sits here: whose token was named, else this machine's user, if trust knows them. Only what is listed depends
/// on it.
pub(super) fn myself(common: &Common) -> Option<String> {
    let roster = place::trust(common.trust.as_deref(), common.unpinned).ok()?.trust.roster;
    let person = match common.card {
        Some(card) => {
            let serial = card.to_string();
            let holds = |person: &&Person| person.tokens.iter().any(|token| token.serial == serial);
            roster.people().iter().find(holds)
        }
        None => roster.by_identity(&ask::requester().ok()?),
    };
    person.map(|person| person.name.clone())
}
