//! `card attest`: judge attestations from files, or have the token make one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::card::attestation::{
    self, Attestation, AttestationError, MAX_FILE, Root, Shortfall, Statement, read_certificates,
};
use crate::card::{KeptPin, KeySlot, Patience, Token};
use crate::cli::authorities::{self, Authorities};
use crate::cli::report::{Failure, Outcome, Report, Verdict, exit, printable, worst};
use crate::cli::work::{self, Desk};
use crate::cli::{Common, place, read_input};
use crate::unix_time::UnixTime;

const EXAMPLE: &str = "\
Example:
  touchgate card attest --intermediates yubico-intermediate.pem   writes 12345678.attestation.pem
  touchgate card attest --verify 12345678.attestation.pem
  touchgate card attest --verify leaf.pem --intermediates device.pem --intermediates yubico-intermediate.pem";

/// How long a person may take over PIN and touch.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

// Arguments of `card attest`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(super) struct Arguments {
    /// Judge these instead of asking a token: the attestation first in each, what leads to the root after it
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["slot", "out", "overwrite", "pin_fd"])]
    verify: Vec<PathBuf>,
    /// Which key the token attests
    #[arg(long, value_name = "SLOT", default_value = "signature")]
    slot: Slot,
    /// Where the attestation goes instead of SERIAL.attestation.pem (other slots: SERIAL.SLOT.attestation.pem)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Attest even if the token keeps another certificate in that slot, which is then lost
    #[arg(long)]
    overwrite: bool,
    /// Read the PIN from this descriptor
    #[arg(long, value_name = "N")]
    pin_fd: Option<u32>,
    /// More certificates between attestation and root, PEM or DER; a directory gives every file in it
    #[arg(long, value_name = "FILE", num_args = 1..)]
    intermediates: Vec<PathBuf>,
    /// A root beside Yubico's; what it vouches for is its word, and never more than `declared`
    #[arg(long, value_name = "FILE", num_args = 1..)]
    root: Vec<PathBuf>,
    /// Judge the chain alone: touch, source and firmware are shown, not weighed
    #[arg(long)]
    chain_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Slot {
    /// The key that approves
    Signature,
    /// The key that decrypts
    Decryption,
    /// The key that logs in
    Authentication,
}

/// Judges every file, of which the worst result is the command's; or makes an attestation and judges that.
pub(super) fn attest(common: &Common, arguments: &Arguments) -> Outcome {
    let known = Known::read(arguments)?;
    if arguments.verify.is_empty() {
        return make(common, arguments, &known);
    }
    let mut outcomes = Vec::new();
    for path in &arguments.verify {
        let name = path.display().to_string();
        outcomes.push(known.judge_file(path, &name).map_err(|failure| failure.with("file", name)));
    }
    worst(outcomes, common.json)
}

/// Has the token attest a key and writes what it gave: also where that is not believed, for it may be with
/// other intermediates.
fn make(common: &Common, arguments: &Arguments, known: &Known) -> Outcome {
    let slot = match arguments.slot {
        Slot::Authentication => KeySlot::Authentication,
        Slot::Decryption => KeySlot::Decryption,
        Slot::Signature => KeySlot::Signature,
    };
    let mut desk = Desk::new(common, arguments.pin_fd)?;
    let patience = desk.patience(UnixTime::now().plus(PATIENCE));
    let mut token = work::find_token(common, &patience)?;
    let ident = token.info().ident;
    let path = arguments.out.clone().unwrap_or_else(|| {
        let serial = ident.to_string().replace(':', "-");
        let middle = if slot == KeySlot::Signature { String::new() } else { format!(".{}", slot.word()) };
        PathBuf::from(format!("{serial}{middle}.attestation.pem"))
    });
    if path.symlink_metadata().is_ok() {
        return Err(place::unwritable(&path, &std::io::ErrorKind::AlreadyExists.into()));
    }
    let made =
        work::attest(&mut desk, &mut token, slot, arguments.overwrite, &mut KeptPin::default(), &patience)?;
    let judged = known.authorities.judge(&made);
    place::write_new(&path, authorities::to_file(&made, judged.as_ref().ok()).as_bytes())
        .map_err(|error| place::unwritable(&path, &error))?;
    let name = path.display().to_string();
    let outcome = judged.map_err(|error| rejected(&error, &name)).and_then(|judged| {
        same_token(&judged, slot, &token, &patience).map_err(|failure| failure.hint(STALE))?;
        known.weigh(&judged, &name)
    });
    match outcome {
        Ok(report) => {
            let text = format!("{}  written to {}\n", report.text, printable(&name));
            Ok(Report { text, ..report }.with("file", name))
        }
        Err(failure) => Err(failure.fact("written", name.clone()).with("file", name)),
    }
}

