//! Trust that a test writes itself, and answers under it.

use std::fmt::Write as _;
use std::fs;

use touchgate::challenge::{Challenge, Terms};
use touchgate::request::{Mode, Parameters, Request};
use touchgate::response::Response;
use touchgate::statement::Decision;
use touchgate::text::Text;
use touchgate::trust::quorum::{Circumstances, NotMet, QuorumMet, decide};
use touchgate::trust::{Files, Trust, TrustError};
use touchgate::unix_time::UnixTime;
use touchgate::verify::{Approval, OpenRequests, Refusal, Rejection, Verified, response};

use crate::case::fixtures;
use crate::packets::Recipe;
use crate::people;

/// When things are asked,
pub(crate) const ASKED: &str = "2026-11-20T04:07:00Z";
/// and answered and decided.
pub(crate) const NOW: &str = "2026-11-20T04:12:00Z";

pub(crate) fn time(text: &str) -> UnixTime {
    text.parse().unwrap()
}

/// Files of trust, person by person.
#[derive(Clone)]
pub(crate) struct Draft(pub(crate) Files);

impl Draft {
    /// These rules, one for updates, and nobody.
    pub(crate) fn new(rules: &str) -> Self {
        let policy = format!(
            "audience = \"approve.example.com\"\nversion = 1\nvalid_until = \"2027-03-01T00:00:00Z\"\n\
             [[rule]]\naction = \"touchgate.trust.update\"\nneed = [{{ from = \"admins\" }}]\ntier = \"signed\"\n{rules}"
        );
        Self(Files::from([("policy.toml".into(), policy.into_bytes())]))
    }

    /// Somebody with a file of their own and the tokens of these members of the test team.
    pub(crate) fn person(mut self, name: &str, groups: &[&str], tokens: &[&str]) -> Self {
        let mut file =
            format!("groups = {groups:?}\nidentities = [\"github:{name}\", \"os:{name}@build1\"]\n");
        for token in tokens {
            let roster = fs::read_to_string(fixtures(&format!("trust/team/people/{token}.toml"))).unwrap();
            let (_, token) = roster.split_once("[[token]]").unwrap();
            let serial = token.split('"').nth(1).unwrap();
            write!(file, "[[token]]{token}").unwrap();
            let path = format!("tokens/{}.asc", serial.replace(':', "-"));
            let certificate = fs::read(fixtures("trust/team").join(&path)).unwrap();
            self.0.insert(path, certificate);
        }
        self.0.insert(format!("people/{name}.toml"), file.into_bytes());
        self
    }

    /// Members of the test team under their own names, all in these groups.
    pub(crate) fn people(self, names: &[&str], groups: &[&str]) -> Self {
        names.iter().fold(self, |draft, name| draft.person(name, groups, &[name]))
    }

    /// One file changed.
    pub(crate) fn with(mut self, path: &str, from: &str, to: &str) -> Self {
        let text = String::from_utf8(self.0[path].clone()).unwrap();
        assert!(text.contains(from), "{from:?} is not in {path}");
        self.0.insert(path.into(), text.replace(from, to).into_bytes());
        self
    }

    pub(crate) fn load(&self) -> Result<Trust, TrustError> {
        Trust::from_files(&self.0)
    }

    pub(crate) fn trust(&self) -> Trust {
        self.load().unwrap()
    }
}

/// A rule for `deploy` at the lowest tier, so that every key of the team will do.
pub(crate) fn rule(resource: &str, need: &str) -> String {
    format!("[[rule]]\naction = \"deploy\"\nresource = \"{resource}\"\nneed = [{need}]\ntier = \"signed\"\n")
}

/// What `requester` asks for.
pub(crate) fn request(resource: &str, requester: &str) -> Request {
    Request {
        action: "deploy".parse().unwrap(),
        resource: resource.parse().unwrap(),
        parameters: Parameters::new(),
        requester: requester.parse().unwrap(),
        via: None,
        requester_key: None,
        reason: None,
        mode: Mode::Ordinary,
    }
}

/// The same through the glass.
pub(crate) fn emergency(resource: &str, requester: &str) -> Request {
    let reason = Some(Text::new("fire").unwrap());
    Request { mode: Mode::BreakGlass, reason, ..request(resource, requester) }
}

