//! One order: of everything that is wrong the first is the answer.

use sequoia_openpgp::Fingerprint;
use touchgate::challenge::Challenge;
use touchgate::response::Response;
use touchgate::statement::Decision;
use touchgate::trust::Trust;
use touchgate::unix_time::UnixTime;
use touchgate::verify::{Entry, Ledger as _, OpenRequests, response};

use crate::case::fixtures;
use crate::draft::{NOW, SIGNED, seconds};
use crate::packets::{Recipe, issuer_fingerprint, our_notation, subpacket};
use crate::people;
use crate::team;

/// As `docs/protocol.md` has it: size, grammar, audience, trust, known, unexpired, bytes as issued, shape of the
/// signature, subpackets, notation, issuer, certificate, arithmetic, revoked here, creation time, rule, lifetime, tier,
/// person, recorded.
const ORDER: [&str; 21] = [
    "statement-too-large",
    "empty-line",
    "wrong-audience",
    "trust-expired",
    "trust-version",
    "unknown-request",
    "expired",
    "altered",
    "signature-type",
    "critical-subpacket",
    "notation-missing",
    "unknown-signer",
    "certificate-revoked",
    "bad-signature",
    "token-revoked",
    "creation-time",
    "no-rule",
    "lifetime",
    "tier",
    "not-allowed",
    "replayed",
];

/// The answer to a response in which exactly this is wrong.
fn judged(wrong: &[&str]) -> Result<(), String> {
    let is = |name: &str| wrong.contains(&name);
    let either = |name: &str, bad: &'static str, good: &'static str| if is(name) { bad } else { good };
    let signer = either("certificate-revoked", "kim", either("tier", "pam", "bob"));
    let version = team().version;
    let trust = match is("trust-version") {
        true => version.to_string().replace("7 ", "6 "),
        false => version.to_string(),
    };
    let tail = format!(
        "audience: {}\nrequest: 01KA8Y3V0GQ4M7ZT6XWB1HJ5C9\naction: deploy\nresource: {}\n\
         param.commit: git:4f2c9d0e6b1a8c7f3e5d2b4a9c8e7f6d5b4a3c2e\nrequester: github:{}\ntrust: {trust}\n\
         nonce: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\nissued: 2026-11-20T04:07:00Z\nexpires: {}\n",
        either("wrong-audience", "approve.example.org", "approve.example.com"),
        either("no-rule", "nobodys/prod", "payments/prod"),
        if is("not-allowed") { signer } else { "alice" },
        either("lifetime", "2026-11-20T05:22:00Z", "2026-11-20T04:22:00Z"),
    );
    let issued = match is("altered") {
        true => tail.replace("git:4f2c", "git:91ab"),
        false => tail.clone(),
    };
    let challenge = Challenge::parse(format!("touchgate v1 challenge\n{issued}").as_bytes()).unwrap();
    let mut ledger = OpenRequests::default();
    if !is("unknown-request") {
        ledger.open(challenge.clone());
    }
    let mut key = people::signer(signer);
    let fingerprint = key.public().fingerprint();
    if is("replayed") {
        let (request, decision) = (&challenge.id, &Decision::Approve);
        let entry = Entry { request, person: signer, decision, key: &fingerprint, before: None, after: None };
        ledger.record(&entry).unwrap();
    }
    let statement = format!("touchgate v1 approve\n{tail}").into_bytes();
    let created = seconds(either("creation-time", "2026-11-20T03:00:00Z", SIGNED));
    let mut recipe = Recipe::plain(&key, u32::try_from(created).unwrap());
    if is("signature-type") {
        recipe.typ = 1;
    }
    if is("critical-subpacket") {
        recipe.hashed.push(subpacket(0x80 | 100, b"x"));
    }
    if is("notation-missing") {
        // Behind the others: subpackets are judged as they stand.
        recipe.hashed.remove(2);
        recipe.hashed.push(subpacket(20, &our_notation(b"v2")));
    }
    if is("unknown-signer") {
        recipe.hashed[1] = issuer_fingerprint(&Fingerprint::from_bytes(4, &[7; 20]).unwrap());
    }
    let hashed = if is("bad-signature") { b"something else".to_vec() } else { statement.clone() };
    let signature = recipe.sign(&mut key, &hashed);
    let extra = match (is("statement-too-large"), is("empty-line")) {
        (true, _) => vec![b'\n'; 4096],
        (false, true) => vec![b'\n'],
        (false, false) => Vec::new(),
    };
    let answer = Response { statement: [statement, extra].concat(), signature };
    let mut trust = Trust::load(&fixtures("trust/team")).unwrap();
    if is("token-revoked") {
        trust.revoke([fingerprint]);
    }
    let now = either("trust-expired", "2027-03-01T00:00:00Z", either("expired", "2026-11-20T06:00:00Z", NOW));
    let now: UnixTime = now.parse().unwrap();
    response(&answer, &trust, &mut ledger, now).map(drop).map_err(|rejection| rejection.code().to_owned())
}

#[test]
fn of_all_that_is_wrong_the_first_is_the_answer() {
    for at in 0..ORDER.len() {
        assert_eq!(judged(&ORDER[at..]), Err(ORDER[at].to_owned()), "with everything behind it wrong, too");
        assert_eq!(judged(&ORDER[at..=at]), Err(ORDER[at].to_owned()), "alone");
    }
    assert_eq!(judged(&[]), Ok(()));
}