const STALE: &str = "do not believe this token; attest again on another machine";

/// Whether the attestation is about the key that was asked for, on this very token.
fn same_token(
    judged: &Attestation,
    slot: KeySlot,
    token: &Token,
    patience: &Patience,
) -> Result<(), Failure> {
    let said = judged.statement();
    let wrong = |what: &str| {
        let failure = Failure::failed("other-key", format!("the token gave an attestation of {what}"));
        Failure { verdict: Verdict::Rejected, exit: exit::NO, ..failure }
    };
    if token.info().ident.decimal() != Some(said.serial) {
        return Err(wrong("another token"));
    }
    if said.slot != slot {
        return Err(wrong("another slot"));
    }
    // Of the other slots the card's public key is not read here.
    if slot == KeySlot::Signature && !said.key.is_key_of(&token.signature_key(patience)?) {
        return Err(wrong("another key"));
    }
    Ok(())
}

/// What stands beside an attestation.
struct Known {
    authorities: Authorities,
    chain_only: bool,
}

impl Known {
    fn read(arguments: &Arguments) -> Result<Self, Failure> {
        let authorities = Authorities::read(&arguments.intermediates, &arguments.root)?;
        Ok(Self { authorities, chain_only: arguments.chain_only })
    }

    fn judge_file(&self, path: &Path, name: &str) -> Outcome {
        let bytes = read_input(path, MAX_FILE)?;
        if bytes.len() > MAX_FILE {
            return Err(Failure::failed("too-large", format!("{name}: more than {MAX_FILE} bytes")));
        }
        let mut certificates = read_certificates(&bytes).map_err(|error| rejected(&error, name))?.into_iter();
        let attestation = certificates.next().unwrap_or_default();
        let others: Vec<Vec<u8>> = certificates.chain(self.authorities.intermediates.clone()).collect();
        let judged = attestation::verify(&attestation, &others, &self.authorities.roots, UnixTime::now());
        let judged = judged.map_err(|error| rejected(&error, name))?;
        self.weigh(&judged, name).map(|report| report.with("file", name))
    }

    /// Whether what a believed attestation says is enough.
    fn weigh(&self, attestation: &Attestation, name: &str) -> Outcome {
        let short = attestation.shortfalls();
        // Which slot and whose root is what was asked for, and said.
        let weighed = |short: &&Shortfall| {
            !matches!(short, Shortfall::OtherRoot { .. } | Shortfall::OtherSlot { .. }) && !self.chain_only
        };
        let fields = fields(attestation, &short);
        if let Some(first) = short.iter().find(weighed) {
            let message = format!("{name}: {first}");
            let mut failure = Failure {
                verdict: Verdict::Rejected,
                exit: exit::NO,
                ..Failure::failed(first.code(), message).hint(hint(first))
            };
            failure.fields.extend(fields);
            return Err(failure);
        }
        let mut report = Report::decided(Verdict::Approved, text(attestation, &short, name));
        report.fields.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
        Ok(report)
    }
}

fn rejected(error: &AttestationError, name: &str) -> Failure {
    let failure = Failure::failed(error.code(), format!("{name}: {error}"));
    let failure = Failure { verdict: Verdict::Rejected, exit: exit::NO, ..failure };
    match error {
        AttestationError::UnknownIssuer => failure.hint(
            "pass the token's certificate (`ykman openpgp certificates export att`) and, from firmware 5.7.4 on, \
             Yubico's intermediates (developers.yubico.com/PKI) with --intermediates",
        ),
        _ => failure,
    }
}

