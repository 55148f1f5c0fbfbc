//! `init`: the smallest set-up that gates something today. This person, this token, pinned; with `--team`, the
//! first of several.

mod keys;
mod policy;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use sequoia_openpgp::Cert;
use sequoia_openpgp::serialize::SerializeInto as _;

use crate::card::{
    AdminError, CardError, KeptPin, KeySlot, Patience, TokenInfo, Touch as CardTouch, TouchNeed, TouchPolicy,
    Whose,
};
use crate::challenge::Audience;
use crate::cli::certify::Certify;
use crate::cli::prompt::Typed;
use crate::cli::report::{Failure, Outcome, Report, printable};
use crate::cli::work::{self, Desk};
use crate::cli::{Common, ask, failure, pin, place};
use crate::trust::versions::write_pin;
use crate::trust::{Files, Trust};
use crate::unix_time::UnixTime;
use crate::verify::{SigningKey, Tier};
use keys::Keys;
use policy::For;

const EXAMPLE: &str = "\
Example:
  touchgate init                              asks before it changes anything on the token
  touchgate init --team                       the first of a team: writes ./trust, to be kept in git
  touchgate init --certificate key.asc        if gpg on this machine does not know the key
  touchgate init --user-id \"Alice <alice@example.org>\"   if the key has no certificate yet: the token makes it";

/// How long a person may take over the questions.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

// Arguments of `init`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(super) struct Arguments {
    #[command(flatten)]
    certify: Certify,
    /// Begin for a team: a directory to be kept in git, this person its first admin, deploys by two people
    #[arg(long)]
    team: bool,
    /// Write the team's directory here instead of ./trust
    #[arg(long, value_name = "DIR", requires = "team", default_value = "trust")]
    out: PathBuf,
    /// What the verifier is called in every statement, as in approve.example.com [this machine's name]
    #[arg(long, value_name = "NAME")]
    audience: Option<Audience>,
    /// What to do about a key that signs without a touch; without it, you are asked
    #[arg(long, value_name = "WHAT")]
    touch: Option<Touch>,
    /// Read the admin PIN from this descriptor, for `--touch on`
    #[arg(long, value_name = "N")]
    admin_pin_fd: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Touch {
    /// Turn it on (never permanently)
    On,
    /// Leave the token as it is
    Keep,
}

/// Sets this machine up.
pub(super) fn init(common: &Common, arguments: &Arguments) -> Outcome {
    let place = place::personal()?;
    for name in ["trust", "pin"] {
        let path = place.join(name);
        if fs::symlink_metadata(&path).is_ok() {
            return Err(Failure::failed(
                "already-set-up",
                format!("{} exists; nothing was changed", path.display()),
            )
            .hint("to start afresh, move ~/.config/touchgate away first"));
        }
    }
    if arguments.team {
        place::check_free(&[&arguments.out])?;
    }
    let mut desk = Desk::new(common, arguments.certify.pin_fd)?;
    let patience = desk.patience(UnixTime::now().plus(PATIENCE));
    let mut token = work::find_token(common, &patience)?;
    let mut kept = KeptPin::default();
    let cert = arguments.certify.certificate(&mut desk, &mut token, None, None, &mut kept, &patience)?;
    let now = UnixTime::now();
    check_key(token.info(), &cert, now)?;
    introduce(&desk, token.info(), &cert);
    let touch = settle_touch(common, arguments, &desk, &mut token, &patience)?;
    let tier = if touch.need() == TouchNeed::Always { Tier::Declared } else { Tier::Signed };
    let (name, identity) = (person_name(&ask::user()?), ask::requester()?);
    let audience = match &arguments.audience {
        Some(audience) => audience.clone(),
        None => audience().parse().map_err(|error: crate::request::NameError| {
            Failure::usage(error.to_string()).hint("name it: --audience approve.example.com")
        })?,
    };
    let keys = Keys::make(&audience)?;
    let whom = if arguments.team { For::Team } else { For::One };
    let mut files = person_files(&name, identity.as_str(), token.info(), &cert, (whom, tier))?;
    files.insert("policy.toml".to_owned(), policy::policy(whom, &audience, &keys, tier, now).into_bytes());
    let trust = Trust::from_files(&files).map_err(|error| Failure::failed("bad-trust", error.to_string()))?;
    if arguments.team {
        write_directory(&arguments.out, &files).map_err(|error| place::unwritable(&arguments.out, &error))?;
    }
    write(&place, &files, &write_pin(&trust.version))?;
    let out = arguments.out.display().to_string();
    let (written, next) = match whom {
        For::One => (String::new(), "touchgate run deploy payments/prod -- ./deploy.sh".to_owned()),
        For::Team => (
            format!("  written  {}, to be kept in git and worked on there\n", printable(&out)),
            format!("touchgate trust add --trust {} bob.enrol --group release", printable(&out)),
        ),
    };
    let text = format!(
        "set up: {}\n  person   {name} ({identity})\n  token    {}, key {}\n  touch    {} (evidence: {tier})\n  trust    version {}, pinned, valid until {}\n\
         {written}  keys     {}: of the log and of grants, this verifier's alone\nnext: {next}",
        place.display(),
        token.info().ident,
        key_of(token.info()),
        touch.word(),
        trust.version,
        trust.valid_until,
        keys.directory.display(),
    );
    Ok(Report::done(text)
        .with("directory", place.display().to_string())
        .with("person", name)
        .with("serial", token.info().ident.to_string())
        .with("key", key_of(token.info()))
        .with("touch", touch.word())
        .with("trust", trust.version.to_string())
        .with("keys", keys.directory.display().to_string())
        .with("written", arguments.team.then_some(out)))
}

