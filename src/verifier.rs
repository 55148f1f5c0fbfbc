//! The verifier: store, trust and keys around the ceremony. `run` and the service make the same calls.

use crate::audit::Receipt;
use crate::audit::entry::{Entry, Outcome};
use crate::audit::witness::Seen;
use crate::ceremony::{self, BadRecord, Ceremony, Context, Event, Said, Step};
use crate::challenge::{Challenge, Randomness, RequestId, Terms, TooLarge, TrustVersion};
use crate::evidence::{Evidence, EvidenceError};
use crate::grant::{self, Grant, GrantRejection, GrantSigner, OpenError, SealedGrant};
use crate::request::{Identity, Request, Resource};
use crate::response::Response;
use crate::store::{CommitError, Op, Position, RequestRecord, Store, StoreError};
use crate::trust::debt::Debt;
use crate::trust::manifest::Manifest;
use crate::trust::quorum::NotMet;
use crate::trust::{NotAdmitted, Trust};
use crate::unix_time::UnixTime;
use crate::verify::{Answer, CLOCK_SKEW, Presented, Rejection};

/// How often a step is made anew because somebody else was faster: each time another step on the same request was
/// written, and a request takes few.
const MAX_OVERTAKEN: usize = 64;
/// How often a request is named anew because its short code was taken.
const MAX_NAMES: usize = 16;

/// Somebody who decides: a store, the trust in force and the key that signs grants.
pub struct Verifier<'a> {
    store: &'a dyn Store,
    trust: Trust,
    manifest: Manifest,
    signer: GrantSigner,
}

/// What came of an answer.
#[derive(Debug)]
pub enum Answered {
    /// It was the last one needed.
    Approved(Box<Approved>),
    /// The request had ended before.
    Late(Outcome),
    /// It does not count.
    Rejected(Rejection),
    /// It says no, and that ends the request or its unused grant.
    Refused(Box<Answer>),
    /// It counts; more are needed.
    Waiting {
        /// The approval.
        answer: Box<Answer>,
        /// What is missing.
        open: NotMet,
    },
}

/// A decision, recorded, whose grant is still sealed: [`Verifier::open`] opens it. Let go of, it gives nothing, for
/// nobody else has it.
#[derive(Debug)]
pub struct Approved {
    grant: Box<SealedGrant>,
    evidence: Box<Evidence>,
    position: Position,
}

impl Approved {
    /// When it was decided.
    pub fn at(&self) -> UnixTime {
        self.grant.claims().iat
    }

    /// When the grant ends, opened or not.
    pub fn expires(&self) -> UnixTime {
        self.grant.claims().exp
    }

    /// Where the log has it.
    pub fn position(&self) -> Position {
        self.position
    }

    /// From when and until before when witnesses may have seen it: a clock that is further off shows nothing, and what
    /// is seen after the request does not show that it was decided in time.
    pub fn seen_within(&self) -> (UnixTime, UnixTime) {
        let before = self.at().seconds().saturating_sub(CLOCK_SKEW.as_secs());
        let from = UnixTime::from_seconds(before).unwrap_or(self.at());
        (from, self.evidence.challenge.expires.plus(CLOCK_SKEW))
    }
}

/// A decision, recorded, and what it gives.
#[derive(Debug)]
pub struct Granted {
    /// What may be done.
    pub grant: Grant,
    /// What shows the decision years later, with the log's proof.
    pub evidence: Evidence,
    /// That it stands in the log.
    pub receipt: Receipt,
}