fn hint(short: &Shortfall) -> &'static str {
    match short {
        Shortfall::FirmwareFloor { .. } => "use a kind of key that this firmware makes well: Ed25519 or RSA",
        Shortfall::TouchNotFixed { .. } => {
            "`touchgate card touch fixed` makes touch permanent; attest again after that"
        }
        Shortfall::NotGenerated => "make a key on the token",
        Shortfall::OtherKey
        | Shortfall::OtherRoot { .. }
        | Shortfall::OtherSerial { .. }
        | Shortfall::OtherSlot { .. } => "attest the key that signs, on the token that is enrolled",
    }
}

/// The strongest tier that it supports.
fn tier(short: &[Shortfall]) -> &'static str {
    match short {
        [] => "attested",
        [Shortfall::OtherRoot { .. }] => "declared",
        _ => "signed",
    }
}

fn fields(attestation: &Attestation, short: &[Shortfall]) -> Vec<(&'static str, Value)> {
    let said = attestation.statement();
    let owner = &said.owner_writable;
    let whose = if matches!(attestation.root(), Root::Yubico(_)) { "yubico" } else { "configured" };
    let codes: Vec<&str> = short.iter().map(Shortfall::code).collect();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    vec![
        ("root", attestation.root().name().into()),
        ("root_is", whose.into()),
        ("slot", said.slot.word().into()),
        ("serial", said.serial.to_string().into()),
        ("algorithm", said.key.to_string().into()),
        ("source", said.source.word().into()),
        ("touch", said.touch.word().into()),
        ("firmware", said.firmware.to_string().into()),
        ("form_factor", said.form_factor.to_string().into()),
        ("signatures", said.signatures.into()),
        ("fips", said.fips.as_deref().map(hex).into()),
        ("cspn", said.cspn.as_deref().map(hex).into()),
        ("tier", tier(short).into()),
        ("falls_short", json!(codes)),
        (
            "owner_writable",
            json!({
                "cardholder": String::from_utf8_lossy(&owner.cardholder),
                "fingerprint": hex(&owner.fingerprint),
                "made": owner.made.to_string(),
            }),
        ),
    ]
}

fn text(attestation: &Attestation, short: &[Shortfall], name: &str) -> String {
    let said = attestation.statement();
    let (root, weaker) = match attestation.root() {
        Root::Yubico(root) => (root.name().to_owned(), ""),
        Root::Configured { name } => {
            (name.clone(), "\n  weaker     this root is not Yubico's: what it says is its own word")
        }
    };
    let mut text = format!(
        "approved: {name}: {} key of token {}, {}, touch {}\n  root       {}{weaker}\n  key        {}, firmware {}, {}{}\n",
        said.slot.word(),
        said.serial,
        said.source.word(),
        said.touch.word(),
        printable(&root),
        said.key,
        said.firmware,
        said.form_factor,
        said.signatures.map_or(String::new(), |count| format!(", signature counter {count}")),
    );
    text.push_str(&match short {
        [] => "  proves     no signature by this key was possible without a touch since it was attested\n"
            .into(),
        [Shortfall::OtherRoot { .. }] => {
            "  says       no signature by this key was possible without a touch since it was attested\n"
                .into()
        }
        short => {
            let short: Vec<String> = short.iter().map(ToString::to_string).collect();
            format!("  no proof   that signatures needed a touch: {}\n", short.join("; "))
        }
    });
    text + &owner_says(said)
}

/// What the token's owner had it say, for what that is worth.
fn owner_says(said: &Statement) -> String {
    let owner = &said.owner_writable;
    let name = String::from_utf8_lossy(&owner.cardholder);
    let name = if name.is_empty() { "no name".into() } else { format!("name {name:?}") };
    let fingerprint: String = owner.fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("  owner says {}, key {fingerprint}, made {} (not proven)\n", printable(&name), owner.made)
}
