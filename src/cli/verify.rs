//! `verify`: judge approvals and evidence offline: by pinned trust, or by the pin alone.

mod evidence;
mod unpack;
mod words;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use sequoia_openpgp::Fingerprint;
use serde_json::json;

use crate::challenge::Challenge;
use crate::cli::authorities::Authorities;
use crate::cli::counter;
use crate::cli::place::{self, Chosen};
use crate::cli::report::{Failure, Outcome, Report, Verdict, exit, printable, worst};
use crate::cli::{Common, failure, read_input};
use crate::evidence::MAX_EVIDENCE;
use crate::response::{MAX_SIGNATURE, Response, ResponseError};
use crate::statement::{Decision, MAX_STATEMENT, Statement, StatementError};
use crate::text::Text;
use crate::unix_time::UnixTime;
use crate::verify::{self, Answer, Counted, Counter, OpenRequests, Rejection, Unchecked, Verified};

const EXAMPLE: &str = "\
Example:
  touchgate verify HJ5C9.approval
  touchgate verify HJ5C9.approval --request HJ5C9.request   also: asked so, and in time
  touchgate verify ok                                       ok and ok.asc, as `--detached` wrote them
  touchgate verify HJ5C9.evidence.json                      a decision, by nothing but the pinned digest
  touchgate verify HJ5C9.evidence.json --unpack HJ5C9       also: as plain files, for gpg and openssl
  touchgate verify 1.approval 2.approval --counter 1.counter.pem --counter 2.counter.pem
                                                            also: what else the token signed in between";

// Arguments of `verify`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(super) struct Arguments {
    /// Approvals or refusals; a statement with its signature beside it in FILE.asc or FILE.sig; evidence; - for standard
    /// input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The request as it was issued
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// The counter that came with it; for several files as many, in the order in which they were signed
    #[arg(long, value_name = "FILE")]
    counter: Vec<PathBuf>,
    /// More certificates between a counter and its root, PEM or DER; a directory gives every file in it
    #[arg(long, value_name = "FILE", requires = "counter")]
    intermediates: Vec<PathBuf>,
    /// A root for counters beside Yubico's; what it vouches for is its word
    #[arg(long, value_name = "FILE", requires = "counter")]
    root: Vec<PathBuf>,
    /// Write the parts of evidence to a new directory, as plain files
    #[arg(long, value_name = "DIR", conflicts_with_all = ["request", "counter"])]
    unpack: Option<PathBuf>,
    /// Signed updates that lead from the pinned version to the one that evidence was decided under: N.json, or a
    /// directory of them
    #[arg(long, value_name = "FILE|DIR")]
    updates: Vec<PathBuf>,
    /// The log's proof that the next version of trust came into force: evidence must come before
    #[arg(long, value_name = "FILE")]
    next: Option<PathBuf>,
    /// Report what the trust here says of the keys in evidence since then
    #[arg(long)]
    later: bool,
}

/// The counters that came with the files, and what is known of each key from those before.
struct Counters<'a> {
    authorities: Authorities,
    files: &'a [PathBuf],
    known: BTreeMap<Fingerprint, Counter>,
}

impl Counters<'_> {
    /// Judges the counter of the file at `index`.
    fn count(
        &mut self,
        index: usize,
        answer: &Answer,
        chosen: &Chosen,
        name: &str,
    ) -> Result<Option<Counted>, Failure> {
        let Some(path) = self.files.get(index) else { return Ok(None) };
        let presented = counter::read(path, &self.authorities)?;
        let before = self.known.get(answer.key()).copied();
        let (counted, after) = verify::count(answer, &presented, &chosen.trust, before, UnixTime::now())
            .map_err(|rejection| failure::rejected(&rejection, name))?;
        self.known.insert(answer.key().clone(), after);
        Ok(Some(counted))
    }
}