/// Why the verifier could not do what it was asked. Nothing was granted.
#[derive(Debug, thiserror::Error)]
pub enum VerifierError {
    /// The record of a request is not what was written.
    #[error(transparent)]
    BadRecord(#[from] Box<BadRecord>),
    /// Others changed the same each time.
    #[error("others changed the same thing each time")]
    Busy,
    /// The store holds a newer version of trust, or another of the same number.
    #[error("trust {offered} does not follow {known}, which was in force here")]
    Trust {
        /// What the store knows.
        known: TrustVersion,
        /// What was to come into force.
        offered: TrustVersion,
    },
    /// What was decided on cannot be shown, so it is not decided.
    #[error(transparent)]
    NoEvidence(#[from] EvidenceError),
    /// The grant did not open.
    #[error(transparent)]
    NotOpened(#[from] OpenError),
    /// The grant was taken back before it was opened.
    #[error(transparent)]
    TakenBack(#[from] GrantRejection),
    /// A witness says that it saw the decision when that shows nothing.
    #[error("{by} says that it saw the decision at {at}; what counts is from {from} to {to}")]
    SeenAt {
        /// Which.
        by: String,
        /// By its clock.
        at: UnixTime,
        /// The first moment that counts.
        from: UnixTime,
        /// The first that does not any more.
        to: UnixTime,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The trust in force ended before the grant was opened.
    #[error("trust was valid until {valid_until}; it is {now}")]
    TrustEnded {
        /// The verifier's clock.
        now: UnixTime,
        /// From policy.toml.
        valid_until: UnixTime,
    },
    /// No such request.
    #[error("no request {0} is known here")]
    Unknown(RequestId),
}

/// Why a request was not issued.
#[derive(Debug, thiserror::Error)]
pub enum NotIssued {
    /// Trust does not allow it.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// Too much text.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The trust in force is past its date.
    #[error("trust was valid until {valid_until}; it is {now}")]
    TrustExpired {
        /// The verifier's clock.
        now: UnixTime,
        /// From policy.toml.
        valid_until: UnixTime,
    },
    /// The verifier could not.
    #[error(transparent)]
    Verifier(#[from] VerifierError),
}

impl From<StoreError> for NotIssued {
    fn from(error: StoreError) -> Self {
        Self::Verifier(error.into())
    }
}

impl<'a> Verifier<'a> {
    /// Puts `trust` into force, and everything that follows from it: a version that is new here ends every undecided
    /// request and every unused grant that it would not give. Requests whose time is over end, too.
    ///
    /// `manifest` is what `trust` was made of.
    ///
    /// # Errors
    /// [`VerifierError::Trust`] if the store knows a later version, or another of the same number.
    pub fn new(
        store: &'a dyn Store,
        trust: Trust,
        manifest: Manifest,
        signer: GrantSigner,
        now: UnixTime,
    ) -> Result<Self, VerifierError> {
        let verifier = Self { store, trust, manifest, signer };
        verifier.adopt(now)?;
        Ok(verifier)
    }

    /// What it remembers by.
    pub fn store(&self) -> &dyn Store {
        self.store
    }

    /// The trust in force.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    fn adopt(&self, now: UnixTime) -> Result<(), VerifierError> {
        let offered = self.trust.version;
        for _ in 0..MAX_OVERTAKEN {
            let known = self.store.trust()?;
            match known {
                Some(known) if known == offered => return self.end_what_trust_ends(known, now),
                Some(known) if known.number >= offered.number => {
                    return Err(VerifierError::Trust { known, offered });
                }
                _ => {}
            }
            let change = [
                Op::Trust { version: offered, before: known, files: self.manifest.files().clone() },
                Op::Log(Entry::Trust { at: now, version: offered }),
            ];
            match self.store.commit(&change) {
                Ok(_) | Err(CommitError::Overtaken) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(VerifierError::Busy)
    }

    /// What was asked or granted under versions before this one. Done at each start, so that it is done even if the
    /// one who put the version into force was stopped in between.
    fn end_what_trust_ends(&self, current: TrustVersion, now: UnixTime) -> Result<(), VerifierError> {
        let open = self.store.open_requests()?;
        let granted = self.store.live_grants(now)?.into_iter().map(|grant| grant.request);
        for request in open.into_iter().chain(granted) {
            let Some(record) = self.store.request(&request)? else { continue };
            if record.challenge.trust == current {
                // Of this version what a lost token had a part in, and what nobody waits for any more.
                self.step(self.under(), &request, &Event::Passing, now)?;
                continue;
            }
            let Some(files) = self.store.trust_files(&record.challenge.trust)? else {
                return Err(VerifierError::Unknown(request));
            };
            // Its answers were given under the trust of then, and are judged by it.
            let reason = |error: &dyn ToString| StoreError {
                what: format!("trust {}", record.challenge.trust),
                reason: error.to_string(),
            };
            let manifest = Manifest::new(files);
            let then = Trust::from_manifest(&manifest).map_err(|error| reason(&error))?;
            let under = Under { trust: &then, manifest: &manifest };
            self.step(under, &request, &Event::NewTrust(&self.trust), now)?;
        }
        Ok(())
    }

    /// Issues a challenge for a request that this trust admits, and records it.
    ///
    /// # Errors
    /// Any [`NotIssued`].
    pub fn issue(
        &self,
        request: &Request,
        now: UnixTime,
        mut randomness: impl FnMut() -> Randomness,
    ) -> Result<Challenge, NotIssued> {
        let trust = &self.trust;
        if now >= trust.valid_until {
            return Err(NotIssued::TrustExpired { now, valid_until: trust.valid_until });
        }
        let rule = trust.admit(request)?;
        for _ in 0..MAX_NAMES {
            let terms = Terms {
                audience: trust.audience.clone(),
                trust: trust.version,
                answer_within: rule.answer_within,
            };
            let challenge = Challenge::issue(request.clone(), terms, now, randomness())?;
            let debts = self.store.debts(&request.resource)?;
            let open = ceremony::open(&challenge, trust, &debts)?;
            match self.store.commit(&[&[Op::Under(trust.version)], &open[..]].concat()) {
                Ok(_) => return Ok(challenge),
                // The name, or its short code, is taken; or so is our place.
                Err(CommitError::Overtaken) => self.check_in_force()?,
                Err(error) => return Err(failed(error).into()),
            }
        }
        Err(VerifierError::Busy.into())
    }

    /// Judges an answer, records it, and decides.
    ///
    /// `counter` is what `presented` was read from, as it is kept: PEM.
    ///
    /// # Errors
    /// Any [`VerifierError`]; then nothing was granted, and the answer may be handed in again.
    pub fn answer(
        &self,
        response: &Response,
        presented: Option<&Presented>,
        counter: Option<&str>,
        now: UnixTime,
    ) -> Result<Answered, VerifierError> {
        let request = match crate::statement::Statement::parse(&response.statement) {
            Ok(statement) => statement.challenge.id,
            Err(error) => return Ok(Answered::Rejected(error.into())),
        };
        if self.store.request(&request)?.is_none() {
            let request = request.to_string();
            return Ok(Answered::Rejected(Rejection::UnknownRequest { request }));
        }
        let event = Event::Answer { response, presented, counter };
        let (said, approved) = self.step(self.under(), &request, &event, now)?;
        Ok(match (said, approved) {
            (_, Some(approved)) => Answered::Approved(Box::new(approved)),
            (Said::Rejected(rejection), None) => Answered::Rejected(rejection),
            (Said::Refused(answer), None) => Answered::Refused(answer),
            (Said::Waiting { answer, open }, None) => Answered::Waiting { answer, open },
            (Said::Late(outcome) | Said::Ended(outcome), None) => Answered::Late(outcome),
            (Said::NoEvidence(error), None) => return Err(error.into()),
            (Said::Approved { .. } | Said::Nothing, None) => return Err(VerifierError::Busy),
        })
    }

    /// Looks at a request once more: ends it if its time is over, decides it if what stood in its way has gone.
    ///
    /// # Errors
    /// Any [`VerifierError`].
    pub fn look(&self, request: &RequestId, now: UnixTime) -> Result<Option<Approved>, VerifierError> {
        Ok(self.step(self.under(), request, &Event::Clock, now)?.1)
    }

    /// Opens what was approved by the log's receipt for it. Where trust demands witnesses, there is one once the store
    /// was given a checkpoint that enough of them saw with the decision in it ([`Store::witness`]).
    ///
    /// # Errors
    /// If it does not stand any more, there is no receipt, or the grant does not open by it. Then it is revoked.
    pub fn open(&self, approved: Approved, now: UnixTime) -> Result<Granted, VerifierError> {
        let request = approved.grant.claims().jti;
        let receipt = self.check_stands(&request, now).and_then(|()| self.receipt(&approved));
        let Approved { grant, evidence, .. } = approved;
        let opened = || -> Result<(Grant, Receipt), VerifierError> {
            let receipt = receipt?;
            Ok((grant.open(&receipt, &self.signer)?, receipt))
        };
        let (grant, receipt) = opened().inspect_err(|_| {
            // Nobody has its token, so nothing should be left of it.
            let _ = self.revoke_grant(&request, "verifier", Some("not opened"), now);
        })?;
        let mut evidence = *evidence;
        evidence.log = Some(receipt.to_log_proof());
        Ok(Granted { grant, evidence, receipt })
    }

    /// The log's receipt for a decision, once as many witnesses as trust demands saw it in time.
    ///
    /// # Errors
    /// If there is none yet, or too few of them saw it within [`Approved::seen_within`].
    pub fn receipt(&self, approved: &Approved) -> Result<Receipt, VerifierError> {
        let receipt = self.store.receipt(approved.position, &self.trust.witnesses)?;
        let (from, to) = approved.seen_within();
        let (counts, other): (Vec<&Seen>, Vec<&Seen>) =
            receipt.checkpoint().seen().iter().partition(|seen| from <= seen.at && seen.at < to);
        match other.first() {
            Some(Seen { by, at }) if counts.len() < self.trust.witnesses.needed() => {
                Err(VerifierError::SeenAt { by: by.clone(), at: *at, from, to })
            }
            _ => Ok(receipt),
        }
    }

    /// Whether a decision still stands whose grant is not open yet: much can come while witnesses are awaited.
    ///
    /// # Errors
    /// If the grant was revoked, or trust was replaced or has ended.
    pub fn check_stands(&self, request: &RequestId, now: UnixTime) -> Result<(), VerifierError> {
        self.check_in_force()?;
        let valid_until = self.trust.valid_until;
        if now >= valid_until {
            return Err(VerifierError::TrustEnded { now, valid_until });
        }
        match self.store.grant(request)? {
            Some(grant) if grant.revoked.is_none() => Ok(()),
            Some(_) => Err(GrantRejection::Revoked.into()),
            None => Err(GrantRejection::Unknown.into()),
        }
    }

    /// Takes a request back.
    ///
    /// # Errors
    /// Any [`VerifierError`].
    pub fn withdraw(&self, request: &RequestId, by: &Identity, now: UnixTime) -> Result<Said, VerifierError> {
        Ok(self.step(self.under(), request, &Event::Withdraw { by }, now)?.0)
    }

    /// A request as it stands, its answers judged again.
    ///
    /// # Errors
    /// Any [`VerifierError`].
    pub fn ceremony(&self, request: &RequestId) -> Result<(Ceremony, RequestRecord), VerifierError> {
        let record = self.store.request(request)?.ok_or(VerifierError::Unknown(*request))?;
        Ok((Ceremony::resume(&record, &self.trust).map_err(Box::new)?, record))
    }

    /// Uses a grant that was opened once more, records it, and says how often it may still be used.
    ///
    /// # Errors
    /// As [`grant::count`].
    pub fn use_grant(&self, grant: &Grant, now: UnixTime) -> Result<u32, GrantRejection> {
        grant::spend(self.store, self.trust.version, grant.id(), 1, now)
    }

    /// Revokes a grant, used or not, and says how often it was used.
    ///
    /// # Errors
    /// As [`grant::revoke`].
    pub fn revoke_grant(
        &self,
        request: &RequestId,
        by: &str,
        because: Option<&str>,
        now: UnixTime,
    ) -> Result<u32, GrantRejection> {
        grant::revoke(self.store, *request, by, because, now)
    }

    /// Whether what this decides by is still in force: another process may have put a newer version there.
    fn check_in_force(&self) -> Result<(), VerifierError> {
        let offered = self.trust.version;
        match self.store.trust()? {
            Some(known) if known != offered => Err(VerifierError::Trust { known, offered }),
            _ => Ok(()),
        }
    }

    fn under(&self) -> Under<'_> {
        Under { trust: &self.trust, manifest: &self.manifest }
    }

    /// The break-glass debts that are open on a resource.
    ///
    /// # Errors
    /// If the store cannot tell.
    pub fn debts(&self, resource: &Resource) -> Result<Vec<Debt>, VerifierError> {
        Ok(debts(self.store, resource)?)
    }

    /// One step, made anew as long as others are faster.
    fn step(
        &self,
        under: Under<'_>,
        request: &RequestId,
        event: &Event<'_>,
        now: UnixTime,
    ) -> Result<(Said, Option<Approved>), VerifierError> {
        let Under { trust, manifest } = under;
        for _ in 0..MAX_OVERTAKEN {
            let record = self.store.request(request)?.ok_or(VerifierError::Unknown(*request))?;
            let grant = self.store.grant(request)?;
            let debts = self.debts(&record.challenge.request.resource)?;
            let counters = |key: &_| self.store.counter(key).map_err(|error| error.to_string());
            let context =
                Context { trust, manifest, now, counters: &counters, grant: grant.as_ref(), debts: &debts };
            let Step { mut change, said } =
                Ceremony::resume(&record, trust).map_err(Box::new)?.step(event, &context);
            if change.is_empty() {
                return Ok((said, None));
            }
            if !matches!(event, Event::NewTrust(_)) {
                change.insert(0, Op::Under(self.trust.version));
            }
            let positions = match (self.store.commit(&change), &said) {
                (Ok(positions), _) => positions,
                // The rejection was logged before.
                (Err(CommitError::Again), Said::Rejected(_)) => return Ok((said, None)),
                (Err(CommitError::Store(error)), _) => return Err(error.into()),
                (Err(CommitError::Again | CommitError::Grant(_) | CommitError::Overtaken), _) => {
                    self.check_in_force()?;
                    continue;
                }
            };
            return match (said, positions.last()) {
                (Said::Approved { grant, evidence }, Some(last)) => {
                    Ok((Said::Nothing, Some(Approved { grant, evidence, position: *last })))
                }
                (said, _) => Ok((said, None)),
            };
        }
        Err(VerifierError::Busy)
    }
}

/// The break-glass debts that are open on a resource, as a store has them.
///
/// # Errors
/// If it cannot tell.
pub fn debts(store: &dyn Store, resource: &Resource) -> Result<Vec<Debt>, StoreError> {
    let mut debts = Vec::new();
    for request in store.debts(resource)? {
        let missing = || StoreError { what: format!("debt {request}"), reason: "no such request".into() };
        let owed = store.request(&request)?.ok_or_else(missing)?;
        // Those who asked are known by the trust of then, too: whoever drops a name since stays a party.
        let files = store.trust_files(&owed.challenge.trust)?;
        let then = files.and_then(|files| Trust::from_files(&files).ok()).ok_or_else(missing)?;
        let asked = then.askers(&owed.challenge.request);
        let asked: Vec<String> = asked.names().map(str::to_owned).collect();
        let approved = owed.answers.into_iter().filter(|answer| answer.decision == "approve");
        let signers = approved.map(|answer| answer.person).chain(asked);
        let unpaid = || StoreError { what: format!("debt {request}"), reason: "not break-glass".into() };
        debts.push(Debt::new(owed.challenge, signers).ok_or_else(unpaid)?);
    }
    Ok(debts)
}

/// A version of trust and what it was made of.
#[derive(Clone, Copy)]
struct Under<'a> {
    trust: &'a Trust,
    manifest: &'a Manifest,
}

fn failed(error: CommitError) -> VerifierError {
    match error {
        CommitError::Store(error) => error.into(),
        CommitError::Again | CommitError::Grant(_) | CommitError::Overtaken => VerifierError::Busy,
    }
}
