//! `approve` and `refuse`: read the request, decide, touch, and write the signed answer.

mod watch;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::card::{KeptPin, Token, TokenInfo};
use crate::challenge::{Audience, Challenge};
use crate::cli::authorities::Authorities;
use crate::cli::counter::{self, Planned};
use crate::cli::exchange::{self, Exchange};
use crate::cli::place::Chosen;
use crate::cli::report::{Failure, Outcome, Report, Verdict};
use crate::cli::work::{self, Desk};
use crate::cli::{Common, place, read_input};
use crate::response::{Response, armored};
use crate::statement::{Decision, MAX_STATEMENT};
use crate::text::Text;
use crate::unix_time::UnixTime;

pub(super) use watch::LOOK_EVERY;

const EXAMPLE: &str = "\
Example:
  touchgate approve HJ5C9.request                 writes HJ5C9.approval
  touchgate approve HJ5C9.request --detached ok   writes ok and ok.asc: `gpg --verify ok.asc ok`
  touchgate approve HJ5C9.request --with-counter  also HJ5C9.counter.pem, for `verify --counter`
  touchgate approve --exchange /mnt/share         what waits there; writes HJ5C9.NAME.approval beside it
  touchgate approve --exchange /mnt/share --watch and whatever comes later, one after the other";

// Arguments of `approve`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(super) struct Arguments {
    #[command(flatten)]
    signing: Signing,
    /// Write NAME and NAME.asc, as OpenPGP tools like them, instead of CODE.approval
    #[arg(long, value_name = "NAME", conflicts_with = "exchange")]
    detached: Option<PathBuf>,
    /// Have the token attest its signature counter afterwards, into CODE.counter.pem
    #[arg(long, conflicts_with = "exchange")]
    with_counter: bool,
    /// Wait for requests in the directory, show each, and ask at the terminal what to do with it
    #[arg(long, requires = "exchange", conflicts_with = "request")]
    watch: bool,
}

// Arguments of `refuse`.
#[derive(Args, Debug)]
#[command(before_help = "Example:\n  touchgate refuse HJ5C9.request --because \"not during the freeze\"")]
pub(super) struct RefuseArguments {
    #[command(flatten)]
    signing: Signing,
    /// Why not
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
}

// What both take.
#[derive(Args, Debug)]
pub(super) struct Signing {
    /// A request's file, its code, or - for standard input; without it, the one that waits here
    #[arg(value_name = "REQUEST")]
    request: Option<PathBuf>,
    /// Take requests from this directory and write answers into it, as `run --exchange` does at the other end
    #[arg(long, value_name = "DIR")]
    exchange: Option<PathBuf>,
    /// Read the PIN from this descriptor
    #[arg(long, value_name = "N")]
    pin_fd: Option<u32>,
    /// The certificate of the token's key, if neither trust nor gpg has it
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// The verifier to serve, on a machine without trust
    #[arg(long, value_name = "NAME")]
    audience: Option<Audience>,
}

/// Signs an approval.
pub(super) fn approve(common: &Common, arguments: &Arguments) -> Outcome {
    if arguments.watch {
        return watch::watch(common, &arguments.signing);
    }
    let (source, challenge) = read_request(common, &arguments.signing)?;
    match &arguments.detached {
        Some(name) => place::check_free(&[name, &beside(name)])?,
        None => source.check_free(&challenge, "approval")?,
    }
    let mut counter_path = None;
    if arguments.with_counter {
        let place = arguments.detached.clone().or_else(|| source.place(&challenge));
        let path = counter::beside(&place.ok_or_else(|| {
            Failure::usage(
                "the counter goes into a file of its own, and the request came without a place for it",
            )
            .hint("name one: --detached NAME")
        })?);
        place::check_free(&[&path])?;
        counter_path = Some(path);
    }
    let counted = arguments.with_counter;
    let mut decided =
        decide(common, &arguments.signing, &source, challenge.clone(), Decision::Approve, counted)?;
    let written = match &arguments.detached {
        Some(name) => write_detached(name, &decided.response)?,
        None => write_answer(&source, &challenge, &decided)?,
    };
    let Some(path) = counter_path else {
        return Ok(told(Verdict::Approved, "approved", &challenge, written));
    };
    // The approval lies there by now, and counts without its counter.
    let counted = decided.count(&challenge, &path);
    counted.map(|()| {
        let report = told(Verdict::Approved, "approved", &challenge, written.clone());
        let name = path.display().to_string();
        Report { text: format!("{}, its counter to {name}", report.text), ..report }.with("counter", name)
    }).map_err(|failure| {
        let file = written.map(|path| path.display().to_string()).unwrap_or_default();
        failure.fact("written", file.clone()).with("file", file).hint(format!(
            "the approval counts as it is; before you sign anything else, `touchgate card attest --out {}` makes its counter",
            path.display()
        ))
    })
}