/// The fingerprint of the token's signature key.
pub(super) fn key_of(token: &TokenInfo) -> String {
    token.signature_key.as_ref().map(|key| key.fingerprint.to_hex()).unwrap_or_default()
}

/// Finds out now, not at the first deploy, that the key cannot be used.
pub(super) fn check_key(token: &TokenInfo, cert: &Cert, now: UnixTime) -> Result<(), Failure> {
    let Some(key) = &token.signature_key else { return Ok(()) };
    let key = SigningKey::new(cert.clone(), &key.fingerprint)
        .map_err(|error| Failure::failed("unsupported-key", error.to_string()))?;
    key.check_valid(now).map_err(|rejection| failure::rejected(&rejection, "the token's key"))
}

fn introduce(desk: &Desk, token: &TokenInfo, cert: &Cert) {
    let ids: Vec<String> = cert.userids().map(|id| id.userid().to_string()).collect();
    let key = token.signature_key.as_ref().map(|key| key.algorithm.to_string()).unwrap_or_default();
    desk.show(&format!(
        "token {} in {}\n  key      {} ({key})\n  of       {}\n  touch    {}\n",
        token.ident,
        printable(&token.reader),
        key_of(token),
        printable(&ids.join(", ")),
        token.touch.word(),
    ));
}

/// Says what the touch policy means, and turns it on if that is wanted.
fn settle_touch(
    common: &Common,
    arguments: &Arguments,
    desk: &Desk,
    token: &mut crate::card::Token,
    patience: &Patience,
) -> Result<TouchPolicy, Failure> {
    let policy = token.info().touch;
    let why = match policy {
        TouchPolicy::On | TouchPolicy::Fixed => return Ok(policy),
        TouchPolicy::None | TouchPolicy::Unknown(_) => {
            desk.show("This token knows no touch policy: whoever has the PIN and this machine can sign without you.\n");
            return Ok(policy);
        }
        TouchPolicy::CachedFixed => {
            desk.show(
                "One touch opens this key for 15 s, for good: what else signs in that time needs none.\n",
            );
            return Ok(policy);
        }
        TouchPolicy::Cached => "One touch opens this key for 15 s; what else signs in that time needs none.",
        TouchPolicy::Off => "This key signs without a touch: a program with the PIN can approve without you.",
    };
    desk.show(&format!(
        "{why}\nTurning touch on means that EVERY signature by this key asks for one: approvals, and also git commits,\n\
         tags and mail that it signs. The admin PIN can turn it off again: `touchgate card touch off`.\n"
    ));
    let wanted = match (arguments.touch, &desk.terminal) {
        (Some(touch), _) => touch == Touch::On,
        (None, Some(terminal)) => {
            let answer = terminal.ask("Turn touch on now? It is never made permanent here. [y/N] ");
            match answer.map_err(|error| Failure::failed("terminal", error.to_string()))? {
                Typed::Line(line) => matches!(&line[..], b"y" | b"Y" | b"yes"),
                Typed::Ended => false,
                Typed::Cancelled => {
                    return Err(CardError::Cancelled { waited: Duration::ZERO }.into());
                }
            }
        }
        (None, None) => {
            let hint = "say --touch on or --touch keep";
            return Err(Failure::usage(
                "somebody must decide about the touch policy, and nobody may be asked",
            )
            .hint(hint));
        }
    };
    if !wanted {
        return Ok(policy);
    }
    let pin = match (arguments.admin_pin_fd, &desk.terminal) {
        (Some(number), _) => pin::from_descriptor(number, &desk.cancel)?,
        (None, Some(terminal)) if !common.no_input => {
            let prompt = format!("ADMIN PIN of token {}: ", token.info().ident);
            match terminal
                .ask_secret(&prompt)
                .map_err(|error| Failure::failed("terminal", error.to_string()))?
            {
                Typed::Line(line) => crate::card::Pin::new(line)?,
                Typed::Ended | Typed::Cancelled => {
                    return Err(CardError::Cancelled { waited: Duration::ZERO }.into());
                }
            }
        }
        _ => {
            return Err(Failure::usage("turning touch on needs the admin PIN")
                .hint("hand it over with --admin-pin-fd N"));
        }
    };
    token.set_touch(Some(KeySlot::Signature), CardTouch::On, pin, patience).map_err(not_turned_on)?;
    desk.show("touch is on for the signature key\n");
    Ok(TouchPolicy::On)
}

