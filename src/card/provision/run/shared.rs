//! The conversations of a run, each with the card to itself, and what all of them need.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use sequoia_openpgp::Cert;

use super::job::{Files, Job, UserPinNeed};
use crate::card::error::CardError;
use crate::card::ident::Ident;
use crate::card::pin::Pin;
use crate::card::provision::algorithm::KeySlot;
use crate::card::provision::anchors::Anchors;
use crate::card::provision::apply::{Run, prepare};
use crate::card::provision::guess::{AdminPin, Which};
use crate::card::provision::import::{self, Keys};
use crate::card::provision::journal::{Pending, Record, Vault};
use crate::card::provision::link::{Link, converse};
use crate::card::provision::observe::{Observed, observe};
use crate::card::provision::papers::Papers;
use crate::card::provision::pins::{Secret, judge_user};
use crate::card::provision::plan::{Memory, Plan, Planned, Step, plan};
use crate::card::provision::profile::{Profile, Tries, UserPin};
use crate::card::provision::{ProvisionError, certify, proof};
use crate::card::slot::{Purpose, Slot};
use crate::card::tape::Tape;
use crate::card::watch::{self, Patience};
use crate::unix_time::UnixTime;

/// The name of the report.
pub(super) const REPORT: &str = "report.json";

/// What earlier runs know of a token.
pub(super) struct Past {
    pub(super) pending: Option<Pending>,
    pub(super) record: Option<Record>,
}

impl Past {
    pub(super) fn of(vault: &Vault) -> Result<Self, ProvisionError> {
        Ok(Self { pending: vault.pending()?, record: vault.record()? })
    }

    /// Without a record that is about another state of the token than the one it is in.
    pub(super) fn at(mut self, observed: &Observed) -> Self {
        self.record = self.record.filter(|record| record.is_about(observed));
        self
    }

    pub(super) fn memory(&self) -> Memory {
        let known = self.pending.as_ref().map(|pending| &pending.memory);
        known.or(self.record.as_ref().map(|record| &record.memory)).cloned().unwrap_or_default()
    }

    pub(super) fn needs_admin_pin(&self, plan: &Plan) -> bool {
        self.pending.is_none() && self.memory().admin_set && plan.has(Step::needs_admin)
    }

    pub(super) fn needs_user_pin(&self, plan: &Plan, profile: &Profile) -> Option<UserPinNeed> {
        if self.pending.as_ref().is_some_and(|pending| pending.new_user.is_some()) {
            return None;
        }
        if plan.has(|step| *step == Step::UserPin) {
            return (profile.pin.user == UserPin::Ask).then_some(UserPinNeed::New);
        }
        plan.has(Step::needs_user).then_some(UserPinNeed::Present)
    }
}

/// What every conversation of a run needs.
pub(super) struct Shared {
    pub(super) job: Job,
    pub(super) keys: Keys,
    pub(super) recipients: Vec<Cert>,
    pub(super) anchors: Anchors,
    pub(super) cancel: Arc<AtomicBool>,
}

pub(super) enum Begun {
    Done { observed: Box<Observed>, vault: Vault, pending: Option<Box<Pending>> },
    Under { vault: Vault, pending: Box<Pending>, steps: Vec<Planned> },
}

impl Shared {
    /// Holds a conversation in a thread of its own.
    pub(super) fn held<T: Send + 'static>(
        self: &Arc<Self>,
        slot: &Arc<dyn Slot>,
        tape: &Tape,
        patience: &Patience,
        hold: impl FnOnce(&Self, &mut Link<'_>) -> Result<T, ProvisionError> + Send + 'static,
    ) -> Result<T, ProvisionError> {
        let (shared, slot, tape) = (Arc::clone(self), Arc::clone(slot), tape.clone());
        watch::run_quietly(patience, move || {
            Ok(converse(&slot, Purpose::Sign, &tape, |link| hold(&shared, link)))
        })?
    }

    pub(super) fn papers<'a>(&'a self, vault: &'a Vault) -> Papers<'a> {
        Papers { profile: &self.job.profile, person: &self.job.person, vault }
    }

    pub(super) fn plan(
        &self,
        observed: &Observed,
        memory: &Memory,
        vault: &Vault,
    ) -> Result<Plan, ProvisionError> {
        let mut plan = plan(&self.job.profile, observed, memory, &import::described(&self.keys));
        self.papers(vault).amend(&mut plan, observed, UnixTime::now())?;
        Ok(plan)
    }

    pub(super) fn files(&self, vault: &Vault, observed: &Observed) -> Result<Files, ProvisionError> {
        let papers = self.papers(vault);
        let there = |name: String| vault.has(&name).then(|| vault.path(&name));
        let key = observed.slot(KeySlot::Signature).key(KeySlot::Signature);
        let revocation = key.map(|key| certify::revocation(&key.fingerprint()));
        Ok(Files {
            certificate: there(vault.certificate()).filter(|_| papers.wants_certificate()),
            revocation: revocation.and_then(there),
            report: there(REPORT.to_owned()),
            enrolment: self.job.person.name.as_ref().and_then(|name| there(format!("{name}.enrol"))),
            attested: papers.attested(&self.anchors, observed)?,
        })
    }

    pub(super) fn same(&self, observed: &Observed) -> Result<(), ProvisionError> {
        self.is_same(observed.ident)
    }

    pub(super) fn is_same(&self, found: Ident) -> Result<(), ProvisionError> {
        let wanted = self.job.ident;
        if wanted == found {
            return Ok(());
        }
        Err(CardError::Changed { before: format!("card {wanted}"), now: format!("card {found}") }.into())
    }