/// Signs a refusal.
pub(super) fn refuse(common: &Common, arguments: &RefuseArguments) -> Outcome {
    let because = arguments.because.as_deref().map(Text::new).transpose();
    let because = because.map_err(|error| Failure::usage(format!("--because: {error}")))?;
    let (source, challenge) = read_request(common, &arguments.signing)?;
    source.check_free(&challenge, "refusal")?;
    answer(common, &arguments.signing, &source, challenge, Decision::Refuse { because })
}

/// Signs a decision and writes the answer where it belongs.
fn answer(
    common: &Common,
    signing: &Signing,
    source: &Source,
    challenge: Challenge,
    decision: Decision,
) -> Outcome {
    let (verdict, word) = match decision {
        Decision::Approve => (Verdict::Approved, "approved"),
        Decision::Refuse { .. } => (Verdict::Refused, "refused"),
    };
    let decided = decide(common, signing, source, challenge.clone(), decision, false)?;
    let written = write_answer(source, &challenge, &decided)?;
    Ok(told(verdict, word, &challenge, written))
}

/// A response, and what else was asked of the token that made it.
struct Decided {
    response: Response,
    /// Whose answer it is, as files are named after them, and how they are.
    person: String,
    ending: &'static str,
    desk: Desk,
    token: Token,
    kept: KeptPin,
    counter: Option<Planned>,
}

impl Decided {
    /// Has the token attest its counter into a file.
    fn count(&mut self, challenge: &Challenge, path: &Path) -> Result<(), Failure> {
        let Some(planned) = self.counter.take() else { return Ok(()) };
        let patience = self.desk.patience(challenge.expires);
        let made = planned.make(&mut self.desk, &mut self.token, &mut self.kept, &patience)?;
        place::write_new(path, made.pem.as_bytes()).map_err(|error| place::unwritable(path, &error))
    }
}

fn decide(
    common: &Common,
    signing: &Signing,
    source: &Source,
    challenge: Challenge,
    decision: Decision,
    with_counter: bool,
) -> Result<Decided, Failure> {
    let authorities = with_counter.then(|| Authorities::read(&[], &[])).transpose()?;
    let mut desk = Desk::new(common, signing.pin_fd)?;
    let chosen = match &signing.audience {
        Some(_) => None,
        None => Some(place::trust(common.trust.as_deref(), common.unpinned).map_err(|mut failure| {
            if failure.code == "no-trust" {
                failure.hint = Some(
                    "run `touchgate init`; or, to approve for a verifier elsewhere, name it: --audience NAME, and \
                     --certificate FILE if gpg does not know your key"
                        .to_owned(),
                );
            }
            failure
        })?),
    };
    let served = signing.audience.as_ref().or(chosen.as_ref().map(|chosen| &chosen.trust.audience));
    check(&challenge, served, UnixTime::now())?;
    let given = signing.certificate.as_deref().map(work::given_certificate).transpose()?;
    let ending = ending(&decision);
    let statement = challenge.decided(decision);
    let mut token = work::find_token(common, &desk.patience(statement.challenge.expires))?;
    if let Some(chosen) = &chosen {
        work::check_touch(token.info(), &chosen.trust)?;
    }
    let cert = work::certificate(token.info(), chosen.as_ref().map(|chosen| &chosen.trust), given)?;
    let person = holder(token.info(), chosen.as_ref());
    source.check_free_for(&statement.challenge, &person, ending)?;
    let patience = desk.patience(statement.challenge.expires);
    let counter = authorities.map(|authorities| Planned::new(&token, authorities, &patience)).transpose()?;
    work::show_statement(&desk, &statement);
    let mut kept = KeptPin::default();
    let response = work::sign(&mut desk, &mut token, &cert, &statement, &mut kept)?;
    Ok(Decided { response, person, ending, desk, token, kept, counter })
}

fn ending(decision: &Decision) -> &'static str {
    match decision {
        Decision::Approve => "approval",
        Decision::Refuse { .. } => "refusal",
    }
}

