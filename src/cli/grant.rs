//! `grant`: what a token permits here and now, which grants are out, and taking one back.

use std::env;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::challenge::RequestId;
use crate::cli::place::{self, Chosen};
use crate::cli::report::{Failure, Outcome, Report, Verdict, exit, printable};
use crate::cli::{Common, ask, failure, local, read_input, revoked, verifier, within};
use crate::digest::Sha256Digest;
use crate::grant::{self, Claims, Genuine, GrantRejection, MAX_TOKEN, UsesDirectory};
use crate::request::{Action, Parameters, Resource};
use crate::store::sqlite::Sqlite;
use crate::store::{GrantRecord, Store as _};
use crate::text::Text;
use crate::trust::Trust;
use crate::unix_time::UnixTime;
use crate::verify::Rejection;

/// Names the file with the token that `run` hands to its command.
pub(super) const GRANT_FILE: &str = "TOUCHGATE_GRANT_FILE";
/// The most uses that are counted at once.
const MAX_AT_ONCE: u32 = 1000;

/// What can be done with grants.
#[derive(Subcommand, Debug)]
#[command(defer = true)]
pub(super) enum Command {
    /// Whether the grant at hand permits this, counting a use of it
    Check(CheckArguments),
    /// The grants that are out and not used up
    List(ListArguments),
    /// A token for a part of what the grant at hand is for
    Narrow(NarrowArguments),
    /// Take a grant back
    Revoke(RevokeArguments),
}

const CHECK: &str = "\
Example:
  touchgate grant check deploy payments/prod --with image=@app.tar
  touchgate grant check deploy payments/prod || exec touchgate run deploy payments/prod -- \"$0\" \"$@\"
                                                             at the top of a script: it asks for itself

Inside the command that `run` started, its own use is counted already, and no other is taken.";

// Where the token is.
#[derive(Args, Debug)]
struct AtHand {
    /// The token [the file that TOUCHGATE_GRANT_FILE names]; - for standard input
    #[arg(long, value_name = "FILE")]
    grant: Option<PathBuf>,
    /// The key that whoever presents the token was seen to hold: sha256: and its RFC 7638 thumbprint
    #[arg(long, value_name = "THUMBPRINT")]
    presenter: Option<Sha256Digest>,
}

// Arguments of `grant check`.
#[derive(Args, Debug)]
#[command(before_help = CHECK)]
pub(super) struct CheckArguments {
    /// What is to be done, as in deploy
    action: Action,
    /// What it is to be done to, as in payments/prod
    resource: Resource,
    /// A fact that must have been approved with it, as in image=sha256:…; of a file, image=@FILE, its content
    #[arg(long = "with", value_name = "NAME=VALUE|NAME=@FILE")]
    with: Vec<String>,
    /// Count this many uses, inside the command too [one, and none inside]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_AT_ONCE)))]
    uses: Option<u32>,
    /// Count uses in this directory, where the verifier's store is not
    #[arg(long, value_name = "DIR")]
    uses_in: Option<PathBuf>,
    #[command(flatten)]
    at_hand: AtHand,
}

// Arguments of `grant list`.
#[derive(Args, Debug)]
#[command(before_help = "Example:\n  touchgate grant list")]
pub(super) struct ListArguments {}

// Arguments of `grant narrow`.
#[derive(Args, Debug)]
#[command(before_help = "Example:\n  touchgate grant narrow payments/test --out test.grant")]
pub(super) struct NarrowArguments {
    /// The part, below the resource that the grant is for
    resource: Resource,
    /// Write the token here, for its owner alone, instead of to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    at_hand: AtHand,
}

// Arguments of `grant revoke`.
#[derive(Args, Debug)]
#[command(before_help = "Example:\n  touchgate grant revoke HJ5C9 --because 'wrong window'")]
pub(super) struct RevokeArguments {
    /// The request that it came of, or its last five characters
    #[arg(value_name = "REQUEST")]
    id: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
}

