//! `trust pin`: settles which version of trust this person goes by. Everything else follows from there, signed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::challenge::TrustVersion;
use crate::cli::pinned::{self, Pin};
use crate::cli::report::{Failure, Outcome, Report};
use crate::cli::work::Desk;
use crate::cli::{Common, place, revoked};
use crate::trust::chain::{self, Versions};
use crate::trust::{Files, Trust};
use crate::unix_time::UnixTime;

const EXAMPLE: &str = "\
Example:
  touchgate trust pin                         what lies in the trust directory, once you have looked at it
  touchgate trust pin 7 sha256:5891b5b5…      a version that somebody told you, whatever lies there
  touchgate trust pin --install ./trust       also makes ./trust the trust of this person";

// Arguments of `trust pin`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(in crate::cli) struct Arguments {
    /// The version's number and digest; without them, those of what lies there
    #[arg(value_name = "VERSION", num_args = 0..=2)]
    version: Vec<String>,
    /// Put this directory in place of ~/.config/touchgate/trust, and pin it
    #[arg(long, value_name = "DIR")]
    install: Option<PathBuf>,
    /// Pin it without being asked
    #[arg(long)]
    yes: bool,
}

/// What lies in a directory.
struct Lies {
    directory: PathBuf,
    files: Files,
    trust: Trust,
}

/// Sets the pin.
pub(super) fn pin(common: &Common, arguments: &Arguments) -> Outcome {
    let typed = match arguments.version.as_slice() {
        [] => None,
        words => Some(parse(&words.join(" "))?),
    };
    let before = personal_pin(typed.is_some())?;
    let named = arguments.install.as_deref().or(common.trust.as_deref());
    let lies = look(named, typed.as_ref())?;
    let version = match (typed, &lies) {
        (Some(typed), Some(lies)) if arguments.install.is_some() && lies.trust.version != typed => {
            return Err(differs(&typed, lies));
        }
        (Some(typed), _) => typed,
        (None, Some(lies)) => lies.trust.version,
        (None, None) => {
            return Err(Failure::failed("no-trust", "nothing lies here that could be pinned")
                .hint("give the version's number and digest, as an administrator told you"));
        }
    };
    let newest = match typed {
        Some(_) => None,
        None => pinned::read_seen()?.newest(),
    };
    let newest = before.iter().map(|pin| pin.version).chain(newest).max_by_key(|version| version.number);
    if let (Some(newest), None) = (newest, typed)
        && newest.number >= version.number
        && newest != version
    {
        return Err(Failure::failed(
            "would-go-back",
            format!("version {} is not newer than the one known here", version.number),
        )
        .fact("known", newest.to_string())
        .fact("found", version.to_string())
        .hint(format!("if that is what you want, type the whole of it: touchgate trust pin {version}")));
    }
    let followed = match (&before, &lies) {
        (Some(pin), Some(lies)) => follows(pin, lies),
        _ => false,
    };
    if typed.is_none() && !followed && before.as_ref().is_none_or(|pin| pin.version != version) {
        confirm(common, arguments.yes, &summary(&version, before.as_ref(), lies.as_ref()))?;
    }
    if let (Some(_), Some(lies)) = (&arguments.install, &lies) {
        install(&lies.directory, &lies.files, before.as_ref())?;
    }
    let path = pinned::set_pin(&version)?;
    Ok(told(&version, before.as_ref(), lies.as_ref(), followed, &path))
}

fn parse(text: &str) -> Result<TrustVersion, Failure> {
    text.parse().map_err(|error| {
        Failure::usage(format!("{error}"))
            .hint("as in 7 sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03")
    })
}

/// The person's own pin, if there is one. One that cannot be read is replaced only by a version that was `typed`: by
/// what lies there, nobody could tell whether that goes back.
fn personal_pin(typed: bool) -> Result<Option<Pin>, Failure> {
    let path = place::personal()?.join("pin");
    if !place::exists(&path) {
        return Ok(None);
    }
    match pinned::load_pin(&path) {
        Ok(version) => Ok(Some(Pin { version, path })),
        Err(_) if typed => Ok(None),
        Err(failure) if failure.code == "bad-trust-pin" => {
            Err(failure.hint("`touchgate trust pin VERSION DIGEST` puts another in its place"))
        }
        Err(failure) => Err(failure),
    }
}

