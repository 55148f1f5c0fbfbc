//! `doctor`: the chain from reader to key, link by link, up to the first broken one and its cure.

use std::fs;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::card::Patience;
use crate::card::select::{self, ReaderState};
use crate::card::{Route, TouchNeed};
use crate::cli::card::tries_left;
use crate::cli::report::{Failure, Outcome, Report, printable, say};
use crate::cli::{Common, failure, place, work};
use crate::unix_time::UnixTime;
use crate::verify::SigningKey;

/// How long a card that somebody else is using is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Warn so long before trust runs out.
const RENEW: Duration = Duration::from_secs(30 * 24 * 3600);

// Arguments of `doctor`.
#[derive(Args, Debug)]
#[command(before_help = "Example:\n  touchgate doctor")]
pub(super) struct Arguments {}

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
pub(super) fn doctor(common: &Common, _: &Arguments) -> Outcome {
    let mut chart = Chart::default();
    match walk(common, &mut chart) {
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

fn walk(common: &Common, chart: &mut Chart) -> Result<(), Broken> {
    let devices = usb_tokens();
    chart.good(
        "device",
        if devices.is_empty() {
            "no known token on USB (a card in a reader is fine)".into()
        } else {
            devices.join(", ")
        },
    );
    let patience = Patience { waiting: work::patient(), ..Patience::lasting(PATIENCE) };
    let readers = select::list(common.card_path, &patience).map_err(|error| broken("pcscd", error))?;
    // scdaemon can have a token of its own, with no pcscd anywhere.
    let asked = !readers.iter().all(|reader| matches!(&reader.state, ReaderState::Present(token) if token.route() == Route::Scdaemon && reader.name == "scdaemon"));
    chart.good("pcscd", if asked { "answers" } else { "not asked: scdaemon has a token by itself" });
    let names: Vec<&str> = readers.iter().map(|reader| reader.name.as_str()).collect();
    if names.is_empty() {
        return Err(broken("reader", crate::card::CardError::NoReader));
    }
    chart.good("reader", names.join(", "));
    for reader in &readers {
        if let ReaderState::InUse(holder) = &reader.state {
            chart.good("contention", format!("{} is held by {holder}", reader.name));
        }
    }
    let token = select::pick(readers, common.card).map_err(|error| broken("card", error))?;
    let info = token.info();
    let way = match token.route() {
        Route::Scdaemon => ", through scdaemon, which holds it",
        Route::Direct | Route::InProcess => "",
    };
    chart.good("card", format!("{} in {}{way}", info.ident, info.reader));
    chart.good("application", "OpenPGP");
    match info.pin_tries_left {
        0 => return Err(broken("PIN", crate::card::CardError::PinBlocked)),
        left => chart.good(
            "PIN",
            format!(
                "{}, {}",
                tries_left(left),
                if info.pin_for_each_signature {
                    "asked for each signature"
                } else {
                    "good for several signatures until the card is reset"
                }
            ),
        ),
    }
    let Some(key) = &info.signature_key else {
        return Err(broken("key", crate::card::CardError::NoSignatureKey { ident: info.ident }));
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

/// Tokens that the kernel sees, whether or not anybody may open them.
fn usb_tokens() -> Vec<String> {
    let Ok(devices) = fs::read_dir("/sys/bus/usb/devices") else { return Vec::new() };
    let read =
        |path: &Path, name: &str| fs::read_to_string(path.join(name)).unwrap_or_default().trim().to_owned();
    let known = |vendor: &str| matches!(vendor, "1050" | "20a0" | "234b" | "1209");
    devices
        .filter_map(|device| Some(device.ok()?.path()))
        .filter(|path| known(&read(path, "idVendor")))
        .map(|path| format!("{} {}", read(&path, "manufacturer"), read(&path, "product")))
        .collect()
}