/// Runs a subcommand.
pub(super) fn grant(common: &Common, command: Command) -> Outcome {
    match command {
        Command::Check(arguments) => check(common, &arguments),
        Command::List(_) => list(common),
        Command::Narrow(arguments) => narrow(common, &arguments),
        Command::Revoke(arguments) => revoke(common, &arguments),
    }
}

/// The grant under which this process runs, if `run` started it for exactly this.
///
/// # Errors
/// If there is a token at hand and it cannot be told.
pub(super) fn running(
    chosen: &Chosen,
    action: &Action,
    resource: &Resource,
) -> Result<Option<RequestId>, Failure> {
    let Some(path) = env::var_os(GRANT_FILE) else { return Ok(None) };
    let Ok(token) = read_token(Path::new(&path)) else { return Ok(None) };
    let trust = &chosen.trust;
    // Bound to whatever key: that it is running is all that is asked.
    let bound = grant::check(&token, &trust.grant_keys, &trust.audience, UnixTime::now(), None);
    let bound = match bound {
        Err(GrantRejection::Presenter { bound, .. }) => {
            grant::check(&token, &trust.grant_keys, &trust.audience, UnixTime::now(), Some(&bound))
        }
        other => other,
    };
    let Ok(genuine) = bound else { return Ok(None) };
    let (id, permits) = (genuine.claims().jti, genuine.permits(action, resource, &Parameters::new()));
    Ok((permits.is_ok() && within::is_within(&id)?).then_some(id))
}

fn check(common: &Common, arguments: &CheckArguments) -> Outcome {
    let CheckArguments { action, resource, with, uses, uses_in, at_hand } = arguments;
    let chosen = place::trust(common.trust.as_deref(), common.unpinned)?;
    let asked = ask::Asked {
        action: action.clone(),
        resource: resource.clone(),
        with: with.clone(),
        reason: None,
        break_glass: false,
    };
    let parameters = asked.parameters(Parameters::new(), &asked.files()?)?;
    let genuine = at_hand.genuine(&chosen)?;
    genuine.permits(action, resource, &parameters)?;
    let now = UnixTime::now();
    let wanted = uses.unwrap_or(1);
    let left = match (uses_in, store(&chosen)?) {
        // Two that count would let twice as many through.
        (Some(_), Some(_)) => {
            return Err(Failure::usage("--uses-in, where the verifier's own store is")
                .hint("leave it away; the store counts"));
        }
        (Some(directory), None) => {
            let counting = UsesDirectory::open(directory);
            let counting = counting.map_err(|error| place::unwritable(directory, &error))?;
            counting.count(&genuine, wanted, now)?
        }
        (None, Some(store)) => {
            let record = grant::usable(&store, &genuine, now)?;
            // Counted by `run`, which became the command that this is part of.
            if uses.is_none() && record.used > 0 && within::is_within(&record.request)? {
                return Ok(permitted(&genuine, record.uses.saturating_sub(record.used), 0));
            }
            grant::count(&store, chosen.trust.version, &genuine, wanted, now)?
        }
        (None, None) => return Err(GrantRejection::Offline.into()),
    };
    Ok(permitted(&genuine, left, wanted))
}

/// This machine's store, if there is one. A version of trust that is new to it comes into force first, which revokes
/// what it would not give.
fn store(chosen: &Chosen) -> Result<Option<Sqlite>, Failure> {
    let Some(store) = local::store(&chosen.trust)? else { return Ok(None) };
    let known = store.trust().map_err(|error| local::store_failed(&error))?;
    if known != Some(chosen.trust.version) {
        let mut trust = Trust::from_manifest(&chosen.manifest)
            .map_err(|error| Failure::failed("bad-trust", error.to_string()))?;
        trust.lose(&revoked::all()?);
        verifier::start(&store, trust, chosen.manifest.clone())?;
    }
    Ok(Some(store))
}

fn permitted(genuine: &Genuine, left: u32, counted: u32) -> Report {
    let claims = genuine.claims();
    let text = format!(
        "granted: {}, {}{}",
        what(claims),
        left_in_words(left),
        if counted == 0 { ", counted by the run that this is part of" } else { "" }
    );
    fields(Report::decided(Verdict::Approved, text), claims).with("uses_left", left).with("counted", counted)
}

