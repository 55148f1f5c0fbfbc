//! One token from what it is to what it is to be: look, plan, carry out, prove.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use sequoia_openpgp::{Cert, Fingerprint};
use zeroize::Zeroizing;

use super::algorithm::KeySlot;
use super::anchors::{Anchors, Attested};
use super::apply::{Progress, Run, prepare};
use super::certify::{self, Bench};
use super::guess::{AdminPin, Which};
use super::import::{self, Keys};
use super::journal::{Pending, Record, Vault};
use super::link::{Link, converse};
use super::observe::{Observed, observe};
use super::papers::Papers;
use super::pins::{Secret, judge_user};
use super::plan::{Memory, Plan, Planned, Step, plan};
use super::profile::{Profile, Tries, UserPin};
use super::wishes::Person;
use super::{ProvisionError, account, escrow, proof};
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
    /// Who gets it.
    pub person: Person,
    /// What may stand between its attestations and a root, beside what the profile names: DER, untrusted.
    pub intermediates: Vec<Vec<u8>>,
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
    /// The passphrase of this primary key has to be given.
    pub needs_passphrase: Option<Fingerprint>,
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
    /// Its papers.
    pub files: Files,
    /// Commands that changed something on the token.
    pub writes: usize,
    vault: Option<(Vault, Pending)>,
}

/// What lies in a token's directory for others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The certificate.
    pub certificate: Option<PathBuf>,
    /// What revokes it: encrypted if the profile says to whom, else in the clear.
    pub revocation: Option<PathBuf>,
    /// The report.
    pub report: Option<PathBuf>,
    /// What enrols the token.
    pub enrolment: Option<PathBuf>,
    /// Attestations, judged.
    pub attested: Vec<Attested>,
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
        plan.has(Step::needs_user).then_some(UserPinNeed::Present)
    }
}

