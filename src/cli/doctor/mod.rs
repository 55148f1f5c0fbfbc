//! `doctor`: the chain from device to key and trust, link by link, up to the first broken one and its cure.

mod stack;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::card::select;
use crate::card::usb::Machine;
use crate::card::{CardError, CardPath, Patience, Route, Token, TokenInfo, TouchNeed};
use crate::cli::card::tries_left;
use crate::cli::report::{Failure, Outcome, Report, printable, say};
use crate::cli::{Common, failure, place, work};
use crate::unix_time::UnixTime;
use crate::verify::SigningKey;

use stack::Stack;

/// How long a card that somebody else is using is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Warn so long before trust runs out.
const RENEW: Duration = Duration::from_secs(30 * 24 * 3600);

// Arguments of `doctor`.
#[derive(Args, Debug)]
#[command(before_help = "Example:\n  touchgate doctor")]
pub(super) struct Arguments {
    /// Where /sys, /dev and the installed files are looked for: another machine's, mounted, or a test's
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
}

/// What was found in order, before something was broken.
#[derive(Default)]
struct Chart {
    lines: Vec<(&'static str, String)>,
}

impl Chart {
    fn good(&mut self, link: &'static str, found: impl Into<String>) {
        let found = found.into();
        self.lines.push((link, found));
    }

    fn text(&self) -> String {
        self.lines.iter().map(|(link, found)| format!("ok   {link:<12} {}\n", printable(found))).collect()
    }

