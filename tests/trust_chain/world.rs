//! Versions of one verifier's trust, and updates between them that real keys sign.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use touchgate::audit::entry::Outcome;
use touchgate::challenge::{Challenge, TrustVersion};
use touchgate::digest::Sha256Digest;
use touchgate::evidence::{Answered, Decided, Evidence};
use touchgate::response::Response;
use touchgate::statement::Decision;
use touchgate::trust::chain::{self, Versions};
use touchgate::trust::{Files, Trust, read_directory, versions};
use touchgate::unix_time::UnixTime;

use crate::case::fixtures;
use crate::packets::Recipe;
use crate::people;

/// When updates are begun, signed and decided.
pub(crate) const ISSUED: &str = "2026-11-20T00:00:00Z";
pub(crate) const SIGNED: &str = "2026-11-21T10:00:00Z";
pub(crate) const DECIDED: &str = "2026-11-22T10:00:00Z";
/// When they are judged.
pub(crate) const NOW: &str = "2026-12-01T00:00:00Z";

pub(crate) fn time(text: &str) -> UnixTime {
    text.parse().unwrap()
}

/// A version of trust: its files, changed from the test team's.
#[derive(Clone)]
pub(crate) struct Version(pub(crate) Files);

impl Version {
    /// Alice, bob, carol and grace are the admins, two of whom must sign an update; declared touch is enough.
    pub(crate) fn first() -> Self {
        let mut files = read_directory(&fixtures("trust/team")).unwrap();
        let policy = String::from_utf8(files["policy.toml"].clone()).unwrap();
        let (policy, _) = policy.split_once("[[rule]]\naction        = \"touchgate.trust.update\"").unwrap();
        let rule = "[[rule]]\naction = \"touchgate.trust.update\"\ntier = \"declared\"\n\
                    need = [{ from = \"admins\", count = 2 }]\nanswer_within = \"7d\"\n";
        files.insert("policy.toml".into(), format!("{policy}{rule}").into_bytes());
        let version = Self(files).groups("alice", "\"admins\"").groups("bob", "\"admins\", \"security\"");
        version.groups("carol", "\"admins\"").groups("grace", "\"admins\"")
    }

    /// The next one, the same but for its number.
    pub(crate) fn next(&self) -> Self {
        let number = self.trust().version.number;
        self.edit("policy.toml", &format!("version     = {number}"), &format!("version     = {}", number + 1))
    }

    /// The same with one text in one file replaced, which must be there.
    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) -> Self {
        let mut files = self.0.clone();
        let text = String::from_utf8(files[path].clone()).unwrap();
        assert!(text.contains(from), "{path} has no {from:?}:\n{text}");
        files.insert(path.into(), text.replacen(from, to, 1).into_bytes());
        Self(files)
    }

    /// The same with other groups for one person.
    pub(crate) fn groups(&self, person: &str, groups: &str) -> Self {
        let path = format!("people/{person}.toml");
        let text = String::from_utf8(self.0[&path].clone()).unwrap();
        let line = text.lines().find(|line| line.starts_with("groups")).unwrap().to_owned();
        self.edit(&path, &line, &format!("groups     = [{groups}]"))
    }

    /// The same with the key of mallory, whom nobody else's record lists, as one more token of a person.
    pub(crate) fn second_token(&self, person: &str, serial: &str) -> Self {
        let mut next = self.clone();
        let path = format!("people/{person}.toml");
        let key = people::signer("mallory").public().fingerprint().to_hex();
        let token =
            format!("\n[[token]]\nserial = \"{serial}\"\nkey    = \"{key}\"\ntouch  = \"declared\"\n");
        next.0.get_mut(&path).unwrap().extend_from_slice(token.as_bytes());
        let certificate = fs::read(fixtures("signature/keys/mallory.asc")).unwrap();
        next.0.insert(format!("tokens/{serial}.asc"), certificate);
        next
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::from_files(&self.0).unwrap()
    }

    pub(crate) fn version(&self) -> TrustVersion {
        self.trust().version
    }

    pub(crate) fn digest(&self) -> Sha256Digest {
        versions::digest(&self.0)
    }
}

/// The request to go from one to the other.
pub(crate) fn asked(old: &Version, new: &Version) -> Challenge {
    let nobody = "os:nobody@here".parse().unwrap();
    chain::challenge(&old.trust(), &new.version(), &nobody, time(ISSUED)).unwrap()
}

/// What somebody signs of a challenge.
pub(crate) fn answer(challenge: &Challenge, name: &str, decision: Decision, at: &str) -> Answered {
    let statement = challenge.clone().decided(decision).to_text().into_bytes();
    let mut key = people::signer(name);
    let created = u32::try_from(time(at).seconds()).unwrap();
    let signature = Recipe::plain(&key, created).sign(&mut key, &statement);
    Answered::new(&Response { statement, signature }, None, Some(time(at))).unwrap()
}

pub(crate) fn approvals(challenge: &Challenge, names: &[&str]) -> Vec<Answered> {
    names.iter().map(|name| answer(challenge, name, Decision::Approve, SIGNED)).collect()
}

/// An update as these answers decide it.
pub(crate) fn update_of(
    old: &Version,
    new: &Version,
    challenge: Challenge,
    answers: Vec<Answered>,
) -> Evidence {
    let begun = chain::begin(&old.trust(), &old.0, &new.trust(), &new.0, challenge, answers);
    let mut evidence = begun.unwrap();
    evidence.decision = Some(Decided { outcome: Outcome::Approved, at: time(DECIDED) });
    evidence
}

/// An update that these people approve.
pub(crate) fn update(old: &Version, new: &Version, names: &[&str]) -> Evidence {
    let challenge = asked(old, new);
    let answers = approvals(&challenge, names);
    update_of(old, new, challenge, answers)
}

/// The directory of a version, with updates below it.
pub(crate) struct Directory(pub(crate) TempDir);

impl Directory {
    pub(crate) fn new(version: &Version, updates: &[(&str, &[u8])]) -> Self {
        let directory = Self(tempfile::tempdir().unwrap());
        for (path, bytes) in &version.0 {
            directory.write(path, bytes);
        }
        for (name, bytes) in updates {
            directory.write(&format!("versions/{name}"), bytes);
        }
        directory
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Where the chain leads from a pin, or why it does not.
    pub(crate) fn follow(&self, pin: &TrustVersion) -> Result<Vec<u64>, chain::ChainError> {
        let digest = versions::digest(&read_directory(self.path()).unwrap());
        let found = Versions::read_directory(self.path())?;
        let way = chain::follow(pin, &digest, &found, time(NOW))?;
        Ok(way.iter().map(|version| version.number).collect())
    }
}