/// Looks at a token and says what would be done. Nothing is written, neither there nor here.
///
/// # Errors
/// Why the token, the directory or a file that the profile names cannot be read.
pub fn survey(
    slot: &Arc<dyn Slot>,
    profile: &Profile,
    person: &Person,
    directory: &std::path::Path,
    tape: &Tape,
    patience: &Patience,
) -> Result<Survey, ProvisionError> {
    let keys = import::read(profile)?;
    escrow::recipients(&profile.escrow.to)?;
    Anchors::read(profile.attestation.as_ref(), &[])?;
    let observed = Observed::of(Arc::clone(slot), tape, patience)?;
    let vault = Vault::peek(directory, observed.ident);
    let past = Past::of(&vault)?.at(&observed);
    let mut plan = plan(profile, &observed, &past.memory(), &import::described(&keys));
    let papers = Papers { profile, person, vault: &vault };
    papers.amend(&mut plan, &observed, UnixTime::now())?;
    Ok(Survey {
        needs_admin_pin: past.needs_admin_pin(&plan),
        needs_user_pin: past.needs_user_pin(&plan, profile),
        needs_passphrase: match papers.primary(&plan) {
            Some(file) => {
                let locked = certify::primary(file)?;
                locked.needs_passphrase().then(|| locked.fingerprint())
            }
            None => None,
        },
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
        anchors: Anchors::read(job.profile.attestation.as_ref(), &job.intermediates)?,
        cancel: Arc::clone(&patience.cancel),
    });
    let before = writes(tape);
    let vault = Vault::open(&job.directory, job.ident)?;
    let past = Past::of(&vault)?;

    let begun = shared.held(slot, tape, patience, move |shared, link| shared.begin(link, vault, past))?;
    let (vault, pending, steps) = match begun {
        Begun::Done { observed, vault, pending } => {
            let files = shared.files(&vault, &observed)?;
            let vault = pending.map(|pending| (vault, *pending));
            let (steps, tell) = (Vec::new(), Vec::new());
            let writes = writes(tape) - before;
            return Ok(
                Done { observed: *observed, steps, tell, escrow: None, files, writes, vault }.telling(job)
            );
        }
        Begun::Under { vault, pending, steps } => (vault, *pending, steps),
    };
    let of = |wanted: Step| steps.iter().find(|planned| planned.step == wanted);
    let user = if steps.iter().any(|planned| planned.step.needs_user()) {
        Some(shared.user(&pending)?)
    } else {
        None
    };
    let look = || -> Result<Token, ProvisionError> {
        let token = Token::look_on(Arc::clone(slot), tape, patience)?;
        shared.is_same(token.info().ident)?;
        Ok(token)
    };

    // Keys have their labels, and a new signature key does not yet want a touch for each of these signatures.
    if let (Some(planned), Some(user)) = (of(Step::Certificate), &user) {
        (job.progress)(planned);
        let observed = shared.held(slot, tape, patience, |_, link| Ok(observe(link)?))?;
        shared.is_same(observed.ident)?;
        let mut bench = Bench { token: look()?, user: user.clone(), attendant: &mut *attendant, patience };
        bench.certify(&shared.papers(&vault), &shared.recipients, &observed)?;
    }

    let prove = of(Step::Prove).is_some();
    let (vault, mut pending, observed) =
        shared.held(slot, tape, patience, move |shared, link| shared.seal(link, vault, pending, prove))?;
    // One touch for both: who enrols a token proves its key.
    if let (Some(planned), Some(user)) = (of(Step::Enrol), &user) {
        (job.progress)(planned);
        let papers = shared.papers(&vault);
        let attested = papers.attested(&shared.anchors, &observed)?;
        let report = account::report(&papers, &observed, &attested, &pending, UnixTime::now())?;
        vault.write(REPORT, report.as_bytes(), 0o644)?;
        let signed = attested.iter().find(|one| one.slot == KeySlot::Signature);
        let chain = signed.map(|one| one.chain.as_slice()).unwrap_or_default();
        let mut bench = Bench { token: look()?, user: user.clone(), attendant: &mut *attendant, patience };
        bench.enrol(&papers, &observed, chain, report)?;
    } else if let (Some(planned), Some(user)) = (of(Step::Prove), &user) {
        (job.progress)(planned);
        let key = observed.slot(KeySlot::Signature).key(KeySlot::Signature);
        if let Some(key) = key.filter(|_| observed.slot(KeySlot::Signature).labelled(KeySlot::Signature)) {
            let mut bench =
                Bench { token: look()?, user: user.clone(), attendant: &mut *attendant, patience };
            proof::signature(&mut bench, key)?;
        }
        let papers = shared.papers(&vault);
        let attested = papers.attested(&shared.anchors, &observed)?;
        let report = account::report(&papers, &observed, &attested, &pending, UnixTime::now())?;
        vault.write(REPORT, report.as_bytes(), 0o644)?;
    }
    if prove {
        pending.memory.proved = true;
        vault.save(&pending)?;
    }
    let memory = pending.memory.clone();
    let (vault, observed) = shared.held(slot, tape, patience, move |shared, link| {
        let observed = observe(link)?;
        shared.same(&observed)?;
        let left = shared.plan(&observed, &memory, &vault)?;
        if left.is_done() {
            return Ok((vault, observed));
        }
        let left = left
            .problems
            .into_iter()
            .chain(left.steps.into_iter().map(|it| format!("{} ({})", it.step, it.why)));
        Err(ProvisionError::NotConverged { left: left.collect() })
    })?;
    let writes = writes(tape) - before;
    let files = shared.files(&vault, &observed)?;
    let vault = Some((vault, pending));
    Ok(Done { observed, steps, tell: Vec::new(), escrow: None, files, writes, vault }.telling(job))
}

/// The name of the report.
const REPORT: &str = "report.json";

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
    anchors: Anchors,
    cancel: Arc<AtomicBool>,
}

enum Begun {
    Done { observed: Box<Observed>, vault: Vault, pending: Option<Box<Pending>> },
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

    fn papers<'a>(&'a self, vault: &'a Vault) -> Papers<'a> {
        Papers { profile: &self.job.profile, person: &self.job.person, vault }
    }

    fn plan(&self, observed: &Observed, memory: &Memory, vault: &Vault) -> Result<Plan, ProvisionError> {
        let mut plan = plan(&self.job.profile, observed, memory, &import::described(&self.keys));
        self.papers(vault).amend(&mut plan, observed, UnixTime::now())?;
        Ok(plan)
    }

    fn files(&self, vault: &Vault, observed: &Observed) -> Result<Files, ProvisionError> {
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

    fn same(&self, observed: &Observed) -> Result<(), ProvisionError> {
        self.is_same(observed.ident)
    }

    fn is_same(&self, found: Ident) -> Result<(), ProvisionError> {
        let wanted = self.job.ident;
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
    fn seal(
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
