//! Which few files of trust a decision needs, and the proofs that they belong to it.

use std::collections::BTreeSet;

use crate::challenge::Challenge;
use crate::evidence::{Answered, Carried, Evidence, EvidenceError};
use crate::trust::Trust;
use crate::trust::manifest::Manifest;
use crate::trust::roster::{Person, Token};
use crate::verify::Rejection;

impl Evidence {
    /// Puts together what shows these answers: policy.toml, the requester's file, and of each signer the file,
    /// certificate and attestation.
    ///
    /// `manifest` is that of `trust`. Decision, grant and proof of the log are for the caller to add, the last when
    /// there is one.
    ///
    /// # Errors
    /// [`EvidenceError::OtherTrust`] if it was asked under another version, [`EvidenceError::Answer`] if nobody holds a
    /// key that signed, [`EvidenceError::TooMany`], and [`EvidenceError::File`] if `manifest` is not that of `trust`.
    pub fn collect(
        challenge: Challenge,
        answers: Vec<Answered>,
        trust: &Trust,
        manifest: &Manifest,
    ) -> Result<Self, EvidenceError> {
        let version = trust.version;
        if challenge.trust != version {
            return Err(EvidenceError::OtherTrust { asked: challenge.trust, carried: version });
        }
        let mut paths = BTreeSet::from(["policy.toml".to_owned()]);
        paths.extend(trust.requester(&challenge.request).map(Person::path));
        for (index, answer) in answers.iter().enumerate() {
            let unknown = || Rejection::UnknownSigner { key: answer.key().to_hex() };
            let (person, token) = trust
                .roster
                .holder(answer.key())
                .ok_or_else(|| EvidenceError::Answer { index, rejection: unknown() })?;
            paths.extend([person.path(), token.certificate_path()]);
            let attestation = token.attestation_path();
            paths.extend(manifest.files().contains_key(&attestation).then_some(attestation));
        }
        let proved = paths.iter().map(|path| manifest.prove(path)).collect::<Result<_, _>>()?;
        Self::new(challenge, answers, Carried { version, size: manifest.size(), files: proved })
    }
}

impl Person {
    /// Where this person's record lies in a trust directory.
    fn path(&self) -> String {
        format!("people/{}.toml", self.name)
    }
}

impl Token {
    /// Where its certificate lies in a trust directory.
    fn certificate_path(&self) -> String {
        format!("tokens/{}.asc", self.stem())
    }

    /// Where its attestation lies, if there is one.
    fn attestation_path(&self) -> String {
        format!("tokens/{}.attestation.pem", self.stem())
    }

    fn stem(&self) -> String {
        self.serial.replace(':', "-")
    }
}
