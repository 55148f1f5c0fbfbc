//! What goes into a run, and what comes of it.

use std::path::PathBuf;
use std::sync::Arc;

use sequoia_openpgp::Fingerprint;
use zeroize::Zeroizing;

use crate::card::ident::Ident;
use crate::card::pin::Pin;
use crate::card::provision::ProvisionError;
use crate::card::provision::anchors::Attested;
use crate::card::provision::apply::Progress;
use crate::card::provision::journal::{Pending, Record, Vault};
use crate::card::provision::observe::Observed;
use crate::card::provision::pins::Secret;
use crate::card::provision::plan::{Plan, Planned};
use crate::card::provision::profile::{Profile, UserPin};
use crate::card::provision::wishes::Person;
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
    pub(super) vault: Option<(Vault, Pending)>,
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
    /// Sorts out what has to be told.
    pub(super) fn telling(mut self, job: &Job) -> Self {
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
