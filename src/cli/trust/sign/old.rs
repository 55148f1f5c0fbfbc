//! The two versions: the one that this machine goes by, and the one that is to be next.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::cli::pinned::{self, Pin};
use crate::cli::report::Failure;
use crate::cli::{place, revoked};
use crate::trust::chain::Versions;
use crate::trust::versions::digest;
use crate::trust::{self, Files, Trust};

/// The version before: what this machine goes by, whole. If the changed directory is the very one in which that
/// lay, it is looked for where `trust pin --install` left it.
///
/// # Errors
/// If nothing is pinned, or the version lies nowhere.
pub(super) fn find(named: Option<&Path>, changed: &Path) -> Result<(Trust, Files), Failure> {
    let pins = pinned::pins()?;
    let Some(pin) = pins.into_iter().max_by_key(|pin| pin.version.number) else {
        return Err(Failure::failed(
            "no-trust-pin",
            "nothing is pinned, so there is no version to go on from",
        )
        .hint("`touchgate trust pin` the version that is in force"));
    };
    let found = match named {
        Some(_) => pinned::trust(named, false).map(|chosen| (chosen.trust, chosen.manifest.into_files())),
        None => installed(&pin),
    };
    let (old, files) = found?;
    let versions = Versions::read_directory(changed).map_err(|error| {
        Failure::failed(error.code(), error.to_string()).hint(format!("mend {}", changed.display()))
    })?;
    if let Some(newest) = versions.newest().filter(|newest| *newest > old.version.number) {
        return Err(Failure::failed(
            "already-signed",
            format!("version {newest} is signed, and this machine goes by version {}", old.version.number),
        )
        .hint(format!("touchgate trust pin --install {}", changed.display())));
    }
    Ok((old, files))
}

/// What lies in the trust directories of this machine and is what the pin says, or what follows from it.
fn installed(pin: &Pin) -> Result<(Trust, Files), Failure> {
    let followed = pinned::trust(None, false);
    let failure = match followed {
        Ok(chosen) => return Ok((chosen.trust, chosen.manifest.into_files())),
        Err(failure) => failure,
    };
    let kept = format!("trust-{}", pin.version.number);
    let places = [place::personal()?, PathBuf::from(place::SYSTEM)];
    for directory in places.iter().flat_map(|place| [place.join("trust"), place.join(&kept)]) {
        let Ok(files) = trust::read_directory(&directory) else { continue };
        if digest(&files) == pin.version.digest {
            let mut trust =
                Trust::from_files(&files).map_err(|error| place::bad_trust(&error, &directory))?;
            trust.lose(&revoked::all()?);
            return Ok((trust, files));
        }
    }
    let hint = "change a copy of the directory, and leave the one in force as it is; or name the one before: --old DIR";
    Err(failure.hint(hint))
}

/// The version after, its number raised if nobody has done that yet.
///
/// # Errors
/// If it does not load, nothing is changed, or its number is another.
pub(super) fn raised(old: &Trust, old_files: &Files, directory: &Path) -> Result<(Trust, Files), Failure> {
    let (new, files) = super::super::load(directory)?;
    if digest(old_files) == new.version.digest {
        return Err(Failure::failed(
            "nothing-changed",
            format!("{} is the version in force", directory.display()),
        )
        .fact("version", new.version.to_string())
        .hint("change it first: `touchgate trust add`, or an editor"));
    }
    let next = old.version.number.saturating_add(1);
    if new.version.number == next {
        return Ok((new, files));
    }
    if new.version.number != old.version.number {
        return Err(Failure::failed(
            "wrong-version",
            format!("policy.toml: version = {}", new.version.number),
        )
        .fact("in force", old.version.to_string())
        .hint(format!("the next one is {next}; or bring this machine up to date first")));
    }
    let policy = directory.join("policy.toml");
    let text = files.get("policy.toml").and_then(|bytes| with_version(bytes, next));
    let text = text.ok_or_else(|| {
        Failure::failed("wrong-version", format!("{}: its version could not be raised", policy.display()))
            .hint(format!("write version = {next}"))
    })?;
    place::replace(&policy, text.as_bytes()).map_err(|error| place::unwritable(&policy, &error))?;
    super::super::load(directory)
}

/// The same policy with another number, and not a byte else changed.
fn with_version(policy: &[u8], number: u64) -> Option<String> {
    let text = std::str::from_utf8(policy).ok()?;
    let root: Spanned<DeTable<'_>> = DeTable::parse(text).ok()?;
    let value: &Spanned<DeValue<'_>> = root.get_ref().get("version")?;
    let span = value.span();
    Some(format!("{}{number}{}", text.get(..span.start)?, text.get(span.end..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_number_is_another() {
        let policy =
            "# version = 1\naudience = \"a\" # version\nversion   = 7   # raised by sign\n[[rule]]\n";
        let raised = with_version(policy.as_bytes(), 8).unwrap();
        assert_eq!(raised, policy.replace("version   = 7", "version   = 8"));
        for bad in ["", "audience = 1", "[version]\n", "version"] {
            assert!(with_version(bad.as_bytes(), 8).is_none_or(|text| text != bad), "{bad}");
        }
        assert_eq!(with_version(b"\xff", 8), None);
    }
}
