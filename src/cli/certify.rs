//! The certificate of a token's key: from wherever it is, or made by the token itself.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;
use sequoia_openpgp::Cert;
use sequoia_openpgp::crypto::Password;
use sequoia_openpgp::serialize::SerializeInto as _;
use zeroize::Zeroizing;

use crate::card::certificate::check::{Difference, Wanted, differences};
use crate::card::certificate::offline::{self, Locked, Primary};
use crate::card::certificate::{Draft, Made, Settings};
use crate::card::{CardError, CardKeys, CardSigner, KeptPin, Patience, Token};
use crate::cli::prompt::Typed;
use crate::cli::report::{Failure, printable};
use crate::cli::work::{self, AtDesk, Desk};
use crate::cli::{pin, place};
use crate::trust::Trust;
use crate::unix_time::UnixTime;

// What `init` and `enrol` take about it.
#[derive(Args, Debug)]
pub(super) struct Certify {
    /// The certificate of the token's key, if gpg's keyring does not have it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["user_id", "primary"])]
    certificate: Option<PathBuf>,
    /// Have the token make its certificate with this user id, as in "Alice <alice@example.org>"
    #[arg(long, value_name = "TEXT")]
    user_id: Option<String>,
    /// Put the token's keys under the primary key in this file, which is kept elsewhere otherwise
    #[arg(long, value_name = "FILE", conflicts_with = "user_id")]
    primary: Option<PathBuf>,
    /// Read the passphrase of that primary key from this descriptor
    #[arg(long, value_name = "N", requires = "primary")]
    passphrase_fd: Option<u32>,
    /// When a certificate that is made here expires, as in 2028-11-20T00:00:00Z [never]
    #[arg(long, value_name = "TIME")]
    expires: Option<UnixTime>,
    /// Write what revokes a certificate that is made here; whoever has it can revoke
    #[arg(long, value_name = "FILE")]
    revocation: Option<PathBuf>,
    /// Read the PIN from this descriptor
    #[arg(long, value_name = "N")]
    pub(super) pin_fd: Option<u32>,
}

impl Certify {
    /// The certificate of `token`'s key. One that is known and right is not made again; one that was made is
    /// written to `file` at once, and found there the next time.
    ///
    /// # Errors
    /// If there is none and none is to be made; if the one that is known is another than the one to be made;
    /// the card's outcomes.
    pub(super) fn certificate(
        &self,
        desk: &mut Desk,
        token: &mut Token,
        trust: Option<&Trust>,
        file: Option<&Path>,
        kept: &mut KeptPin,
        patience: &Patience,
    ) -> Result<Cert, Failure> {
        let made_before = file.filter(|file| self.certificate.is_none() && file.exists());
        let given = self.certificate.as_deref().or(made_before).map(work::given_certificate).transpose()?;
        let given_one = given.is_some();
        let known = work::certificate(token.info(), trust, given);
        match known {
            Ok(cert) => {
                if self.user_id.is_some() || self.primary.is_some() {
                    self.compare(&cert, &token.keys(patience)?)?;
                }
                if self.revocation.is_some() {
                    desk.show("note: the certificate is there already, so no revocation was made for it\n");
                }
                Ok(cert)
            }
            Err(failure) if given_one || failure.code != "no-certificate" => Err(failure),
            Err(mut failure) if self.user_id.is_none() && self.primary.is_none() => {
                let make = "or have the token make one: --user-id \"NAME <ADDRESS>\"";
                failure.hint = Some(format!("{}; {make}", failure.hint.unwrap_or_default()));
                Err(failure)
            }
            Err(_) => self.make(desk, token, file, kept, patience),
        }
    }

    /// Whether the certificate that is known is the one that would be made.
    fn compare(&self, cert: &Cert, keys: &CardKeys) -> Result<(), Failure> {
        let wanted = Wanted { user_id: self.user_id.as_deref(), expires: self.expires.map(Some) };
        let mut found = differences(cert, keys, wanted, UnixTime::now());
        let primary = self.primary.as_deref().map(read_primary).transpose()?;
        let other = primary.is_some_and(|primary| primary.fingerprint() != cert.fingerprint());
        if other && !found.contains(&Difference::PrimaryKey) {
            found.push(Difference::PrimaryKey);
        }
        if found.is_empty() {
            return Ok(());
        }
        let message = format!(
            "key {} has a certificate already, and not that one",
            keys.signature.fingerprint().to_hex()
        );
        let failure = Failure::failed("certificate-differs", message)
            .hint("without --user-id and --primary it is used as it is");
        Err(found.into_iter().fold(failure, |failure, found| failure.fact("differs", found.to_string())))
    }

