//! The papers of a token, as they lie in its directory: what is there, and what of it has to be made.
//!
//! - `SERIAL.asc`: the certificate
//! - `revocation-FINGERPRINT.asc`: what revokes it, encrypted where the profile names certificates
//! - `SERIAL.attestation.pem`, `SERIAL.SLOT.attestation.pem`: attestations
//! - `NAME.enrol`: the enrolment

use std::path::Path;

use sequoia_openpgp::Cert;
use sequoia_openpgp::parse::Parse as _;

use super::ProvisionError;
use super::algorithm::KeySlot;
use super::anchors::{Anchors, Attested};
use super::journal::Vault;
use super::observe::Observed;
use super::plan::{Plan, Planned, Step};
use super::profile::Profile;
use super::wishes::Person;
use crate::card::attestation::{Statement, read_certificates};
use crate::card::certificate::check::{Wanted, differences};
use crate::card::certificate::is_user_id;
use crate::card::info::TouchPolicy;
use crate::card::keys::CardKeys;
use crate::enrolment::{Enrolment, MAX_ATTESTATION, MAX_CERTIFICATE, MAX_ENROLMENT};
use crate::unix_time::UnixTime;

/// What papers are to be.
pub(super) struct Papers<'a> {
    pub(super) profile: &'a Profile,
    pub(super) person: &'a Person,
    pub(super) vault: &'a Vault,
}