/// The name of trust for whoever holds this token, or the token's number.
fn holder(token: &TokenInfo, chosen: Option<&Chosen>) -> String {
    let key = token.signature_key.as_ref();
    let known = chosen.zip(key).and_then(|(chosen, key)| chosen.trust.roster.holder(&key.fingerprint));
    known.map_or_else(|| token.ident.to_string(), |(person, _)| person.name.clone())
}

/// What the client refuses to show for signing: what has expired, and what is for somebody else.
fn check(challenge: &Challenge, served: Option<&Audience>, now: UnixTime) -> Result<(), Failure> {
    let code = challenge.id.short_code();
    if served != Some(&challenge.audience) {
        let hint = "sign only for verifiers that you know: --audience NAME, or that verifier's --trust";
        return Err(Failure::failed(
            "wrong-audience",
            format!("{code} is for a verifier that this machine does not serve"),
        )
        .fact("asked by", challenge.audience.to_string())
        .fact("served", served.map(ToString::to_string).unwrap_or_default())
        .hint(hint));
    }
    if now >= challenge.expires {
        return Err(Failure {
            verdict: Verdict::Expired,
            exit: crate::cli::report::exit::NOBODY,
            ..Failure::failed("expired", format!("{code} has expired"))
        }
        .fact("expired", challenge.expires.to_string())
        .fact("now", now.to_string())
        .hint("ask again"));
    }
    if now < challenge.issued {
        return Err(Failure::failed("not-yet-valid", format!("{code} is from the future"))
            .fact("issued", challenge.issued.to_string())
            .fact("now", now.to_string())
            .hint("set this machine's clock"));
    }
    Ok(())
}

/// Where a request came from, which is where its answer goes.
#[derive(Debug)]
enum Source {
    Directory(PathBuf),
    Exchange(Exchange),
    StandardInput,
}

impl Source {
    /// Where what belongs to the answer will lie, without its ending; nowhere, if it goes to standard output or
    /// depends on who gives it.
    fn place(&self, challenge: &Challenge) -> Option<PathBuf> {
        match self {
            Self::Exchange(_) | Self::StandardInput => None,
            Self::Directory(directory) => Some(directory.join(challenge.id.short_code())),
        }
    }

    /// Where the answer will lie.
    fn answer(&self, challenge: &Challenge, person: &str, ending: &str) -> Option<PathBuf> {
        match self {
            Self::Exchange(exchange) => Some(exchange.answer(challenge, person, ending)),
            _ => self.place(challenge).map(|place| place.with_extension(ending)),
        }
    }

    fn check_free(&self, challenge: &Challenge, ending: &str) -> Result<(), Failure> {
        let path = self.place(challenge).map(|place| place.with_extension(ending));
        path.map_or(Ok(()), |path| place::check_free(&[&path]))
    }

    /// The same once it is known who answers.
    fn check_free_for(&self, challenge: &Challenge, person: &str, ending: &str) -> Result<(), Failure> {
        match self {
            Self::Exchange(exchange) => place::check_free(&[&exchange.answer(challenge, person, ending)]),
            _ => Ok(()),
        }
    }
}

/// The signature's place beside the statement's.
fn beside(name: &Path) -> PathBuf {
    let mut signature = name.as_os_str().to_owned();
    signature.push(".asc");
    signature.into()
}

fn read_request(common: &Common, signing: &Signing) -> Result<(Source, Challenge), Failure> {
    let named = signing.request.as_deref();
    let exchange = signing.exchange.as_deref().map(Exchange::open).transpose()?;
    let path = match (named, &exchange, &signing.exchange) {
        (None, Some(exchange), _) => {
            let waiting = exchange.waiting(watch::myself(common).as_deref(), UnixTime::now())?;
            only(waiting, "in that directory")?
        }
        (None, None, _) => only(waiting_here()?, "in this directory")?,
        (Some(name), _, _) if name.as_os_str() == "-" || name.exists() => name.to_owned(),
        (Some(name), _, directory) => {
            let by_code = directory.as_deref().unwrap_or(Path::new("")).join(name).with_extension("request");
            let missing = || {
                Failure::failed("no-such-request", format!("there is no request {}", name.display()))
                    .hint("give its file, as in HJ5C9.request")
            };
            Some(by_code).filter(|path| path.exists()).ok_or_else(missing)?
        }
    };
    let bytes = match &exchange {
        // Others write there.
        Some(_) if path.as_os_str() != "-" => {
            exchange::read(&path, MAX_STATEMENT).map_err(|error| place::unreadable(&path, &error))?.1
        }
        _ => read_input(&path, MAX_STATEMENT)?,
    };
    let challenge = Challenge::parse(&bytes).map_err(|error| {
        Failure::failed(error.code(), format!("{}: not a request: {error}", path.display()))
            .hint("it was changed on its way, or is not a request; ask for it again")
    })?;
    let source = match (exchange, path.parent()) {
        (Some(exchange), _) => Source::Exchange(exchange),
        _ if path.as_os_str() == "-" => Source::StandardInput,
        (None, Some(parent)) => Source::Directory(parent.to_owned()),
        (None, None) => Source::Directory(PathBuf::new()),
    };
    Ok((source, challenge))
}

