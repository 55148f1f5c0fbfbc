//! One token from what it is to what it is to be: look, plan, carry out, prove.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use sequoia_openpgp::Cert;
use zeroize::Zeroizing;

use super::algorithm::KeySlot;
use super::apply::{Progress, Run, prepare};
use super::guess::{AdminPin, Which};
use super::import::{self, Keys};
use super::journal::{Pending, Record, Vault};
use super::link::{Link, converse};
use super::observe::{Observed, observe};
use super::pins::{Secret, judge_user};
use super::plan::{Memory, Plan, Planned, Step, plan};
use super::profile::{Profile, Tries, UserPin};
use super::{ProvisionError, escrow, proof};
use crate::card::error::CardError;
use crate::card::ident::Ident;
use crate::card::pin::Pin;
use crate::card::session::Token;
use crate::card::slot::{Purpose, Slot};
use crate::card::tape::Tape;
use crate::card::touch::Attendant;
use crate::card::watch::{self, Patience};
use crate::unix_time::UnixTime;

/// A token to be provisioned, and what is needed for it.
#[derive(Clone)]
pub struct Job {
    /// Which token: another in its place is not touched.
    pub ident: Ident,
    /// What it is to be.
    pub profile: Profile,
    /// Where secrets, attestations and the record of this token go; made if it is not there.
    pub directory: PathBuf,
    /// The admin PIN that it has now, if somebody knows it. Without, that of the factory is supposed.
    pub admin_pin: Option<Pin>,
    /// The new user PIN if one is to be set, else the present one.
    pub user_pin: Option<Pin>,
    /// The serial as it was typed back: keys of that token may be erased.
    pub erase: Option<Ident>,
    /// Told before each step.
    pub progress: Arc<Progress>,
}

/// What is, what would be done, and what that needs.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The token.
    pub observed: Observed,
    /// The steps.
    pub plan: Plan,
    /// An earlier run was cut off, and this one would go on from there.
    pub resumes: bool,
    /// The admin PIN has to be given.
    pub needs_admin_pin: bool,
    /// A user PIN has to be given: a new one, or the present one.
    pub needs_user_pin: Option<UserPinNeed>,
    /// What was done to this token before.
    pub record: Option<Record>,
}

/// Which user PIN has to be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserPinNeed {
    /// One to be set.
    New,
    /// The one that the token has.
    Present,
}

/// What a person has to be told once.
#[derive(Clone, Debug)]
pub struct Told {
    /// `user PIN`, `admin PIN`, `resetting code`.
    pub what: &'static str,
    /// The secret.
    pub secret: Zeroizing<String>,
}

/// A provisioned token. Secrets stay on the disk until [`Done::finish`] says that they were told.
#[derive(Debug)]
pub struct Done {
    /// The token as it is now.
    pub observed: Observed,
    /// What was done, in order; empty if it was so already.
    pub steps: Vec<Planned>,
    /// What has to be told, once.
    pub tell: Vec<Told>,
    /// File with what was escrowed.
    pub escrow: Option<PathBuf>,
    /// Commands that changed something on the token.
    pub writes: usize,
    vault: Option<(Vault, Pending)>,
}

impl Done {
    /// Everything was told: secrets leave the disk, the record stays.
    ///
    /// # Errors
    /// If a file cannot be written or removed.
    pub fn finish(self, now: UnixTime) -> Result<(), ProvisionError> {
        let observed = &self.observed;
        self.vault.map_or(Ok(()), |(vault, pending)| vault.finish(&pending, observed, now))
    }
}

/// What earlier runs know of a token.
struct Past {
    pending: Option<Pending>,
    record: Option<Record>,
}

impl Past {
    fn of(vault: &Vault) -> Result<Self, ProvisionError> {
        Ok(Self { pending: vault.pending()?, record: vault.record()? })
    }

    /// Without a record that is about another state of the token than the one it is in.
    fn at(mut self, observed: &Observed) -> Self {
        self.record = self.record.filter(|record| record.is_about(observed));
        self
    }

    fn memory(&self) -> Memory {
        let known = self.pending.as_ref().map(|pending| &pending.memory);
        known.or(self.record.as_ref().map(|record| &record.memory)).cloned().unwrap_or_default()
    }

    fn needs_admin_pin(&self, plan: &Plan) -> bool {
        self.pending.is_none() && self.memory().admin_set && plan.has(Step::needs_admin)
    }

