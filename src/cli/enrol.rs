//! `enrol`: certificate, attestation and one touch in a file for an administrator.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;

use crate::card::{CardError, CardSigner, KeptPin, KeySlot, Patience, Token, TouchNeed};
use crate::cli::certify::Certify;
use crate::cli::report::{Failure, Outcome, Report, printable, say};
use crate::cli::work::{self, AtDesk, Desk};
use crate::cli::{Common, ask, init, place};
use crate::digest::Sha256Digest;
use crate::enrolment::possession::{Name, Possession};
use crate::enrolment::{Enrolment, MAX_ATTESTATION, MAX_REPORT, Parts, pem};
use crate::sign;
use crate::trust::MAX_FILE;
use crate::unix_time::UnixTime;

const EXAMPLE: &str = "\
Example:
  touchgate enrol                                            writes alice.enrol, for whoever keeps trust
  touchgate enrol --user-id \"Alice <alice@example.org>\"      the token makes its certificate first";

/// How long a person may take over all of it.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

// Arguments of `enrol`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(super) struct Arguments {
    /// The name to be known by [the login name]
    #[arg(long)]
    name: Option<Name>,
    /// Write here instead of NAME.enrol
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    certify: Certify,
    /// Enclose this attestation chain (PEM) instead of having the token make one, which replaces the
    /// cardholder certificate of its signature slot
    #[arg(long, value_name = "FILE")]
    attestation: Option<PathBuf>,
    /// Enclose no attestation, as with tokens that cannot make one
    #[arg(long, conflicts_with = "attestation")]
    no_attestation: bool,
    /// Name the profile by which the token was provisioned, by its digest
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Enclose the report of provisioning
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Writes the file.
pub(super) fn enrol(common: &Common, arguments: &Arguments) -> Outcome {
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => init::person_name(&ask::user()?).parse().map_err(|error| {
            Failure::usage(format!("the login name is no name for a file: {error}"))
                .hint("give one: --name NAME")
        })?,
    };
    let out = arguments.out.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.enrol")));
    let file = out.with_extension("asc");
    if file == out {
        return Err(Failure::usage("--out ends in .asc, where the certificate would lie"));
    }
    // Everything that can be found out without the token comes before it.
    place::check_free(&[&out])?;
    let given = arguments.attestation.as_deref().map(given_chain).transpose()?;
    let report = arguments.report.as_deref().map(given_report).transpose()?;
    let profile = arguments.profile.as_deref().map(|path| read(path, MAX_FILE)).transpose()?;
    let mut desk = Desk::new(common, arguments.certify.pin_fd)?;
    let patience = desk.patience(UnixTime::now().plus(PATIENCE));
    let mut token = work::find_token(common, &patience)?;
    // Whatever trust there is may know the certificate; whether it does decides nothing, so it needs no pin.
    let trust = match place::trust(common.trust.as_deref(), true) {
        Err(failure) if common.trust.is_some() => return Err(failure),
        found => found.ok().map(|chosen| chosen.trust),
    };
    let mut kept = KeptPin::default();
    let (certify, trust, file) = (&arguments.certify, trust.as_ref(), Some(file.as_path()));
    let cert = certify.certificate(&mut desk, &mut token, trust, file, &mut kept, &patience)?;
    init::check_key(token.info(), &cert, UnixTime::now())?;
    let chain = match (given, arguments.no_attestation) {
        (Some(chain), _) => chain,
        (None, true) => Vec::new(),
        (None, false) => attest(&mut desk, &mut token, &mut kept, &patience)?,
    };
    let parts = Parts::new(&cert, &chain, report)?;
    let possession = possession(&token, name, profile.as_deref(), &parts)?;
    let enrolment = sign(&mut desk, &mut token, &cert, &mut kept, &patience, &possession, parts)?;
    let json = enrolment.to_json();
    // What does not pass here would not pass there.
    let enrolled = Enrolment::parse(json.as_bytes()).and_then(|read| read.verify(UnixTime::now()))?;
    place::write_new(&out, json.as_bytes()).map_err(|error| place::unwritable(&out, &error))?;
    Ok(told(&possession, enrolled.attestation.len(), &out))
}

