//! Whether the log says the same as evidence, and from when.

use crate::audit::entry::Outcome;
use crate::audit::{Entry, LogProof, Receipt};
use crate::evidence::{Against, Decided, Evidence, EvidenceError};
use crate::trust::Trust;
use crate::unix_time::UnixTime;
use crate::verify::{CLOCK_SKEW, Unchecked};

use super::judge::Checked;

/// On whose word it is that the decision was made when it says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Time {
    /// On the verifier's own.
    OnItsWord,
    /// As many witnesses as trust demands had seen the log with it in, and that was while it could be decided.
    Witnessed {
        /// When, by the last one's clock.
        at: UnixTime,
        /// Who was last.
        by: String,
    },
}

/// What the log adds to the verdict.
pub(super) struct Logged {
    pub(super) receipt: Option<Receipt>,
    pub(super) time: Time,
    pub(super) checked: Vec<Checked>,
    pub(super) unchecked: Vec<Unchecked>,
}

/// Compares the log's entry with what the answers were found to make: `expected`, whose people may stand in any order.
pub(super) fn compare(
    evidence: &Evidence,
    decided: Decided,
    expected: &Entry,
    trust: &Trust,
    against: &Against<'_>,
) -> Result<Logged, EvidenceError> {
    let Some(log) = &evidence.log else {
        if against.next.is_some() {
            return Err(EvidenceError::NotLogged);
        }
        let unchecked = vec![Unchecked::Log, Unchecked::DecisionTime, Unchecked::Superseded];
        return Ok(Logged { receipt: None, time: Time::OnItsWord, checked: Vec::new(), unchecked });
    };
    let receipt = open(log, trust)?;
    check_entry(receipt.entry(), expected)?;
    let mut logged =
        Logged { time: Time::OnItsWord, checked: vec![Checked::Log], unchecked: Vec::new(), receipt: None };
    logged.witnessed(&receipt, evidence, decided)?;
    logged.followed(&receipt, trust, against)?;
    logged.receipt = Some(receipt);
    Ok(logged)
}

fn open(log: &LogProof, trust: &Trust) -> Result<Receipt, EvidenceError> {
    let key = trust.log_key.as_ref().ok_or(EvidenceError::NoLogKey)?;
    Ok(log.check(key, &trust.witnesses)?)
}

/// Field by field, so that the answer names what differs.
fn check_entry(found: &Entry, expected: &Entry) -> Result<(), EvidenceError> {
    let differs = |what| Err(EvidenceError::EntryDiffers { what });
    let (
        Entry::Decided { at, request, outcome, by, evidence, grant },
        Entry::Decided {
            at: expected_at,
            request: expected_request,
            outcome: expected_outcome,
            by: expected_by,
            evidence: expected_evidence,
            grant: expected_grant,
        },
    ) = (found, expected)
    else {
        return differs("kind");
    };
    if request != expected_request {
        return differs("request");
    }
    if outcome != expected_outcome {
        return differs("outcome");
    }
    if at != expected_at {
        return differs("time");
    }
    if sorted(by) != sorted(expected_by) {
        return differs("people");
    }
    if evidence != expected_evidence {
        return differs("evidence");
    }
    if grant != expected_grant {
        return differs("grant");
    }
    Ok(())
}

fn sorted(names: &[String]) -> Vec<&String> {
    let mut names: Vec<&String> = names.iter().collect();
    names.sort();
    names
}

impl Logged {
    /// A witness saw the decision, so it was made before. That is worth something if it was seen while the request
    /// was open: later, an expired answer could have been slipped in.
    fn witnessed(
        &mut self,
        receipt: &Receipt,
        evidence: &Evidence,
        Decided { at, .. }: Decided,
    ) -> Result<(), EvidenceError> {
        let Some(seen) = receipt.checkpoint().witnessed() else {
            self.unchecked.extend([Unchecked::DecisionTime, Unchecked::SplitView]);
            return Ok(());
        };
        let latest = seen.at.plus(CLOCK_SKEW);
        if at > latest {
            return Err(EvidenceError::DecisionTime { at, from: evidence.challenge.issued, to: latest });
        }
        if seen.at < evidence.challenge.expires.plus(CLOCK_SKEW) {
            self.time = Time::Witnessed { at: seen.at, by: seen.by.clone() };
            self.checked.push(Checked::Witnesses);
        } else {
            self.unchecked.push(Unchecked::DecisionTime);
        }
        Ok(())
    }

    /// A decision under one version of trust comes before the entry by which the next came into force.
    fn followed(
        &mut self,
        receipt: &Receipt,
        trust: &Trust,
        against: &Against<'_>,
    ) -> Result<(), EvidenceError> {
        let Some(next) = against.next else {
            self.unchecked.push(Unchecked::Superseded);
            return Ok(());
        };
        let next = open(next, trust)?;
        let version = match next.entry() {
            Entry::Trust { version, .. } if version.number == trust.version.number + 1 => *version,
            _ => return Err(EvidenceError::NotNext { expected: trust.version.number + 1 }),
        };
        let (one, other) = (receipt.checkpoint().checkpoint(), next.checkpoint().checkpoint());
        if one.size == other.size && one.root != other.root {
            return Err(EvidenceError::Fork { size: one.size });
        }
        if next.index() <= receipt.index() {
            return Err(EvidenceError::Superseded {
                by: version,
                at: next.index(),
                decided: receipt.index(),
            });
        }
        // Two sizes could be two logs: only whoever saw the one grow into the other knows.
        let witnessed = |receipt: &Receipt| receipt.checkpoint().witnessed().is_some();
        if one.size != other.size && !(witnessed(receipt) && witnessed(&next)) {
            self.unchecked
                .extend((!self.unchecked.contains(&Unchecked::SplitView)).then_some(Unchecked::SplitView));
        }
        self.checked.push(Checked::Order);
        Ok(())
    }
}

/// The entry that the log must hold for a refusal by these people.
pub(super) fn refusal(evidence: &Evidence, at: UnixTime, by: Vec<String>) -> Entry {
    let request = evidence.challenge.id;
    Entry::Decided { at, request, outcome: Outcome::Refused, by, evidence: None, grant: None }
}