    /// The user PIN that the token has once its PINs are set.
    pub(super) fn user(&self, pending: &Pending) -> Result<Pin, ProvisionError> {
        match (&pending.new_user, &self.job.user_pin) {
            (Some(secret), _) => Ok(secret.pin()?),
            (None, Some(pin)) => Ok(pin.clone()),
            (None, None) => Err(ProvisionError::UserPinNeeded { ident: self.job.ident, new: false }),
        }
    }

    /// Everything before the certificate.
    pub(super) fn begin(
        &self,
        link: &mut Link<'_>,
        vault: Vault,
        past: Past,
    ) -> Result<Begun, ProvisionError> {
        let job = &self.job;
        let observed = observe(link)?;
        self.same(&observed)?;
        let past = past.at(&observed);
        let planned = self.plan(&observed, &past.memory(), &vault)?;
        let ident = observed.ident;
        if !planned.problems.is_empty() {
            return Err(ProvisionError::Impossible { ident, problems: planned.problems });
        }
        if planned.is_done() {
            let (observed, pending) = (Box::new(observed), past.pending.map(Box::new));
            return Ok(Begun::Done { observed, vault, pending });
        }
        if !planned.erases.is_empty() && job.erase != Some(ident) {
            return Err(ProvisionError::Erases { ident, slots: planned.erases });
        }
        if past.needs_admin_pin(&planned) && job.admin_pin.is_none() {
            return Err(ProvisionError::AdminPinNeeded { ident });
        }
        let need = past.needs_user_pin(&planned, &job.profile);
        match (need, &job.user_pin) {
            (Some(need), None) => {
                return Err(ProvisionError::UserPinNeeded { ident, new: need == UserPinNeed::New });
            }
            (Some(UserPinNeed::New), Some(pin)) => judge_user(pin, observed.longest[0])?,
            _ => {}
        }
        if let Some(file) = self.papers(&vault).primary(&planned) {
            certify::unlock(file, job.person.passphrase.as_ref())?;
        }
        let memory = past.memory();
        let mut pending = past.pending.unwrap_or_else(|| {
            let supposed = if job.admin_pin.is_some() { Which::Given } else { Which::Factory };
            let now = UnixTime::now();
            Pending::new(ident, job.profile.digest(), now, AdminPin::supposed(supposed), memory)
        });
        if let Some(pin) = &job.admin_pin {
            let given = Secret::of(pin)?;
            if pending.given_admin.as_ref() != Some(&given) {
                pending.given_admin = Some(given);
                pending.admin.told();
            }
        }
        if !planned.has(|step| matches!(step, Step::Tries(_))) {
            // As many as there are, or this would have been a problem or a step.
            pending.memory.tries = job.profile.pin.tries.map(Tries::wire).or(pending.memory.tries);
        }
        if pending.profile != job.profile.digest() {
            // Perhaps for others' eyes now.
            (pending.profile, pending.escrow) = (job.profile.digest(), None);
        }
        let user = job.user_pin.as_ref().filter(|_| job.profile.pin.user == UserPin::Ask);
        prepare(&mut pending, &vault, &planned.steps, user, &self.recipients, ident)?;
        let mut run = self.run(link, &vault, &mut pending, observed);
        run.carry_out(&planned.steps, |step| step.seals() || *step == Step::Certificate)?;
        Ok(Begun::Under { vault, pending: Box::new(pending), steps: planned.steps })
    }

    /// Touch policies, attestations, and the proof of the PINs.
    pub(super) fn seal(
        &self,
        link: &mut Link<'_>,
        vault: Vault,
        mut pending: Pending,
        prove: bool,
    ) -> Result<(Vault, Pending, Observed), ProvisionError> {
        let observed = observe(link)?;
        self.same(&observed)?;
        let planned = self.plan(&observed, &pending.memory, &vault)?;
        let unsealed = planned.steps.iter().any(|planned| !planned.step.seals());
        if unsealed || !planned.problems.is_empty() {
            let left = planned.steps.into_iter().filter(|planned| !planned.step.seals());
            let left = planned.problems.into_iter().chain(left.map(|it| it.step.to_string()));
            return Err(ProvisionError::NotConverged { left: left.collect() });
        }
        let mut run = self.run(link, &vault, &mut pending, observed);
        run.carry_out(&planned.steps, |step| matches!(step, Step::Prove | Step::Enrol))?;
        // Touch policies are others now, and what the token signs of itself names them.
        let observed = observe(link)?;
        self.same(&observed)?;
        if prove {
            let known = |secret: &Option<Secret>, set: bool| {
                secret.as_ref().filter(|_| set).map(Secret::pin).transpose()
            };
            let pins = proof::Pins {
                user: self.user(&pending)?,
                admin: known(&pending.new_admin, pending.memory.admin_set)?,
                resetting_code: known(&pending.new_code, pending.memory.code_set)?,
            };
            proof::pins(link, &observed, &pins)?;
        }
        Ok((vault, pending, observed))
    }

    fn run<'r, 'l>(
        &'r self,
        link: &'r mut Link<'l>,
        vault: &'r Vault,
        pending: &'r mut Pending,
        observed: Observed,
    ) -> Run<'r, 'l> {
        let user = if pending.new_user.is_some() { None } else { self.job.user_pin.clone() };
        Run {
            link,
            vault,
            pending,
            profile: &self.job.profile,
            observed,
            keys: &self.keys,
            anchors: &self.anchors,
            user,
            cancel: &self.cancel,
            progress: &self.job.progress,
            admin_open: false,
        }
    }
}