    fn needs_user_pin(&self, plan: &Plan, profile: &Profile) -> Option<UserPinNeed> {
        if self.pending.as_ref().is_some_and(|pending| pending.new_user.is_some()) {
            return None;
        }
        if plan.has(|step| *step == Step::UserPin) {
            return (profile.pin.user == UserPin::Ask).then_some(UserPinNeed::New);
        }
        plan.has(|step| matches!(step, Step::Attest { .. } | Step::Prove)).then_some(UserPinNeed::Present)
    }
}

/// Looks at a token and says what would be done. Nothing is written, neither there nor here.
///
/// # Errors
/// Why the token, the directory or a file that the profile names cannot be read.
pub fn survey(
    slot: &Arc<dyn Slot>,
    profile: &Profile,
    directory: &std::path::Path,
    tape: &Tape,
    patience: &Patience,
) -> Result<Survey, ProvisionError> {
    let keys = import::read(profile)?;
    escrow::recipients(&profile.escrow.to)?;
    let observed = Observed::of(Arc::clone(slot), tape, patience)?;
    let past = Past::of(&Vault::peek(directory, observed.ident))?.at(&observed);
    let plan = plan(profile, &observed, &past.memory(), &import::described(&keys));
    Ok(Survey {
        needs_admin_pin: past.needs_admin_pin(&plan),
        needs_user_pin: past.needs_user_pin(&plan, profile),
        resumes: past.pending.is_some(),
        record: past.record,
        observed,
        plan,
    })
}

/// Makes a token what its profile says, and has it prove that.
///
/// It can be cut off at any command, or at any moment on this side: run again, it goes on from there.
///
/// # Errors
/// [`ProvisionError`]. Those that say so have changed nothing.
pub fn provision(
    slot: &Arc<dyn Slot>,
    job: &Job,
    attendant: &mut dyn Attendant,
    tape: &Tape,
    patience: &Patience,
) -> Result<Done, ProvisionError> {
    let shared = Arc::new(Shared {
        job: job.clone(),
        keys: import::read(&job.profile)?,
        recipients: escrow::recipients(&job.profile.escrow.to)?,
        cancel: Arc::clone(&patience.cancel),
    });
    let before = writes(tape);
    let vault = Vault::open(&job.directory, job.ident)?;
    let past = Past::of(&vault)?;

    let begun = shared.held(slot, tape, patience, move |shared, link| shared.begin(link, vault, past))?;
    let (vault, pending, steps) = match begun {
        Begun::Done(observed, vault) => {
            return Ok(Done {
                observed: *observed,
                steps: Vec::new(),
                tell: Vec::new(),
                escrow: None,
                writes: writes(tape) - before,
                vault: vault.map(|(vault, pending)| (vault, *pending)),
            }
            .telling(job));
        }
        Begun::Under { vault, pending, steps } => (vault, *pending, steps),
    };

    // Here the certificate is made, once that part is there: keys have their labels, and the signature key
    // does not yet want a touch for each of the certificate's own signatures.

    let prove = steps.iter().any(|planned| planned.step == Step::Prove);
    let (vault, mut pending, observed) =
        shared.held(slot, tape, patience, move |shared, link| shared.seal(link, vault, pending, prove))?;
    if prove {
        let key = observed.slot(KeySlot::Signature).key(KeySlot::Signature);
        if let Some(key) = key.filter(|_| observed.slot(KeySlot::Signature).labelled(KeySlot::Signature)) {
            let mut token = Token::look_on(Arc::clone(slot), tape, patience)?;
            let user = shared.user(&pending)?;
            proof::signature(&mut token, key, &user, attendant, patience)?;
        }
        pending.memory.proved = true;
        vault.save(&pending)?;
    }
    let memory = pending.memory.clone();
    let observed = shared.held(slot, tape, patience, move |shared, link| {
        let observed = observe(link)?;
        let left = plan(&shared.job.profile, &observed, &memory, &import::described(&shared.keys));
        if left.is_done() {
            return Ok(observed);
        }
        let left = left.problems.into_iter().chain(left.steps.into_iter().map(|it| it.step.to_string()));
        Err(ProvisionError::NotConverged { left: left.collect() })
    })?;
    let writes = writes(tape) - before;
    let vault = Some((vault, pending));
    Ok(Done { observed, steps, tell: Vec::new(), escrow: None, writes, vault }.telling(job))
}

