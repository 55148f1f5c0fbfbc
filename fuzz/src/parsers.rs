//! What stands around what is parsed: trust, keys, a moment.

use std::path::Path;
use std::sync::LazyLock;

use touchgate::audit::LogKey;
use touchgate::challenge::Audience;
use touchgate::digest::Sha256Digest;
use touchgate::grant::{GrantKey, GrantKeys};
use touchgate::request::{Mode, Parameters, Request};
use touchgate::trust::Trust;
use touchgate::unix_time::UnixTime;

/// The policy of the fixtures.
pub const POLICY: &[u8] = include_bytes!("../../fixtures/trust/team/policy.toml");
/// Somebody without a token.
pub const PERSON: &[u8] =
    b"groups = [\"release\", \"security\", \"admins\"]\nidentities = [\"github:zoe\"]\n";
/// A certificate of the fixtures.
pub const CERTIFICATE: &[u8] = include_bytes!("../../fixtures/trust/team/tokens/1002.asc");
/// The key that the seeds of checkpoints and proofs are signed with. Its secret half was thrown away.
const LOG_KEY: &str = include_str!("../seeds/log-key");
/// The same of tokens: ES256, base64.
const GRANT_KEY: &str = include_str!("../seeds/grant-key");

/// Within the lifetime of what the fixtures show.
pub fn noon() -> UnixTime {
    "2026-11-20T04:10:00Z".parse().expect("a time")
}

/// The trust of the fixtures, loaded once.
pub fn team() -> &'static Trust {
    static TEAM: LazyLock<Trust> = LazyLock::new(|| {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/trust/team");
        Trust::load(&directory).expect("the fixtures load")
    });
    &TEAM
}

/// A deploy that the policy of the fixtures admits.
pub fn request() -> &'static Request {
    static REQUEST: LazyLock<Request> = LazyLock::new(|| Request {
        action: "deploy".parse().expect("an action"),
        resource: "staging/eu".parse().expect("a resource"),
        parameters: Parameters::new(),
        requester: "github:zoe".parse().expect("an identity"),
        via: None,
        requester_key: None,
        reason: None,
        mode: Mode::Ordinary,
    });
    &REQUEST
}

/// The key of the seeds' log.
pub fn log_key() -> &'static LogKey {
    static KEY: LazyLock<LogKey> = LazyLock::new(|| LOG_KEY.trim_end().parse().expect("a key"));
    &KEY
}

/// The keys of the seeds' tokens.
pub fn grant_keys() -> &'static GrantKeys {
    static KEYS: LazyLock<GrantKeys> = LazyLock::new(|| {
        let key = GrantKey::parse("1", "ES256", GRANT_KEY.trim_end()).expect("a key");
        GrantKeys::new(vec![key]).expect("one key")
    });
    &KEYS
}

/// The gate that they are for.
pub fn gate() -> &'static Audience {
    static GATE: LazyLock<Audience> = LazyLock::new(|| "approve.example.com".parse().expect("a name"));
    &GATE
}

/// The key that they are bound to.
pub fn presenter() -> &'static Sha256Digest {
    static PRESENTER: LazyLock<Sha256Digest> = LazyLock::new(|| Sha256Digest::of(b"the presenter's key"));
    &PRESENTER
}