/// Has the token vouch for its key, where it can.
fn attest(
    desk: &mut Desk,
    token: &mut Token,
    kept: &mut KeptPin,
    patience: &Patience,
) -> Result<Vec<Vec<u8>>, Failure> {
    let result = work::attest(desk, token, KeySlot::Signature, false, kept, patience);
    match result {
        Err(error @ CardError::NotAttested { .. }) => {
            say(&format!("note: {error}; enrolling without attestation\n"));
            Ok(Vec::new())
        }
        other => {
            let attested = other?;
            Ok(vec![attested.attestation, attested.device])
        }
    }
}

fn possession(
    token: &Token,
    name: Name,
    profile: Option<&[u8]>,
    parts: &Parts,
) -> Result<Possession, Failure> {
    let info = token.info();
    let key = info.signature_key.as_ref().ok_or(CardError::NoSignatureKey { ident: info.ident })?;
    let (certificate, attestation, report) = parts.digests();
    Ok(Possession {
        name,
        ident: info.ident,
        key: key.fingerprint.clone(),
        touch: info.touch.word(),
        certificate,
        attestation,
        profile: profile.map(Sha256Digest::of),
        report,
        signed: UnixTime::now(),
    })
}

/// Shows the statement and has it signed.
fn sign(
    desk: &mut Desk,
    token: &mut Token,
    cert: &sequoia_openpgp::Cert,
    kept: &mut KeptPin,
    patience: &Patience,
    possession: &Possession,
    parts: Parts,
) -> Result<Enrolment, Failure> {
    let ident = token.info().ident;
    let key = sign::key_on_card(cert, token).ok_or(CardError::NoSignatureKey { ident })?;
    let text = possession.to_text();
    work::show_signed(desk, &text, "");
    if token.info().touch.need() != TouchNeed::Always {
        desk.show("note: this key can sign without a touch, and the statement says so\n");
    }
    let mut person = AtDesk::new(desk, format!("enrol as {}", possession.name), text.clone());
    let mut attendant = kept.with(&mut person);
    let mut signer = CardSigner::new(token, key, &mut attendant, patience.clone())?;
    let signature = sign::detached(&mut signer, text.as_bytes(), SystemTime::from(possession.signed));
    drop(signer);
    drop(attendant);
    person.stop_waiting();
    Ok(parts.signed(text, &signature?))
}

fn told(possession: &Possession, chain: usize, out: &Path) -> Report {
    let file = out.display().to_string();
    let attested = if chain == 0 { "no attestation" } else { "attested by the token" };
    let key = possession.key.to_hex();
    let text = format!(
        "enrolment of {}: token {}, key {key}, touch {}, {attested}; written to {}\nnext: give it to whoever keeps trust",
        possession.name,
        possession.ident,
        possession.touch,
        printable(&file),
    );
    Report::done(text)
        .with("name", possession.name.to_string())
        .with("serial", possession.ident.to_string())
        .with("key", key)
        .with("touch", possession.touch)
        .with("attestation", chain)
        .with("profile", possession.profile.map(|digest| digest.to_string()))
        .with("signed", possession.signed.to_string())
        .with("file", file)
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    place::read_bounded(path, most).map_err(|error| place::unreadable(path, &error))
}

fn given_chain(path: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let bytes = read(path, MAX_ATTESTATION as u64)?;
    let chain = std::str::from_utf8(&bytes).ok().and_then(pem::read);
    chain.ok_or_else(|| {
        Failure::failed("bad-attestation-chain", format!("{}: not a plain PEM chain", path.display()))
            .hint("1 to 8 certificates in PEM, the attestation first, nothing between them")
    })
}

fn given_report(path: &Path) -> Result<String, Failure> {
    let bytes = read(path, MAX_REPORT as u64)?;
    String::from_utf8(bytes)
        .map_err(|_| Failure::failed("bad-report", format!("{}: not text in UTF-8", path.display())))
}