/// The challenge of a request, `number` making it unlike others.
pub(crate) fn issue(trust: &Trust, request: Request, number: u8) -> Challenge {
    let answer_within =
        trust.admit(&request).map_or_else(|error| panic!("{error}"), |rule| rule.answer_within);
    let terms = Terms { audience: trust.audience.clone(), trust: trust.version, answer_within };
    Challenge::issue(request, terms, time(ASKED), [number; 42]).unwrap()
}

/// What `name`'s key signs at this time.
pub(crate) fn signed(challenge: &Challenge, name: &str, decision: Decision, at: UnixTime) -> Response {
    let statement = challenge.clone().decided(decision).to_text().into_bytes();
    let mut key = people::signer(name);
    let signature = Recipe::plain(&key, u32::try_from(at.seconds()).unwrap()).sign(&mut key, &statement);
    Response { statement, signature }
}

/// The memory of a verifier that asked this and nothing else.
pub(crate) fn ledger(challenge: &Challenge) -> OpenRequests {
    let mut ledger = OpenRequests::default();
    ledger.open(challenge.clone());
    ledger
}

pub(crate) fn judged(
    trust: &Trust,
    challenge: &Challenge,
    name: &str,
    decision: Decision,
) -> Result<Verified, Rejection> {
    let answer = signed(challenge, name, decision, time(NOW));
    response(&answer, trust, &mut ledger(challenge), time(NOW))
}

pub(crate) fn approved(trust: &Trust, challenge: &Challenge, name: &str) -> Result<Approval, Rejection> {
    match judged(trust, challenge, name, Decision::Approve)? {
        Verified::Approved(approval) => Ok(approval),
        Verified::Refused(_) => panic!("{name}: an approval was read as a refusal"),
    }
}

pub(crate) fn approval(trust: &Trust, challenge: &Challenge, name: &str) -> Approval {
    approved(trust, challenge, name).unwrap_or_else(|rejection| panic!("{name}: {rejection}"))
}

pub(crate) fn approvals(trust: &Trust, challenge: &Challenge, names: &[&str]) -> Vec<Approval> {
    names.iter().map(|name| approval(trust, challenge, name)).collect()
}

pub(crate) fn refused(trust: &Trust, challenge: &Challenge, name: &str) -> Result<Refusal, Rejection> {
    match judged(trust, challenge, name, Decision::Refuse { because: None })? {
        Verified::Refused(refusal) => Ok(refusal),
        Verified::Approved(_) => panic!("{name}: a refusal was read as an approval"),
    }
}

/// Decided now, with nobody set aside and no debt open.
pub(crate) fn decided(
    trust: &Trust,
    challenge: &Challenge,
    approvals: Vec<Approval>,
) -> Result<QuorumMet, NotMet> {
    decide(trust, challenge, approvals, Circumstances::default(), time(NOW))
}

/// Fingerprints of the signing subkey and of the primary key of a member of the test team.
pub(crate) fn keys_of(member: &str) -> (String, String) {
    let hex = |key: sequoia_openpgp::crypto::KeyPair| key.public().fingerprint().to_hex();
    (hex(people::signer(member)), hex(people::primary(member)))
}

/// The token with this serial, in `person`'s record, holds the key of `member` under another creation time.
pub(crate) fn redated(draft: Draft, person: &str, member: &str, serial: &str) -> Draft {
    use sequoia_openpgp::packet::Key;
    use sequoia_openpgp::packet::key::{Key4, PrimaryRole, PublicParts};
    use sequoia_openpgp::serialize::MarshalInto as _;

    let key = people::primary(member);
    let public = key.public();
    let made = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_780_000_000);
    let redated: Key<PublicParts, PrimaryRole> =
        Key4::new(made, public.pk_algo(), public.mpis().clone()).unwrap().into();
    let cert =
        sequoia_openpgp::Cert::from_packets([sequoia_openpgp::Packet::from(redated)].into_iter()).unwrap();
    let path = format!("people/{person}.toml");
    let file = String::from_utf8(draft.0[&path].clone()).unwrap();
    let (_, rest) = file.split_once(&format!("serial = \"{serial}\"")).unwrap();
    let old = rest.split('"').nth(1).unwrap().to_owned();
    let mut draft = draft.with(&path, &old, &cert.fingerprint().to_hex());
    draft.0.insert(format!("tokens/{serial}.asc"), cert.to_vec().unwrap());
    draft
}