impl Papers<'_> {
    /// Whether there is to be a certificate.
    pub(super) fn wants_certificate(&self) -> bool {
        self.profile.certificate.is_some() || self.person.user_id.is_some()
    }

    /// The user id, unless the primary key that is kept elsewhere has its own.
    pub(super) fn user_id(&self) -> Option<&str> {
        let wish = self.profile.certificate.as_ref();
        if wish.is_some_and(|wish| wish.primary.is_some()) {
            return None;
        }
        self.person.user_id.as_deref().or(wish?.user_id.as_deref())
    }

    pub(super) fn expires(&self) -> Option<UnixTime> {
        self.profile.certificate.as_ref()?.expires
    }

    /// The certificate that is there, if it is one.
    pub(super) fn certificate(&self) -> Result<Option<Cert>, ProvisionError> {
        let bytes = self.vault.read(&self.vault.certificate(), MAX_CERTIFICATE as u64)?;
        Ok(bytes.and_then(|bytes| Cert::from_bytes(&bytes).ok()))
    }

    /// The file of the primary key that a plan needs, if it does.
    pub(super) fn primary(&self, plan: &Plan) -> Option<&Path> {
        let wish = self.profile.certificate.as_ref().filter(|_| plan.has(|step| *step == Step::Certificate));
        wish?.primary.as_deref()
    }

    /// Adds to a plan what the papers need, at its place.
    pub(super) fn amend(
        &self,
        plan: &mut Plan,
        token: &Observed,
        now: UnixTime,
    ) -> Result<(), ProvisionError> {
        let new_keys = plan.has(|step| {
            matches!(
                step,
                Step::Algorithm { .. } | Step::Generate { .. } | Step::Import { .. } | Step::Label { .. }
            )
        });
        if !plan.has(|step| *step == Step::Prove) {
            for (slot, wish) in self.profile.wishes() {
                if token.attests
                    && wish.import.is_none()
                    && !self.is_attested(slot, wish.touch.policy(), token)?
                {
                    insert(
                        plan,
                        Step::Attest { slot },
                        "the one there is gone, or says what is not so",
                        |step| matches!(step, Step::Prove),
                    );
                }
            }
        }
        if !self.wants_certificate() {
            if self.person.name.is_some() {
                plan.notes.push("there is no enrolment file without a certificate".to_owned());
            }
            return Ok(());
        }
        self.problems(plan, token, new_keys, now);
        let why = match (new_keys, self.certificate()?) {
            (true, _) => Some("the keys are new".to_owned()),
            (false, None) => Some("there is none".to_owned()),
            (false, Some(cert)) => self.differs(&cert, token, now),
        };
        if let Some(why) = why {
            insert(plan, Step::Certificate, &why, Step::seals);
            if !plan.has(|step| *step == Step::Prove) {
                insert(plan, Step::Prove, "a signature has to verify under the new certificate", |_| false);
            }
        }
        if self.person.name.is_none() {
            return Ok(());
        }
        let why = if plan.has(|step| matches!(step, Step::Prove | Step::Attest { .. })) {
            Some("it holds what is made now".to_owned())
        } else {
            self.enrolment_differs(token, now)?
        };
        if let Some(why) = why {
            insert(plan, Step::Enrol, &why, |_| false);
        }
        Ok(())
    }

    fn problems(&self, plan: &mut Plan, token: &Observed, new_keys: bool, now: UnixTime) {
        let offline = self.profile.certificate.as_ref().is_some_and(|wish| wish.primary.is_some());
        match self.user_id() {
            None if !offline => plan
                .problems
                .push("its certificate has no user id: say --user-id, or [certificate] user_id".to_owned()),
            Some(text) if !is_user_id(text) => plan.problems.push(
                "the user id of its certificate is empty, too long or holds control characters".to_owned(),
            ),
            _ => {}
        }
        if offline && self.person.user_id.is_some() {
            plan.problems
                .push("its keys become subkeys of a primary key, which has user ids of its own".to_owned());
        }
        if self.expires().is_some_and(|expires| expires <= now) {
            plan.problems.push("its certificate would have expired already".to_owned());
        }
        if card_keys(token).is_none() && !new_keys {
            plan.problems.push("it has no signature key that a certificate could be made of".to_owned());
        }
    }

    /// In what a certificate is not the one that would be made.
    fn differs(&self, cert: &Cert, token: &Observed, now: UnixTime) -> Option<String> {
        let keys = card_keys(token)?;
        let wanted = Wanted { user_id: self.user_id(), expires: self.expires().map(Some) };
        let found = differences(cert, &keys, wanted, now);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        (!found.is_empty()).then(|| format!("of the one there: {}", found.join("; ")))
    }

    /// Whether there is an attestation of the key that is there, with that touch policy.
    fn is_attested(
        &self,
        slot: KeySlot,
        touch: TouchPolicy,
        token: &Observed,
    ) -> Result<bool, ProvisionError> {
        let Some(key) = token.slot(slot).key(slot) else { return Ok(true) };
        let chain = self.chain(slot)?;
        let said = chain.first().and_then(|leaf| Statement::read(leaf).ok());
        Ok(said.is_some_and(|said| said.key.is_key_of(&key) && said.touch == touch))
    }

    /// The attestation of a key and what is kept with it; empty if there is none.
    fn chain(&self, slot: KeySlot) -> Result<Vec<Vec<u8>>, ProvisionError> {
        let bytes = self.vault.read(&self.vault.attestation(slot), MAX_ATTESTATION as u64)?;
        Ok(bytes.and_then(|bytes| read_certificates(&bytes).ok()).unwrap_or_default())
    }

    /// The attestations that are there, judged.
    pub(super) fn attested(
        &self,
        anchors: &Anchors,
        token: &Observed,
    ) -> Result<Vec<Attested>, ProvisionError> {
        let mut all = Vec::new();
        for (slot, wish) in self.profile.wishes() {
            if !token.attests || wish.import.is_some() {
                continue;
            }
            let chain = self.chain(slot)?;
            if let Some((leaf, others)) = chain.split_first() {
                all.push(anchors.judge(slot, leaf, others, wish.touch.policy(), token)?);
            }
        }
        Ok(all)
    }

    /// In what the enrolment that is there is not the one that would be made.
    fn enrolment_differs(&self, token: &Observed, now: UnixTime) -> Result<Option<String>, ProvisionError> {
        let Some(name) = &self.person.name else { return Ok(None) };
        let Some(bytes) = self.vault.read(&format!("{name}.enrol"), MAX_ENROLMENT as u64)? else {
            return Ok(Some("there is none".to_owned()));
        };
        let enrolment = match Enrolment::parse(&bytes).and_then(|it| it.verify(now).map(|all| (it, all))) {
            Ok(enrolment) => enrolment,
            Err(error) => return Ok(Some(error.to_string())),
        };
        let (enrolment, enrolled) = enrolment;
        let said = &enrolled.possession;
        let certificate = self.vault.read(&self.vault.certificate(), MAX_CERTIFICATE as u64)?;
        let state = token.slot(KeySlot::Signature);
        let differs = [
            (said.name == *name, "its name"),
            (said.ident == token.ident, "its token"),
            (said.key.as_bytes() == state.fingerprint, "its key"),
            (said.touch == state.touch.word(), "its touch policy"),
            (said.profile == Some(self.profile.file_digest()), "its profile"),
            (certificate.as_deref() == Some(enrolment.certificate.as_bytes()), "its certificate"),
            (enrolled.attestation == self.chain(KeySlot::Signature)?, "its attestation"),
        ];
        let differs = differs.into_iter().find(|(same, _)| !same);
        Ok(differs.map(|(_, what)| format!("of the one there {what} is another")))
    }
}

/// The keys of a token that can be in a certificate: those whose fingerprint on the card is theirs.
pub(super) fn card_keys(token: &Observed) -> Option<CardKeys> {
    let key = |slot: KeySlot| {
        let state = token.slot(slot);
        state.key(slot).filter(|_| state.labelled(slot))
    };
    Some(CardKeys {
        signature: key(KeySlot::Signature)?,
        decryption: key(KeySlot::Decryption),
        authentication: key(KeySlot::Authentication),
    })
}

/// Puts a step before the first one of which `before` holds, or last.
fn insert(plan: &mut Plan, step: Step, why: &str, before: impl Fn(&Step) -> bool) {
    let at = plan.steps.iter().position(|planned| before(&planned.step)).unwrap_or(plan.steps.len());
    plan.steps.insert(at, Planned { step, why: why.to_owned() });
}