    fn json(&self) -> Value {
        self.lines.iter().map(|(link, found)| json!({ "link": link, "found": found })).collect()
    }
}

/// Walks the chain.
pub(super) fn doctor(common: &Common, arguments: &Arguments) -> Outcome {
    let mut chart = Chart::default();
    match walk(common, &Machine::at(&arguments.root), &mut chart) {
        Ok(()) => {
            Ok(Report::done(format!("{}everything is in order", chart.text())).with("links", chart.json()))
        }
        Err(failure) => {
            if !common.json {
                say(&chart.text());
            }
            Err(*failure)
        }
    }
}

/// A failure that names its link.
type Broken = Box<Failure>;

fn broken(link: &'static str, failure: impl Into<Failure>) -> Broken {
    Box::new(failure.into().fact("link", link))
}

fn walk(common: &Common, machine: &Machine, chart: &mut Chart) -> Result<(), Broken> {
    let stack = Stack::look(machine.clone(), common, chart);
    let patience = Patience { waiting: work::patient(), ..Patience::lasting(PATIENCE) };
    let readers = select::list_on(stack.machine(), common.card_path, &patience)
        .map_err(|error| stack.no_way(error, common))?;
    stack.readers(&readers, common, chart)?;
    let token = select::pick(readers, common.card).map_err(|error| match error {
        CardError::InUse { .. } => broken("contention", error),
        CardError::NoApplication { .. } => broken("application", error),
        CardError::NoCard { .. } if common.card_path == CardPath::Scdaemon => stack.no_way(error, common),
        other => broken("card", other),
    })?;
    let info = token.info();
    chart.good("card", format!("{} in {}", info.ident, info.reader));
    chart.good("application", "OpenPGP");
    chart.good("PIN", pins(info).map_err(|failure| broken("PIN", failure))?);
    let Some(key) = &info.signature_key else {
        return Err(broken("key", CardError::NoSignatureKey { ident: info.ident }));
    };
    chart.good("key", format!("{} ({})", key.fingerprint, key.algorithm));
    let chosen = place::trust(common.trust.as_deref(), common.unpinned);
    let trust = chosen.as_ref().ok().map(|chosen| &chosen.trust);
    let cert = match work::certificate(info, trust, None) {
        Ok(cert) => cert,
        // The certificate lies in trust, as a rule: what keeps trust from being read is to be mended first.
        Err(missing) => {
            return Err(match chosen {
                Err(trust) if trust.code != "no-trust" => broken("trust", trust),
                _ => broken("certificate", missing),
            });
        }
    };
    let signing = SigningKey::new(cert, &key.fingerprint)
        .map_err(|error| broken("certificate", Failure::failed("unsupported-key", error.to_string())))?;
    let now = UnixTime::now();
    signing
        .check_valid(now)
        .map_err(|rejection| broken("certificate", failure::rejected(&rejection, "the token's key")))?;
    let ids: Vec<String> = signing.certificate().userids().map(|id| id.userid().to_string()).collect();
    chart.good("certificate", ids.join(", "));
    chart.good(
        "touch",
        match info.touch.need() {
            TouchNeed::Always => format!("{}: every signature needs one", info.touch.word()),
            TouchNeed::Perhaps => format!("{}: WEAK, one touch is good for 15 s", info.touch.word()),
            TouchNeed::Never => format!("{}: WEAK, this key signs without a touch", info.touch.word()),
        },
    );
    let attests = token.attests(&patience).map_err(|error| broken("attestation", error))?;
    chart.good(
        "attestation",
        if attests {
            "the token can attest its keys"
        } else {
            "the token has none: its touch counts as declared, not as attested"
        },
    );
    chart.good("contention", others(&token));
    let chosen = chosen.map_err(|error| broken("trust", error))?;
    let trust = &chosen.trust;
    if now >= trust.valid_until {
        let rejection = crate::verify::Rejection::TrustExpired { now, valid_until: trust.valid_until };
        return Err(broken("trust", failure::rejected(&rejection, &chosen.directory.display().to_string())));
    }
    let left = trust.valid_until.since(now);
    let renew = if left < RENEW { format!("; RENEW: {} left", work::in_words(left)) } else { String::new() };
    chart.good(
        "trust",
        format!(
            "version {} in {}, until {}{renew}",
            trust.version.number,
            chosen.directory.display(),
            trust.valid_until
        ),
    );
    chart.good(
        "trust-pin",
        if chosen.pinned { "set, and it agrees" } else { "NONE: accepted because of --unpinned" },
    );
    let Some((person, _)) = trust.roster.holder(&key.fingerprint) else {
        let rejection = crate::verify::Rejection::UnknownSigner { key: key.fingerprint.to_hex() };
        return Err(broken("enrolled", failure::rejected(&rejection, "this token")));
    };
    chart.good("enrolled", person.name.clone());
    work::check_touch(info, trust).map_err(|failure| broken("touch", failure))?;
    Ok(())
}

/// The state of the three passwords.
///
/// # Errors
/// If the user PIN is blocked, with what still cures that.
fn pins(info: &TokenInfo) -> Result<String, Failure> {
    if info.pin_tries_left == 0 {
        let mut failure = Failure::from(CardError::PinBlocked);
        match (info.admin_pin_tries_left, info.resetting_code_tries_left) {
            (0, 0) => {
                failure.message =
                    "the PIN and the admin PIN are blocked, and there is no resetting code".into();
                failure.hint = Some("only a reset helps, which erases the keys: `touchgate card reset`; then enrol the token anew".into());
            }
            (0, _) => {
                failure.message = "the PIN and the admin PIN are blocked".into();
                failure.hint =
                    Some("set a new one with the resetting code: `touchgate card pin unblock`".into());
            }
            _ => {}
        }
        return Err(failure);
    }
    let each = if info.pin_for_each_signature {
        "asked for each signature"
    } else {
        "good for several signatures until the card is reset"
    };
    let admin = match info.admin_pin_tries_left {
        0 => "BLOCKED: settings stay as they are".to_owned(),
        left => tries_left(left),
    };
    let code = match info.resetting_code_tries_left {
        0 => "none".to_owned(),
        left => tries_left(left),
    };
    Ok(format!("{}, {each}; admin PIN {admin}; resetting code {code}", tries_left(info.pin_tries_left)))
}

/// Who else has to do with the card while it can be used.
fn others(token: &Token) -> String {
    #[cfg(feature = "pcsc")]
    let clients: Vec<String> = crate::card::pcscd_clients().iter().map(ToString::to_string).collect();
    #[cfg(not(feature = "pcsc"))]
    let clients: Vec<String> = Vec::new();
    let clients = clients.join(", ");
    let connected = match clients.is_empty() {
        true => "nobody else connected to pcscd that you may see".to_owned(),
        false => format!("connected to pcscd: {clients}"),
    };
    match token.route() {
        Route::Scdaemon => format!("commands go through scdaemon, which holds the card; {connected}"),
        Route::Direct | Route::InProcess => connected,
    }
}