/// Judges every file; the worst result is the command's.
pub(super) fn verify(common: &Common, arguments: &Arguments) -> Outcome {
    if !arguments.counter.is_empty() && arguments.counter.len() != arguments.files.len() {
        return Err(Failure::usage("a counter for some files and not for others")
            .hint("give --counter once for each file, in the same order"));
    }
    let mut files: Vec<(&Path, Vec<u8>)> = Vec::new();
    for path in &arguments.files {
        files.push((path, read_input(path, MAX_EVIDENCE)?));
    }
    let of_evidence = files.iter().filter(|(_, bytes)| evidence::is(bytes)).count();
    if of_evidence > 0 && (arguments.request.is_some() || !arguments.counter.is_empty()) {
        return Err(Failure::usage("--request and --counter are for approvals; evidence has them in it")
            .hint("leave them out, or judge the approvals by themselves"));
    }
    if arguments.unpack.is_some() && (of_evidence != 1 || files.len() != 1) {
        return Err(Failure::usage("--unpack takes one file of evidence"));
    }
    // Evidence brings the trust along that it needs: what is loaded here is for approvals alone.
    let mut approvals = None;
    if of_evidence < files.len() {
        approvals = Some(Approvals::new(common, arguments)?);
    }
    let mut held = None;
    if of_evidence > 0 {
        held = Some(evidence::Held::new(common, arguments, &files)?);
    }
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (index, (path, bytes)) in files.iter().enumerate() {
        let outcome = match (&mut approvals, &held) {
            (_, Some(held)) if evidence::is(bytes) => held.judge(path, bytes),
            (Some(approvals), _) => approvals.judge(index, path, bytes),
            _ => Err(Failure::usage("nothing to judge")),
        };
        outcomes.push(outcome.map_err(|failure| failure.with("file", path.display().to_string())));
    }
    worst(outcomes, common.json)
}

/// What approvals are judged by.
struct Approvals<'a> {
    chosen: Chosen,
    asked: Option<OpenRequests>,
    counters: Option<Counters<'a>>,
}

impl<'a> Approvals<'a> {
    fn new(common: &Common, arguments: &'a Arguments) -> Result<Self, Failure> {
        let chosen = place::trust(common.trust.as_deref(), common.unpinned)?;
        // Without counters nothing of the kind is read.
        let wanted = !arguments.counter.is_empty();
        let authorities = wanted.then(|| Authorities::read(&arguments.intermediates, &arguments.root));
        let counters = authorities.transpose()?.map(|authorities| Counters {
            authorities,
            files: &arguments.counter,
            known: BTreeMap::new(),
        });
        let mut asked = None;
        if let Some(path) = &arguments.request {
            let bytes = read_input(path, MAX_STATEMENT)?;
            let bad = |error: StatementError| {
                Failure::failed(error.code(), format!("{}: {error}", path.display()))
                    .hint("give the request as it was issued")
            };
            let mut requests = OpenRequests::default();
            requests.open(Challenge::parse(&bytes).map_err(bad)?);
            asked = Some(requests);
        }
        Ok(Self { chosen, asked, counters })
    }

    fn judge(&mut self, index: usize, path: &Path, bytes: &[u8]) -> Outcome {
        let Self { chosen, asked, counters } = self;
        let count = |answer: &Answer, name: &str| match counters {
            Some(counters) => counters.count(index, answer, chosen, name),
            None => Ok(None),
        };
        one(path, bytes, chosen, asked.as_mut(), count)
    }
}

