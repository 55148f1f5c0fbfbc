//! The certificate and what revokes it, made with the token's signatures and written into its directory.

use std::time::SystemTime;

use sequoia_openpgp::crypto::Password;
use sequoia_openpgp::serialize::MarshalInto as _;
use sequoia_openpgp::{Cert, Fingerprint};
use zeroize::Zeroizing;

use super::algorithm::KeySlot;
use super::observe::Observed;
use super::papers::{Papers, card_keys};
use super::{ProofError, ProvisionError, escrow, journal};
use crate::armor;
use crate::card::certificate::offline::{self, Locked, Primary};
use crate::card::certificate::{Draft, Made, Settings};
use crate::card::error::CardError;
use crate::card::kept::knowing;
use crate::card::keys::PublicKey;
use crate::card::pin::Pin;
use crate::card::session::Token;
use crate::card::touch::{Attendant, CardSigner};
use crate::card::watch::Patience;
use crate::enrolment::possession::Possession;
use crate::enrolment::{Enrolment, Parts};
use crate::sign;
use crate::unix_time::UnixTime;

/// A token, its PIN, and whoever touches it.
pub(super) struct Bench<'a> {
    pub(super) token: Token,
    pub(super) user: Pin,
    pub(super) attendant: &'a mut dyn Attendant,
    pub(super) patience: &'a Patience,
}

impl Bench<'_> {
    /// One thing that the token signs, said before it has to be touched for that.
    pub(super) fn signing<T>(
        &mut self,
        key: PublicKey,
        what: &str,
        act: impl FnOnce(&mut CardSigner<'_>) -> Result<T, ProvisionError>,
    ) -> Result<T, ProvisionError> {
        self.attendant.about_to(what);
        let mut knowing = knowing(&self.user, &mut *self.attendant);
        let mut signer = CardSigner::new(&mut self.token, key, &mut knowing, self.patience.clone())?;
        act(&mut signer).map_err(|error| match error {
            // It opened the token a moment ago.
            ProvisionError::Card(CardError::WrongPin { .. }) => {
                ProofError::NewPinRefused { whose: "user" }.into()
            }
            other => other,
        })
    }

    /// Has the certificate made. What was there before of the same key is replaced; of another key it is kept.
    pub(super) fn certify(
        &mut self,
        papers: &Papers<'_>,
        recipients: &[Cert],
        observed: &Observed,
    ) -> Result<(), ProvisionError> {
        let ident = observed.ident;
        let keys = card_keys(observed).ok_or(CardError::NoSignatureKey { ident })?;
        let revocation = revocation(&keys.signature.fingerprint());
        let before = papers.certificate()?;
        let renewed = before.as_ref().is_some_and(|cert| {
            cert.keys().any(|key| key.key().fingerprint() == keys.signature.fingerprint())
        });
        let settings = Settings {
            // A second certificate of the same keys has to be the younger one.
            made: renewed.then(UnixTime::now),
            expires: papers.expires(),
            revocation: !papers.vault.has(&revocation),
        };
        let offline = papers.profile.certificate.as_ref().and_then(|wish| wish.primary.as_deref());
        let made = match offline {
            Some(file) => {
                let mut primary = unlock(file, papers.person.passphrase.as_ref())?;
                let what = format!("become a subkey of {}", primary.certificate().fingerprint().to_hex());
                self.signing(keys.signature.clone(), &what, |signer| {
                    Ok(primary.add(&keys, &settings, signer)?)
                })?
            }
            None => {
                let mut draft = Draft::new(&keys, papers.user_id().unwrap_or_default(), &settings)?;
                while let Some(act) = draft.next() {
                    let what = format!("{act}");
                    self.signing(keys.signature.clone(), &what, |signer| Ok(draft.sign(signer)?))?;
                }
                draft.finish()?
            }
        };
        let Made { cert, revocation: text } = made;
        if let Some(text) = text.map(Zeroizing::new) {
            let bytes = match recipients {
                [] => text.as_bytes().to_vec(),
                some => escrow::seal(some, text.as_bytes())?,
            };
            papers.vault.write(&revocation, &bytes, 0o600)?;
        }
        if let Some(old) = before.filter(|_| !renewed) {
            let name = format!("{}.asc", old.fingerprint().to_hex());
            papers.vault.write(&name, written(&old)?.as_bytes(), 0o644)?;
        }
        papers.vault.write(&papers.vault.certificate(), written(&cert)?.as_bytes(), 0o644)
    }

    /// Has the token sign who holds it, with everything that goes with that, and writes the enrolment.
    pub(super) fn enrol(
        &mut self,
        papers: &Papers<'_>,
        observed: &Observed,
        chain: &[Vec<u8>],
        report: String,
    ) -> Result<(), ProvisionError> {
        let ident = observed.ident;
        let missing = || ProvisionError::from(CardError::NoSignatureKey { ident });
        let name = papers.person.name.clone().ok_or_else(missing)?;
        let cert = papers.certificate()?.ok_or_else(missing)?;
        let key = sign::key_on_card(&cert, &self.token).ok_or_else(missing)?;
        let parts = Parts::new(&cert, chain, Some(report))?;
        let (certificate, attestation, report) = parts.digests();
        let possession = Possession {
            name: name.clone(),
            ident,
            key: key.fingerprint(),
            touch: observed.slot(KeySlot::Signature).touch.word(),
            certificate,
            attestation,
            profile: Some(papers.profile.file_digest()),
            report,
            signed: UnixTime::now(),
        };
        let text = possession.to_text();
        let signature = self.signing(key, &format!("prove its key and enrol {name}"), |signer| {
            Ok(sign::detached(signer, text.as_bytes(), SystemTime::from(possession.signed))?)
        })?;
        let json = parts.signed(text, &signature).to_json();
        // What does not pass here would not pass there: certificate, key, signature, times.
        Enrolment::parse(json.as_bytes()).and_then(|it| it.verify(UnixTime::now()))?;
        papers.vault.write(&format!("{name}.enrol"), json.as_bytes(), 0o644)
    }
}

/// The name of the file that revokes the certificate of a signature key.
pub(super) fn revocation(key: &Fingerprint) -> String {
    format!("revocation-{}.asc", key.to_hex())
}

/// As it is written, and as an enrolment holds it.
fn written(cert: &Cert) -> Result<String, ProvisionError> {
    let bytes = cert.clone().strip_secret_key_material().to_vec();
    let bytes = bytes.map_err(|error| ProvisionError::Sign(sign::openpgp(error)))?;
    Ok(armor::write(armor::PUBLIC_KEY_BLOCK, &bytes, true))
}

/// Reads the file of a primary key; nothing of it stays.
pub(super) fn primary(file: &std::path::Path) -> Result<Locked, ProvisionError> {
    let bytes = Zeroizing::new(journal::read_bounded(file, offline::MAX_FILE as u64)?);
    Locked::read(&bytes, UnixTime::now())
        .map_err(|error| ProvisionError::Primary { file: file.to_owned(), why: error.to_string() })
}

/// The primary key, able to sign.
pub(super) fn unlock(
    file: &std::path::Path,
    passphrase: Option<&Password>,
) -> Result<Primary, ProvisionError> {
    let none = Password::from("");
    primary(file)?
        .unlock(passphrase.unwrap_or(&none))
        .map_err(|error| ProvisionError::Primary { file: file.to_owned(), why: error.to_string() })
}
