//! A verifier with keys of both kinds, one person who approves, and a log of one entry.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use touchgate::audit::tree::leaf_hash;
use touchgate::audit::{Entry, LogSigner, Receipt};
use touchgate::challenge::{Challenge, Terms};
use touchgate::digest::Sha256Digest;
use touchgate::grant::{Algorithm, Genuine, Grant, GrantRejection, GrantSigner, SealedGrant, check};
use touchgate::request::{Mode, Request};
use touchgate::response::Response;
use touchgate::statement::Decision;
use touchgate::text::Text;
use touchgate::trust::quorum::{self, Circumstances, QuorumMet};
use touchgate::trust::{Files, Trust};
use touchgate::unix_time::UnixTime;
use touchgate::verify::{OpenRequests, Verified, response};

use crate::packets::Recipe;
use crate::people;

pub(crate) const AUDIENCE: &str = "approve.example.com";

/// Rules after those of the team. Nobody but security has the say over payroll/prod.
const RULES: &str = r#"
[[rule]]
action   = "deploy"
resource = "payroll/**"
need     = [{ from = "release" }]
tier     = "signed"
grant    = { lasts = "10m", uses = 3, narrow = true }

[[rule]]
action   = "deploy"
resource = "payroll/prod/**"
need     = [{ from = "security" }]
tier     = "signed"
grant    = { lasts = "10m", uses = 3, narrow = true }
"#;

pub(crate) struct World {
    pub(crate) trust: Trust,
    pub(crate) files: Files,
    /// When everything is decided.
    pub(crate) now: UnixTime,
    pub(crate) es: GrantSigner,
    pub(crate) ed: GrantSigner,
    /// PKCS#8 of the same.
    pub(crate) es_secret: Vec<u8>,
    pub(crate) ed_secret: Vec<u8>,
    pub(crate) log_secret: Vec<u8>,
    log: LogSigner,
}

/// When everything is decided, unless a test says otherwise.
pub(crate) fn now() -> UnixTime {
    "2026-11-20T04:12:00Z".parse().unwrap()
}

pub(crate) fn later(seconds: u64) -> UnixTime {
    UnixTime::from_seconds(now().seconds() + seconds).unwrap()
}

/// The thumbprint of the key that grants are bound to here.
pub(crate) fn presenter() -> Sha256Digest {
    Sha256Digest::of(b"the presenter's key")
}

pub(crate) fn request(action: &str, resource: &str) -> Request {
    let image = Sha256Digest::of(b"app.tar").to_string();
    let parameters = [("command", "./deploy.sh --region eu"), ("image", image.as_str())];
    Request {
        action: action.parse().unwrap(),
        resource: resource.parse().unwrap(),
        parameters: parameters.map(|(name, value)| (name.parse().unwrap(), Text::new(value).unwrap())).into(),
        requester: "github:alice".parse().unwrap(),
        via: None,
        requester_key: Some(presenter()),
        reason: None,
        mode: Mode::Ordinary,
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::at(now())
    }

    pub(crate) fn at(now: UnixTime) -> Self {
        let es_secret = GrantSigner::generate(Algorithm::Es256).unwrap().to_vec();
        let ed_secret = GrantSigner::generate(Algorithm::EdDsa).unwrap().to_vec();
        let es = GrantSigner::from_pkcs8("es", &es_secret).unwrap();
        let ed = GrantSigner::from_pkcs8("ed", &ed_secret).unwrap();
        let (log, log_secret) = LogSigner::generate(AUDIENCE).unwrap();
        let mut files: Files = people::trust_directory()
            .into_iter()
            .map(|(path, bytes)| (path.strip_prefix("trust/team/").unwrap().to_owned(), bytes))
            .collect();
        let policy = String::from_utf8(files["policy.toml"].clone()).unwrap();
        // Some tests go by today's clock.
        let policy = policy.replace("2027-03-01", "2199-03-01");
        let mut keys = format!("log_key = \"{}\"\n", log.key());
        for key in [es.key(), ed.key()] {
            let (kid, alg, key) = (key.kid(), key.algorithm(), key.to_base64());
            keys += &format!("[[grant_key]]\nkid = \"{kid}\"\nalg = \"{alg}\"\nkey = \"{key}\"\n");
        }
        let first_rule = policy.find("[[rule]]").unwrap();
        let policy = format!("{}{keys}\n{}{RULES}", &policy[..first_rule], &policy[first_rule..]);
        files.insert("policy.toml".into(), policy.into_bytes());
        let trust = Trust::from_files(&files).unwrap();
        let log_secret = log_secret.to_vec();
        Self { trust, files, now, es, ed, es_secret, ed_secret, log_secret, log }
    }

    pub(crate) fn challenge(&self, request: Request) -> Challenge {
        let rule = self.trust.admit(&request).unwrap();
        let terms = Terms {
            audience: self.trust.audience.clone(),
            trust: self.trust.version,
            answer_within: rule.answer_within,
        };
        let issued = UnixTime::from_seconds(self.now.seconds() - 120).unwrap();
        let mut randomness = [0; 42];
        aws_lc_rs::rand::fill(&mut randomness).unwrap();
        Challenge::issue(request, terms, issued, randomness).unwrap()
    }

    /// Bob approves.
    pub(crate) fn met(&self, challenge: &Challenge) -> QuorumMet {
        let statement = challenge.clone().decided(Decision::Approve).to_text().into_bytes();
        let mut key = people::signer("bob");
        let signature =
            Recipe::plain(&key, u32::try_from(self.now.seconds()).unwrap()).sign(&mut key, &statement);
        let mut ledger = OpenRequests::default();
        ledger.open(challenge.clone());
        let verified = response(&Response { statement, signature }, &self.trust, &mut ledger, self.now);
        let Ok(Verified::Approved(approval)) = verified else { panic!("{verified:?}") };
        quorum::decide(&self.trust, challenge, vec![approval], Circumstances::default(), self.now).unwrap()
    }

    pub(crate) fn sealed(&self, request: Request) -> SealedGrant {
        let challenge = self.challenge(request);
        SealedGrant::new(self.met(&challenge), Sha256Digest::of(b"evidence"), self.now)
    }

    /// What a log of nothing else says to an entry.
    pub(crate) fn receipt(&self, entry: &Entry) -> Receipt {
        logged(&self.log, entry)
    }

    pub(crate) fn grant(&self, request: Request, signer: &GrantSigner) -> Grant {
        let sealed = self.sealed(request);
        let receipt = self.receipt(&sealed.entry());
        sealed.open(&receipt, signer).unwrap()
    }

    /// The gate's answer, one second after the decision.
    pub(crate) fn gate(&self, token: &str) -> Result<Genuine, GrantRejection> {
        check(token, &self.trust.grant_keys, &self.trust.audience, later(1), Some(&presenter()))
    }
}

pub(crate) fn logged(log: &LogSigner, entry: &Entry) -> Receipt {
    let line = entry.to_line().unwrap();
    let checkpoint = log.sign(1, leaf_hash(line.as_bytes()));
    Receipt::under(&checkpoint, line.as_bytes(), 0, &[]).unwrap()
}

/// One part of a token, decoded.
pub(crate) fn part(token: &str, index: usize) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap()).unwrap()
}