fn list(common: &Common) -> Outcome {
    let chosen = place::trust(common.trust.as_deref(), common.unpinned)?;
    let grants = match store(&chosen)? {
        Some(store) => store.live_grants(UnixTime::now()).map_err(|error| local::store_failed(&error))?,
        None => Vec::new(),
    };
    let mut lines = Vec::new();
    let mut objects = Vec::new();
    for record in grants {
        let claims = claims_of(&record)?;
        let left = record.uses.saturating_sub(record.used);
        lines.push(format!(
            "{}  {}, {}, asked by {}",
            record.request.short_code(),
            what(&claims),
            left_in_words(left),
            printable(claims.sub.as_str())
        ));
        let detail = claims.detail();
        objects.push(json!({
            "request": record.request.to_string(),
            "short_code": record.request.short_code(),
            "action": detail.action.as_str(),
            "resource": detail.resource.as_str(),
            "requester": claims.sub.as_str(),
            "uses": record.uses,
            "uses_left": left,
            "expires": claims.exp.to_string(),
        }));
    }
    let text = if lines.is_empty() { "no grant is out".to_owned() } else { lines.join("\n") };
    Ok(Report::done(text).with("grants", objects))
}

fn narrow(common: &Common, arguments: &NarrowArguments) -> Outcome {
    if let Some(out) = &arguments.out {
        place::check_free(&[out])?;
    }
    let chosen = place::trust(common.trust.as_deref(), common.unpinned)?;
    let genuine = arguments.at_hand.genuine(&chosen)?;
    let store = store(&chosen)?.ok_or(GrantRejection::Offline)?;
    grant::usable(&store, &genuine, UnixTime::now())?;
    let debts = store.debts(&arguments.resource).map_err(|error| local::store_failed(&error))?;
    let signer = local::grant_signer(&chosen.trust)?;
    let narrowed = grant::narrow(&genuine, &arguments.resource, &chosen.trust, &debts, &signer)?;
    let report = match &arguments.out {
        None if common.json => Report::done("").with("token", narrowed.token()),
        None => Report::done(narrowed.token()),
        Some(out) => {
            let line = format!("{}\n", narrowed.token());
            place::write_private(out, line.as_bytes()).map_err(|error| place::unwritable(out, &error))?;
            let file = out.display().to_string();
            Report::done(format!("narrowed: {}, in {file}", what(narrowed.claims()))).with("file", file)
        }
    };
    Ok(fields(report, narrowed.claims()))
}

fn revoke(common: &Common, arguments: &RevokeArguments) -> Outcome {
    let because = arguments.because.as_deref().map(Text::new).transpose();
    let because = because.map_err(|error| Failure::usage(format!("--because: {error}")))?;
    let chosen = place::trust(common.trust.as_deref(), common.unpinned)?;
    let store = local::store(&chosen.trust)?.ok_or(GrantRejection::Unknown)?;
    let now = UnixTime::now();
    let id = match arguments.id.parse::<RequestId>() {
        Ok(id) => id,
        Err(_) => {
            let live = store.live_grants(now).map_err(|error| local::store_failed(&error))?;
            let mut named =
                live.iter().filter(|grant| grant.request.short_code() == arguments.id.to_ascii_uppercase());
            match (named.next(), named.next()) {
                (Some(grant), None) => grant.request,
                (None, _) => return Err(GrantRejection::Unknown.into()),
                (Some(_), Some(_)) => {
                    return Err(Failure::usage(format!("two grants end in {}", printable(&arguments.id)))
                        .hint("give all 26 characters"));
                }
            }
        }
    };
    let identity = ask::requester()?;
    let person = chosen.trust.roster.by_identity(&identity);
    let by = person.map_or_else(|| identity.to_string(), |person| person.name.clone());
    let used = grant::revoke(&store, id, &by, because.as_ref().map(Text::as_str), now)?;
    let text = match used {
        0 => format!("revoked: {}, which was not used", id.short_code()),
        1 => format!("revoked: {}, which had been used once", id.short_code()),
        _ => format!("revoked: {}, which had been used {used} times", id.short_code()),
    };
    Ok(Report::done(text).with("request", id.to_string()).with("used", used).with("by", by))
}

