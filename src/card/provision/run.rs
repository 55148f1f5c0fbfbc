//! One token from what it is to what it is to be: look, plan, carry out, prove.

mod job;
mod shared;

use std::sync::Arc;

use super::algorithm::KeySlot;
use super::anchors::Anchors;
use super::certify::{self, Bench};
use super::import;
use super::journal::Vault;
use super::link::converse;
use super::observe::{Observed, observe};
use super::papers::Papers;
use super::plan::{Step, plan};
use super::profile::Profile;
use super::wishes::Person;
use super::{ProvisionError, account, escrow, proof};
use crate::card::session::Token;
use crate::card::slot::{Purpose, Slot};
use crate::card::tape::Tape;
use crate::card::touch::Attendant;
use crate::card::watch::{self, Patience};
use crate::unix_time::UnixTime;
pub use job::{Done, Files, Job, Survey, Told, UserPinNeed};
use shared::{Begun, Past, REPORT, Shared};

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
    let before = tape.writes();
    let vault = Vault::open(&job.directory, job.ident)?;
    let past = Past::of(&vault)?;

    let begun = shared.held(slot, tape, patience, move |shared, link| shared.begin(link, vault, past))?;
    let (vault, pending, steps) = match begun {
        Begun::Done { observed, vault, pending } => {
            let files = shared.files(&vault, &observed)?;
            let vault = pending.map(|pending| (vault, *pending));
            let (steps, tell) = (Vec::new(), Vec::new());
            let writes = tape.writes() - before;
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
    let writes = tape.writes() - before;
    let files = shared.files(&vault, &observed)?;
    let vault = Some((vault, pending));
    Ok(Done { observed, steps, tell: Vec::new(), escrow: None, files, writes, vault }.telling(job))
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
