//! The store as a model: what [`Op`] says, in maps, one change at a time.

use std::collections::{BTreeMap, BTreeSet};

use sequoia_openpgp::Fingerprint;
use touchgate::audit::Entry;
use touchgate::challenge::{RequestId, TrustVersion};
use touchgate::request::Resource;
use touchgate::store::{AnswerRecord, CommitError, GrantRecord, Op, Position, RequestRecord, Unusable};
use touchgate::trust::Files;
use touchgate::verify::Counter;

#[derive(Clone, Default)]
pub(crate) struct Model {
    pub(crate) requests: BTreeMap<RequestId, RequestRecord>,
    pub(crate) grants: BTreeMap<RequestId, GrantRecord>,
    pub(crate) log: Vec<Entry>,
    counters: BTreeMap<Fingerprint, Counter>,
    debts: BTreeMap<RequestId, Resource>,
    once: BTreeSet<(RequestId, String, &'static str)>,
    trust: BTreeMap<u64, (TrustVersion, Files)>,
}

impl Model {
    /// Applies one change, whole or not at all.
    pub(crate) fn apply(&mut self, change: &[Op]) -> Result<Vec<Position>, CommitError> {
        let mut next = self.clone();
        let mut positions = Vec::new();
        for op in change {
            if let Some(position) = next.one(op)? {
                positions.push(position);
            }
        }
        *self = next;
        Ok(positions)
    }

    fn one(&mut self, op: &Op) -> Result<Option<Position>, CommitError> {
        use CommitError::{Again, Overtaken};
        let unusable = |why| CommitError::Grant(why);
        match op {
            Op::Close { request, revision, outcome } => {
                let record = self.requests.get_mut(request).ok_or(Overtaken)?;
                if record.outcome.is_some() || record.revision != *revision {
                    return Err(Overtaken);
                }
                record.outcome = Some(*outcome);
            }
            Op::Counter { key, before, after } => {
                if self.counters.get(key) != before.as_ref() {
                    return Err(Overtaken);
                }
                self.counters.insert(key.clone(), *after);
            }
            Op::Debt { request, resource } => {
                self.debts.insert(*request, resource.clone());
            }
            Op::Debts { resource, seen } => {
                let open = self.debts.iter().filter(|(_, of)| *of == resource).map(|(request, _)| *request);
                if open.collect::<Vec<_>>() != *seen {
                    return Err(Overtaken);
                }
            }
            Op::Grant(grant) => {
                if self.grants.insert(grant.request, grant.clone()).is_some() {
                    return Err(Overtaken);
                }
            }
            Op::Log(entry) => {
                self.log.push(entry.clone());
                return Ok(Some(Position(self.log.len() as u64 - 1)));
            }
            Op::Once { request, person, code } => {
                if !self.once.insert((*request, person.clone(), *code)) {
                    return Err(Again);
                }
            }
            Op::Open(challenge) => {
                let code = challenge.id.short_code();
                let taken = |r: &RequestRecord| r.outcome.is_none() && r.challenge.id.short_code() == code;
                if self.requests.contains_key(&challenge.id) || self.requests.values().any(taken) {
                    return Err(Overtaken);
                }
                let record = RequestRecord {
                    challenge: (**challenge).clone(),
                    revision: 0,
                    outcome: None,
                    answers: Vec::new(),
                };
                self.requests.insert(challenge.id, record);
            }
            Op::Revoke { grant, used, at } => {
                let grant = self.grants.get_mut(grant).ok_or(unusable(Unusable::Unknown))?;
                if grant.revoked.is_some() {
                    return Err(unusable(Unusable::Revoked));
                }
                if grant.used != *used {
                    return Err(Overtaken);
                }
                grant.revoked = Some(*at);
            }
            Op::Settle { request } => {
                self.debts.remove(request).ok_or(Overtaken)?;
            }
            Op::Step { request, revision, answer } => {
                let record = self.requests.get_mut(request).ok_or(Overtaken)?;
                let same = |a: &AnswerRecord| a.person == answer.person && a.decision == answer.decision;
                if record.answers.iter().any(same) {
                    return Err(Again);
                }
                if record.revision != *revision {
                    return Err(Overtaken);
                }
                record.revision += 1;
                record.answers.push((**answer).clone());
            }
            Op::Trust { before, version, files } => {
                let newest = self.trust.last_key_value().map(|(_, (version, _))| *version);
                if newest != *before || newest.is_some_and(|newest| newest.number >= version.number) {
                    return Err(Overtaken);
                }
                self.trust.insert(version.number, (*version, files.clone()));
            }
            Op::Under(version) => {
                if self.trust.last_key_value().map(|(_, (newest, _))| *newest) != Some(*version) {
                    return Err(Overtaken);
                }
            }
            Op::Use { grant, count, at } => {
                let grant = self.grants.get_mut(grant).ok_or(unusable(Unusable::Unknown))?;
                if grant.revoked.is_some() {
                    return Err(unusable(Unusable::Revoked));
                }
                if *at >= grant.expires {
                    return Err(unusable(Unusable::Expired));
                }
                if grant.used >= grant.uses {
                    return Err(unusable(Unusable::Spent));
                }
                if grant.used + 1 != *count {
                    return Err(Overtaken);
                }
                grant.used += 1;
            }
        }
        Ok(None)
    }
}