impl AtHand {
    /// The grant at hand, once it passed every check that needs no memory.
    fn genuine(&self, chosen: &Chosen) -> Result<Genuine, Failure> {
        let trust = &chosen.trust;
        if trust.grant_keys.is_empty() {
            return Err(local::no_key("[[grant_key]]"));
        }
        // Else withholding newer trust from a gate would keep a key good that was taken out of it.
        let (now, valid_until) = (UnixTime::now(), trust.valid_until);
        if now >= valid_until {
            return Err(failure::rejected(&Rejection::TrustExpired { now, valid_until }, ""));
        }
        let named = self.grant.clone().or_else(|| env::var_os(GRANT_FILE).map(PathBuf::from));
        let Some(path) = named else { return Err(none_at_hand("no grant is at hand".into())) };
        let token = read_token(&path)?;
        let presenter = self.presenter.as_ref();
        Ok(grant::check(&token, &trust.grant_keys, &trust.audience, now, presenter)?)
    }
}

fn none_at_hand(message: String) -> Failure {
    let hint = format!("`touchgate run` gets one and sets {GRANT_FILE}; --grant FILE names another");
    Failure { verdict: Verdict::Rejected, exit: exit::NO, ..Failure::failed("no-grant", message).hint(hint) }
}

/// Reads a token, and one line end after it.
fn read_token(path: &Path) -> Result<String, Failure> {
    let bytes = read_input(path, MAX_TOKEN + 1).map_err(|failure| none_at_hand(failure.message))?;
    let token = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let form = |_| GrantRejection::Form { reason: "it is not text" };
    Ok(std::str::from_utf8(token).map_err(form)?.to_owned())
}

fn claims_of(record: &GrantRecord) -> Result<Claims, Failure> {
    Claims::parse(record.claims.as_bytes()).map_err(|error| {
        Failure::failed("store", format!("grant {}: {error}", record.request))
            .hint("the store is damaged, or somebody wrote to it; `touchgate audit verify` says more")
    })
}

/// `deploy on payments/prod until 2026-11-20T04:22:00Z`.
fn what(claims: &Claims) -> String {
    let detail = claims.detail();
    format!("{} on {} until {}", detail.action, detail.resource, claims.exp)
}

fn left_in_words(left: u32) -> String {
    match left {
        0 => "no use left".into(),
        1 => "1 use left".into(),
        _ => format!("{left} uses left"),
    }
}

fn fields(report: Report, claims: &Claims) -> Report {
    let detail = claims.detail();
    report
        .with("request", claims.jti.to_string())
        .with("action", detail.action.as_str())
        .with("resource", detail.resource.as_str())
        .with("expires", claims.exp.to_string())
}

impl From<GrantRejection> for Failure {
    fn from(rejection: GrantRejection) -> Self {
        use GrantRejection as R;
        let hint = match &rejection {
            R::Action { .. } | R::Parameter { .. } | R::Resource { .. } => {
                "what was approved is something else; ask for this with `touchgate run`"
            }
            R::Expired { .. } | R::Revoked | R::Spent { .. } => "ask again with `touchgate run`",
            R::NotYetValid { .. } => "this machine's clock is behind the verifier's",
            R::Offline => {
                "check where the verifier's store is, or keep a record of uses here with --uses-in DIR"
            }
            R::Presenter { .. } => {
                "say with --presenter which key was shown to be held; with none it is worth nothing"
            }
            R::Uncounted { .. } => {
                "nothing is permitted that was not counted; have the newest trust here, and see that the disk is well"
            }
            R::Unknown => "`touchgate grant list` has those that are out",
            R::Narrow { .. } => "ask for that part itself with `touchgate run`",
            _ => "do not use it; find out where it came from",
        };
        let failure = Self::failed(rejection.code(), rejection.to_string()).hint(hint);
        match rejection {
            R::Uncounted { .. } => failure,
            _ => Self { verdict: Verdict::Rejected, exit: exit::NO, ..failure },
        }
    }
}