/// The card's outcome, and the way out that `init` has.
fn not_turned_on(error: AdminError) -> Failure {
    let wrong = matches!(error, AdminError::Wrong { whose: Whose::Admin, .. });
    let failure = Failure::from(error);
    if wrong {
        return failure.hint("nothing was changed; `touchgate init --touch keep` leaves the token as it is");
    }
    failure
}

/// A login name as a file's name: what does not fit becomes `-`.
pub(super) fn person_name(user: &str) -> String {
    let fit = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.') { c.to_ascii_lowercase() } else { '-' }
    };
    let name: String = user.chars().map(fit).take(64).collect();
    name.trim_start_matches('.').to_owned()
}

/// This machine's name as an audience.
fn audience() -> String {
    let fit = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' { c } else { '-' };
    let name: String = ask::host().chars().map(fit).take(200).collect();
    let labels: Vec<&str> =
        name.split('.').map(|label| label.trim_matches('-')).filter(|label| !label.is_empty()).collect();
    if labels.is_empty() { "localhost".into() } else { labels.join(".") }
}

/// The person's file and their token's certificate.
fn person_files(
    name: &str,
    identity: &str,
    token: &TokenInfo,
    cert: &Cert,
    (whom, tier): (For, Tier),
) -> Result<Files, Failure> {
    let touch = if tier == Tier::Declared { "touch  = \"declared\"\n" } else { "" };
    let groups = if whom == For::Team { "groups     = [\"admins\", \"release\"]\n" } else { "" };
    let person = format!(
        "{groups}identities = [\"{identity}\"]\n\n[[token]]\nserial = \"{}\"\nkey    = \"{}\"\n{touch}",
        token.ident,
        key_of(token),
    );
    let armored = cert.armored().to_vec().map_err(|error| Failure::failed("openpgp", error.to_string()))?;
    let serial = token.ident.to_string().replace(':', "-");
    Ok(Files::from([
        (format!("people/{name}.toml"), person.into_bytes()),
        (format!("tokens/{serial}.asc"), armored),
    ]))
}

/// Trust first, the pin last.
fn write(place: &Path, files: &Files, pin: &str) -> Result<(), Failure> {
    let written = || -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(place)?;
        write_directory(&place.join("trust"), files)?;
        place::write_new(&place.join("pin"), pin.as_bytes())
    };
    written().map_err(|error| place::unwritable(place, &error))
}

/// Writes all files beside their place and moves them there at once.
fn write_directory(directory: &Path, files: &Files) -> io::Result<()> {
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let new = tempfile::Builder::new().prefix(".trust-").tempdir_in(parent)?;
    for (path, bytes) in files {
        let path = new.path().join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        place::write_new(&path, bytes)?;
    }
    fs::rename(new.keep(), directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_login_names_become_file_names() {
        for (user, name) in
            [("Alice", "alice"), ("a b", "a-b"), (".x", "x"), ("MÜLLER", "m-ller"), ("dom\\al", "dom-al")]
        {
            assert_eq!(person_name(user), name);
        }
    }
}