fn one(
    path: &Path,
    bytes: &[u8],
    chosen: &Chosen,
    asked: Option<&mut OpenRequests>,
    count: impl FnOnce(&Answer, &str) -> Result<Option<Counted>, Failure>,
) -> Outcome {
    let name = printable(&path.display().to_string());
    let response = read_response(path, bytes)?;
    let (trust, now) = (&chosen.trust, UnixTime::now());
    // A request's file says what was asked, not what was answered before.
    let unchecked: &[Unchecked] = if asked.is_some() { &[Unchecked::SingleUse] } else { &Unchecked::ALONE };
    let judged = match asked {
        None => verify::alone(&response, trust, now),
        Some(requests) => verify::response(&response, trust, requests, now).map(|verified| match verified {
            Verified::Approved(approval) => approval.answer().clone(),
            Verified::Refused(refusal) => refusal.answer().clone(),
        }),
    };
    let answer = judged.map_err(|rejection| {
        let failure = failure::rejected(&rejection, &name);
        match rejection {
            Rejection::Expired { .. } => failure.hint("to judge an old answer leave out --request"),
            _ => failure,
        }
    })?;
    let counted = count(&answer, &name)?;
    let (verdict, word, exit, because) = match answer.decision() {
        Decision::Approve => (Verdict::Approved, "approved", exit::YES, None),
        Decision::Refuse { because } => (Verdict::Refused, "refused", exit::NO, because.as_ref()),
    };
    let open: Vec<&str> = unchecked.iter().map(|unchecked| words::unchecked(*unchecked)).collect();
    let mut text = text(&name, word, &answer, because, &open, chosen.pinned);
    if let Some(counted) = &counted {
        text.push_str(&format!("  counter  {}\n", counter::text(counted, answer.signed_at())));
    }
    let report = Report { exit, ..Report::decided(verdict, text) };
    let report = match &counted {
        Some(counted) => report.with("counter", counter::fields(counted)),
        None => report,
    };
    let report = if verdict == Verdict::Refused { report.with("code", "refused") } else { report };
    let codes: Vec<&str> = unchecked.iter().map(|unchecked| unchecked.code()).collect();
    Ok(report
        .with("file", name)
        .with("request", answer.challenge().id.to_string())
        .with("person", answer.person())
        .with("because", because.map(ToString::to_string))
        .with("serial", answer.serial())
        .with("key", answer.key().to_hex())
        .with("acr", answer.tier().acr())
        .with("signed_at", answer.signed_at().to_string())
        .with("unchecked", json!(codes))
        .with("pinned", chosen.pinned))
}

fn text(
    name: &str,
    word: &str,
    answer: &Answer,
    because: Option<&Text>,
    open: &[&str],
    pinned: bool,
) -> String {
    let request = &answer.challenge().request;
    let mut text = format!(
        "{word}: {name}: {} on {}, by {} for {}\n",
        request.action,
        request.resource,
        answer.person(),
        request.requester
    );
    if let Some(because) = because {
        text.push_str(&format!("  because  {because}\n"));
    }
    text.push_str(&format!(
        "  signed   {} by key {} on token {}\n  evidence {} ({})\n  not checked: {}\n",
        answer.signed_at(),
        answer.key().to_hex(),
        answer.serial(),
        answer.tier(),
        answer.tier().acr(),
        open.join("; ")
    ));
    if !pinned {
        text.push_str("  not pinned: this trust is whatever the directory says\n");
    }
    text
}

/// An approval file, or a statement and its detached signature beside it.
fn read_response(path: &Path, bytes: &[u8]) -> Result<Response, Failure> {
    let name = path.display().to_string();
    match Response::parse(bytes) {
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
                Statement::parse(bytes).map_err(|error| failure::rejected(&error.into(), &name))?;
                let missing = format!("{name}: no signature in it, and none beside it");
                return Err(refused(ResponseError::NoSignature.code(), missing)
                    .hint(format!("put the detached signature into {name}.asc")));
            };
            let signature = read_input(&signature, MAX_SIGNATURE)?;
            Ok(Response { statement: bytes.to_vec(), signature })
        }
    }
}

fn refused(code: &'static str, message: String) -> Failure {
    let failure = Failure { verdict: Verdict::Rejected, exit: exit::NO, ..Failure::failed(code, message) };
    failure.hint("ask the approver for the file again, unchanged")
}