/// The requests in the working directory that have no answer yet and have not expired.
fn waiting_here() -> Result<Vec<(PathBuf, Challenge)>, Failure> {
    let entries = fs::read_dir(".").map_err(|error| place::unreadable(Path::new("."), &error))?;
    let requests = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| {
        path.is_file()
            && path.extension().is_some_and(|e| e == "request")
            && !path.with_extension("approval").exists()
            && !path.with_extension("refusal").exists()
    });
    let now = UnixTime::now();
    let open = |path: &PathBuf| {
        let bytes = place::read_bounded(path, MAX_STATEMENT as u64).ok()?;
        Challenge::parse(&bytes).ok().filter(|challenge| now < challenge.expires)
    };
    let mut waiting: Vec<(PathBuf, Challenge)> =
        requests.filter_map(|path| open(&path).map(|challenge| (path, challenge))).collect();
    waiting.sort_by_key(|(_, challenge)| challenge.id);
    Ok(waiting)
}

/// The one that waits; of several somebody must say which.
fn only(mut waiting: Vec<(PathBuf, Challenge)>, place: &str) -> Result<PathBuf, Failure> {
    match (waiting.pop(), waiting.is_empty()) {
        (Some((path, _)), true) => Ok(path.strip_prefix(".").map_or(path.clone(), Path::to_owned)),
        (None, _) => {
            Err(Failure::usage(format!("nothing waits for you {place}")).hint("name the request's file"))
        }
        (Some(last), false) => {
            let mut failure =
                Failure::usage("more than one request waits here").hint("name the one you mean");
            for (_, challenge) in waiting.iter().chain([&last]) {
                let request = &challenge.request;
                failure = failure.fact(
                    "waits",
                    format!(
                        "{} {} on {}, for {}",
                        challenge.id.short_code(),
                        request.action,
                        request.resource,
                        request.requester
                    ),
                );
            }
            Err(failure)
        }
    }
}

fn write_answer(
    source: &Source,
    challenge: &Challenge,
    decided: &Decided,
) -> Result<Option<PathBuf>, Failure> {
    let file = decided.response.to_file();
    let Some(path) = source.answer(challenge, &decided.person, decided.ending) else {
        let failed = |error: std::io::Error| Failure::failed("write", format!("standard output: {error}"));
        let mut out = std::io::stdout().lock();
        out.write_all(&file).and_then(|()| out.flush()).map_err(failed)?;
        return Ok(None);
    };
    write(&path, &file)?;
    Ok(Some(path))
}

fn write_detached(name: &Path, response: &Response) -> Result<Option<PathBuf>, Failure> {
    let signature = beside(name);
    write(name, &response.statement)?;
    write(&signature, armored(&response.signature).as_bytes())?;
    Ok(Some(signature))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    place::write_new(path, bytes).map_err(|error| {
        Failure::failed("write", format!("{}: {error}", path.display()))
            .hint("the answer is signed but not kept; move what stands there and decide again")
    })
}

fn told(verdict: Verdict, word: &str, challenge: &Challenge, written: Option<PathBuf>) -> Report {
    let code = challenge.id.short_code();
    let request = &challenge.request;
    let (text, file) = match written {
        Some(path) => {
            let path = path.display().to_string();
            (
                format!("{word}: {code}, {} on {}; written to {path}", request.action, request.resource),
                Some(path),
            )
        }
        // The answer itself is the result then.
        None => (String::new(), None),
    };
    Report::decided(verdict, text)
        .with("request", challenge.id.to_string())
        .with("short_code", code)
        .with("file", file)
}
