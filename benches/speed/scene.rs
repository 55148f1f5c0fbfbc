//! A deploy that alice asks for and signs: trust, challenges, statements and approvals.

use std::time::{Duration, SystemTime};

use openpgp::Cert;
use openpgp::serialize::SerializeInto as _;
use sequoia_openpgp as openpgp;

use touchgate::challenge::{Challenge, Terms};
use touchgate::request::{Mode, Parameters, Request};
use touchgate::response::Response;
use touchgate::sign;
use touchgate::statement::Decision;
use touchgate::text::Text;
use touchgate::trust::{Files, Trust};
use touchgate::unix_time::UnixTime;

use crate::Anyhow;
use crate::keys::{Algorithm, SoftwareKey, random};

/// Keys are older than what they sign, the oldest entry of a log that is made up here included.
pub(crate) const AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Longer than any bench takes, and as the rule below has it.
const ANSWER_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// One approver with one key, and the trust that says so.
pub(crate) struct Scene {
    pub(crate) key: SoftwareKey,
    pub(crate) cert: Cert,
    pub(crate) files: Files,
    pub(crate) trust: Trust,
}

/// How the signing key stands in its certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// It is the only key.
    Alone,
    /// It is a subkey, beside one that decrypts.
    Subkey,
}

impl Scene {
    pub(crate) fn new(algorithm: Algorithm, shape: Shape) -> Anyhow<Self> {
        let created = SystemTime::now() - AGE;
        let mut key = SoftwareKey::generate(algorithm, created)?;
        let cert = match shape {
            Shape::Alone => key.certificate(created)?,
            Shape::Subkey => {
                let mut primary = SoftwareKey::generate(algorithm, created)?;
                key.certificate_as_subkey(&mut primary, created)?
            }
        };
        let policy = format!(
            "audience = \"approve.example.com\"\nversion = 1\nvalid_until = \"{}\"\n\
             [[rule]]\naction = \"deploy\"\nresource = \"payments/*\"\n\
             need = [{{ from = \"@requester\" }}]\ntier = \"signed\"\nanswer_within = \"1d\"\n\
             [[rule]]\naction = \"touchgate.trust.update\"\n\
             need = [{{ from = \"@requester\" }}]\ntier = \"signed\"\n",
            UnixTime::now().plus(Duration::from_secs(365 * 24 * 3600)),
        );
        let person = format!(
            "identities = [\"github:alice\"]\n[[token]]\nserial = \"12345678\"\nkey = \"{}\"\n",
            key.fingerprint().to_hex(),
        );
        let files = Files::from([
            ("policy.toml".to_owned(), policy.into_bytes()),
            ("people/alice.toml".to_owned(), person.into_bytes()),
            ("tokens/12345678.asc".to_owned(), cert.armored().to_vec()?),
        ]);
        let trust = Trust::from_files(&files)?;
        Ok(Self { key, cert, files, trust })
    }

    /// A challenge unlike every other.
    pub(crate) fn challenge(&self) -> Anyhow<Challenge> {
        self.challenge_at(UnixTime::now())
    }

    /// The same, issued at another time.
    pub(crate) fn challenge_at(&self, issued: UnixTime) -> Anyhow<Challenge> {
        let text = |text: &str| Text::new(text);
        let request = Request {
            action: "deploy".parse()?,
            resource: "payments/prod".parse()?,
            parameters: Parameters::from([
                ("command".parse()?, text("./deploy.sh --region eu")?),
                ("commit".parse()?, text("git:4f2c9d0e6b1a8c7f3e5d2b4a9c8e7f6d5b4a3c2e")?),
            ]),
            requester: "github:alice".parse()?,
            via: Some("github:repo/acme/payments/ref/refs/heads/main".parse()?),
            requester_key: None,
            reason: Some(text("Release 2.4.1")?),
            mode: Mode::Ordinary,
        };
        let terms = Terms {
            audience: self.trust.audience.clone(),
            trust: self.trust.version,
            answer_within: ANSWER_WITHIN,
        };
        Ok(Challenge::issue(request, terms, issued, random()?)?)
    }

    /// A response that says yes to `challenge`, its signature in binary.
    pub(crate) fn approve(&mut self, challenge: Challenge) -> Anyhow<Response> {
        self.approve_at(challenge, SystemTime::now())
    }

    /// The same, signed at another time.
    pub(crate) fn approve_at(&mut self, challenge: Challenge, signed: SystemTime) -> Anyhow<Response> {
        let statement = challenge.decided(Decision::Approve).to_text().into_bytes();
        let signature = sign::detached(&mut self.key, &statement, signed)?;
        Ok(Response { statement, signature })
    }
}