impl Done {
    /// Sorts out what has to be told.
    fn telling(mut self, job: &Job) -> Self {
        let Some((vault, pending)) = &self.vault else { return self };
        self.escrow = pending.escrow.as_ref().map(|name| vault.path(name));
        let mut tell = |what, secret: &Option<Secret>| {
            if let Some(secret) = secret {
                self.tell.push(Told { what, secret: Zeroizing::new(secret.text().to_owned()) });
            }
        };
        if job.profile.pin.user == UserPin::Random {
            tell("user PIN", &pending.new_user);
        }
        if pending.escrow.is_none() {
            tell("admin PIN", &pending.new_admin);
            tell("resetting code", &pending.new_code);
        }
        self
    }
}

fn writes(tape: &Tape) -> usize {
    tape.writes()
}

/// What every conversation of a run needs.
struct Shared {
    job: Job,
    keys: Keys,
    recipients: Vec<Cert>,
    cancel: Arc<AtomicBool>,
}

enum Begun {
    Done(Box<Observed>, Option<(Vault, Box<Pending>)>),
    Under { vault: Vault, pending: Box<Pending>, steps: Vec<Planned> },
}

impl Shared {
    /// Holds a conversation in a thread of its own.
    fn held<T: Send + 'static>(
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

    fn plan(&self, observed: &Observed, memory: &Memory) -> Plan {
        plan(&self.job.profile, observed, memory, &import::described(&self.keys))
    }

    fn same(&self, observed: &Observed) -> Result<(), ProvisionError> {
        let (wanted, found) = (self.job.ident, observed.ident);
        if wanted == found {
            return Ok(());
        }
        Err(CardError::Changed { before: format!("card {wanted}"), now: format!("card {found}") }.into())
    }

    /// The user PIN that the token has once its PINs are set.
    fn user(&self, pending: &Pending) -> Result<Pin, ProvisionError> {
        match (&pending.new_user, &self.job.user_pin) {
            (Some(secret), _) => Ok(secret.pin()?),
            (None, Some(pin)) => Ok(pin.clone()),
            (None, None) => Err(ProvisionError::UserPinNeeded { ident: self.job.ident, new: false }),
        }
    }

    /// Everything before the certificate.
    fn begin(&self, link: &mut Link<'_>, vault: Vault, past: Past) -> Result<Begun, ProvisionError> {
        let job = &self.job;
        let observed = observe(link)?;
        self.same(&observed)?;
        let past = past.at(&observed);
        let planned = self.plan(&observed, &past.memory());
        let ident = observed.ident;
        if !planned.problems.is_empty() {
            return Err(ProvisionError::Impossible { ident, problems: planned.problems });
        }
        if planned.is_done() {
            let pending = past.pending.map(|pending| (vault, Box::new(pending)));
            return Ok(Begun::Done(Box::new(observed), pending));
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
        run.carry_out(&planned.steps, Step::seals)?;
        Ok(Begun::Under { vault, pending: Box::new(pending), steps: planned.steps })
    }

    /// Touch policies, attestations, and the proof of the PINs.
    fn seal(
        &self,
        link: &mut Link<'_>,
        vault: Vault,
        mut pending: Pending,
        prove: bool,
    ) -> Result<(Vault, Pending, Observed), ProvisionError> {
        let observed = observe(link)?;
        self.same(&observed)?;
        let planned = self.plan(&observed, &pending.memory);
        let unsealed = planned.steps.iter().any(|planned| !planned.step.seals());
        if unsealed || !planned.problems.is_empty() {
            let left = planned.steps.into_iter().filter(|planned| !planned.step.seals());
            let left = planned.problems.into_iter().chain(left.map(|it| it.step.to_string()));
            return Err(ProvisionError::NotConverged { left: left.collect() });
        }
        let mut run = self.run(link, &vault, &mut pending, observed);
        run.carry_out(&planned.steps, |step| *step == Step::Prove)?;
        let observed = run.observed;
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
            user,
            cancel: &self.cancel,
            progress: &self.job.progress,
            admin_open: false,
        }
    }
}

/// Presents PINs that a token is thought to have, and those of the factory, which must fail. If all is well it
/// costs no try in the end; it never spends the last one.
///
/// # Errors
/// [`ProvisionError::Proof`] with what the token did.
pub fn prove_pins(
    slot: &Arc<dyn Slot>,
    pins: &proof::Pins,
    tape: &Tape,
    patience: &Patience,
) -> Result<(), ProvisionError> {
    let (slot, pins, tape) = (Arc::clone(slot), pins.clone(), tape.clone());
    watch::run_quietly(patience, move || {
        Ok(converse(&slot, Purpose::Sign, &tape, |link| {
            let observed = observe(link)?;
            proof::pins(link, &observed, &pins)
        }))
    })?
}