    fn make(
        &self,
        desk: &mut Desk,
        token: &mut Token,
        file: Option<&Path>,
        kept: &mut KeptPin,
        patience: &Patience,
    ) -> Result<Cert, Failure> {
        if let Some(path) = &self.revocation {
            place::check_free(&[path])?;
        }
        let primary = self.primary.as_deref().map(|path| self.unlock(path, desk)).transpose()?;
        let keys = token.keys(patience)?;
        let settings = Settings { made: None, expires: self.expires, revocation: self.revocation.is_some() };
        let mut bench = Bench { desk, token, keys: &keys, settings: &settings, kept, patience };
        let made = match primary {
            Some(primary) => bench.add_to(primary)?,
            None => bench.certify(self.user_id.as_deref().unwrap_or_default())?,
        };
        if let (Some(path), Some(revocation)) = (&self.revocation, &made.revocation) {
            place::write_private(path, revocation.as_bytes())
                .map_err(|error| place::unwritable(path, &error))?;
        }
        if let Some(file) = file {
            let armored = made.cert.armored().to_vec();
            let armored = armored.map_err(|error| Failure::failed("openpgp", error.to_string()))?;
            place::write_new(file, &armored).map_err(|error| place::unwritable(file, &error))?;
            let file = printable(&file.display().to_string());
            desk.show(&format!("the token's certificate is in {file}: `gpg --import {file}`\n"));
        }
        Ok(made.cert)
    }

    /// The primary key from its file, able to sign.
    fn unlock(&self, path: &Path, desk: &Desk) -> Result<Primary, Failure> {
        let locked = read_primary(path)?;
        let passphrase = match locked.needs_passphrase() {
            true => self.passphrase(&locked, desk)?,
            false => Zeroizing::default(),
        };
        let unlocked = locked.unlock(&Password::from(passphrase.as_slice()));
        unlocked.map_err(|error| bad_primary(path, &error))
    }

    fn passphrase(&self, locked: &Locked, desk: &Desk) -> Result<Zeroizing<Vec<u8>>, Failure> {
        if let Some(number) = self.passphrase_fd {
            let cancel: &AtomicBool = &desk.cancel;
            return Ok(pin::line_from_descriptor(number, cancel)?);
        }
        let Some(terminal) = &desk.terminal else {
            return Err(Failure::usage("the primary key needs its passphrase, and nobody may be asked")
                .hint("hand it over with --passphrase-fd N"));
        };
        let prompt = format!("passphrase of primary key {}: ", locked.fingerprint().to_hex());
        match terminal.ask_secret(&prompt).map_err(|error| Failure::failed("terminal", error.to_string()))? {
            Typed::Line(line) => Ok(line),
            Typed::Ended | Typed::Cancelled => Err(CardError::Cancelled { waited: Duration::ZERO }.into()),
        }
    }
}

fn read_primary(path: &Path) -> Result<Locked, Failure> {
    // It may be secret without a passphrase.
    let bytes = place::read_bounded(path, offline::MAX_FILE as u64).map(Zeroizing::new);
    let bytes = bytes.map_err(|error| place::unreadable(path, &error))?;
    Locked::read(&bytes, UnixTime::now()).map_err(|error| bad_primary(path, &error))
}

fn bad_primary(path: &Path, error: &offline::OfflineError) -> Failure {
    Failure::failed("bad-primary-key", format!("{}: {error}", path.display()))
        .hint("it is what `gpg --export-secret-keys` writes, with the secret half of the primary key in it")
}

/// All that making a certificate takes.
struct Bench<'a> {
    desk: &'a mut Desk,
    token: &'a mut Token,
    keys: &'a CardKeys,
    settings: &'a Settings,
    kept: &'a mut KeptPin,
    patience: &'a Patience,
}

impl Bench<'_> {
    /// The card's own certificate, one signature after the other.
    fn certify(&mut self, user_id: &str) -> Result<Made, Failure> {
        let mut draft = Draft::new(self.keys, user_id, self.settings)?;
        let acts = draft.acts().to_vec();
        let text = self.show(&format!("of {}", printable(user_id)), acts.len());
        for (number, act) in (1..).zip(&acts) {
            let what = format!("{act} ({number} of {})", acts.len());
            self.signing(what, &text, |signer| Ok(draft.sign(signer)?))?;
        }
        Ok(draft.finish()?)
    }

    /// The card's keys as subkeys.
    fn add_to(&mut self, mut primary: Primary) -> Result<Made, Failure> {
        let fingerprint = primary.certificate().fingerprint().to_hex();
        let text = self.show(&format!("under primary key {fingerprint}"), 1);
        let (keys, settings) = (self.keys, self.settings);
        let what = format!("become a subkey of {fingerprint}");
        self.signing(what, &text, |signer| Ok(primary.add(keys, settings, signer)?))
    }

    fn show(&self, whose: &str, signatures: usize) -> String {
        let mut text = format!("token {} makes its certificate {whose}\n", self.token.info().ident);
        for (slot, key) in self.keys.all() {
            text.push_str(&format!("  {:<14} {}\n", slot.to_string(), key.fingerprint().to_hex()));
        }
        let plural = if signatures == 1 { "" } else { "s" };
        text.push_str(&format!("It takes {signatures} signature{plural} by the token.\n"));
        self.desk.show(&text);
        text
    }

    fn signing<T>(
        &mut self,
        what: String,
        text: &str,
        act: impl FnOnce(&mut CardSigner<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut person = AtDesk::new(self.desk, what, text.to_owned());
        let mut attendant = self.kept.with(&mut person);
        let key = self.keys.signature.clone();
        let result = CardSigner::new(self.token, key, &mut attendant, self.patience.clone())
            .map_err(Failure::from)
            .and_then(|mut signer| act(&mut signer));
        drop(attendant);
        person.stop_waiting();
        result
    }
}