/// What lies in the directory, if there is one. To pin a version that was typed, none is needed, nor need it load.
fn look(named: Option<&Path>, typed: Option<&TrustVersion>) -> Result<Option<Lies>, Failure> {
    let directory = match pinned::directory(named) {
        Ok(directory) => directory,
        Err(failure) if failure.code == "no-trust" => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let loaded = super::load(&directory);
    match (loaded, typed) {
        (Ok((trust, files)), _) => Ok(Some(Lies { directory, files, trust })),
        (Err(_), Some(_)) if named.is_none() => Ok(None),
        (Err(failure), _) => Err(failure),
    }
}

/// Whether signed updates lead from the pin to what lies there.
fn follows(pin: &Pin, lies: &Lies) -> bool {
    let Ok(versions) = Versions::read_directory(&lies.directory) else { return false };
    let (Ok(seen), Ok(lost)) = (pinned::read_seen(), revoked::all()) else { return false };
    let (digest, now) = (lies.trust.version.digest, UnixTime::now());
    let way = chain::follow_without(&pin.version, &digest, &versions, &seen, &lost, now);
    way.is_ok_and(|way| way.last() == Some(&lies.trust.version))
}

fn differs(typed: &TrustVersion, lies: &Lies) -> Failure {
    Failure::failed("trust-pin-differs", "the directory does not hold that version")
        .fact("given", typed.to_string())
        .fact("found", lies.trust.version.to_string())
        .hint("ask whoever gave you one of the two")
}

fn confirm(common: &Common, yes: bool, what: &str) -> Result<(), Failure> {
    let desk = Desk::new(common, None)?;
    desk.confirm(what, yes)
}

/// What somebody needs to see before they say that they go by it.
fn summary(version: &TrustVersion, before: Option<&Pin>, lies: Option<&Lies>) -> String {
    let mut text = format!("trust {version}\n");
    if let Some(Lies { directory, trust, .. }) = lies {
        let tokens: usize = trust.roster.people().iter().map(|person| person.tokens.len()).sum();
        text.push_str(&format!(
            "  in       {}\n  audience {}\n  until    {}\n  holds    {} people, {tokens} tokens, {} rules\n",
            directory.display(),
            trust.audience,
            trust.valid_until,
            trust.roster.people().len(),
            trust.rules().len(),
        ));
    }
    match before {
        None => text.push_str("Nothing is pinned yet. Compare the digest with one that you were told.\n"),
        Some(pin) => text.push_str(&format!(
            "Pinned is {}, and no signed update leads from there to this.\n",
            pin.version
        )),
    }
    text
}

/// Puts a copy in place of the person's trust; the one before goes beside it, by its number.
fn install(from: &Path, files: &Files, before: Option<&Pin>) -> Result<(), Failure> {
    let place = place::personal()?;
    let target = place.join("trust");
    let copied = || -> io::Result<()> {
        place::make_private_directory(&place)?;
        if fs::canonicalize(from)? == fs::canonicalize(&target).unwrap_or_default() {
            return Ok(());
        }
        let new = tempfile::Builder::new().prefix("trust-").tempdir_in(&place)?;
        for (path, bytes) in files {
            let path = new.path().join(path);
            path.parent().map(fs::create_dir_all).transpose()?;
            place::write_new(&path, bytes)?;
        }
        copy_versions(from, new.path())?;
        if place::exists(&target) {
            let kept = before.map_or("before".to_owned(), |pin| pin.version.number.to_string());
            let kept = place.join(format!("trust-{kept}"));
            match fs::remove_dir_all(&kept) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => fs::rename(&target, kept)?,
            }
        }
        fs::rename(new.keep(), &target)
    };
    copied().map_err(|error| place::unwritable(&target, &error))
}

/// The signed updates, as they lie there: whoever follows them judges them.
fn copy_versions(from: &Path, to: &Path) -> io::Result<()> {
    let from = from.join("versions");
    if !place::exists(&from) {
        return Ok(());
    }
    fs::create_dir(to.join("versions"))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().ends_with(".partial.json") || !entry.file_type()?.is_file() {
            continue;
        }
        let bytes = place::read_bounded(&entry.path(), crate::evidence::MAX_EVIDENCE as u64)?;
        place::write_new(&to.join("versions").join(name), &bytes)?;
    }
    Ok(())
}

fn told(
    version: &TrustVersion,
    before: Option<&Pin>,
    lies: Option<&Lies>,
    followed: bool,
    path: &Path,
) -> Report {
    let mut text = format!("pinned: {version}\n  by     {}\n", path.display());
    if let Some(before) = before.filter(|pin| pin.version != *version) {
        text.push_str(&format!("  before {}\n", before.version));
        if before.version.number > version.number {
            text.push_str("  this goes back: what was signed since then is not known here any more\n");
        }
    }
    match lies {
        Some(lies) if lies.trust.version == *version => {}
        Some(lies) => text.push_str(&format!(
            "  {} holds {}: it is used only if signed updates lead there\n",
            lies.directory.display(),
            lies.trust.version
        )),
        None => text.push_str("  no trust directory lies here: enough to judge evidence by\n"),
    }
    Report::done(text)
        .with("pinned", version.to_string())
        .with("before", before.map(|pin| pin.version.to_string()))
        .with("followed", followed)
        .with("file", path.display().to_string())
}
