//! People and their tokens.
//!
//! ```toml
//! # people/alice.toml
//! groups     = ["release", "admins"]
//! identities = ["github:alice", "os:alice@build1"]
//!
//! [[token]]
//! serial = "12345678"            # printed on the token; other makers: "000f:00c0ffe1"
//! key    = "AF37…"               # fingerprint of the signing (sub)key on this token
//! touch  = "declared"            # an administrator says that this key needs a touch
//! ```
//!
//! The certificate lies in `tokens/12345678.asc` (`tokens/000f-00c0ffe1.asc`), a YubiKey's attestation of the key,
//! if there is one, in `tokens/12345678.attestation.pem`: the attestation first, what leads to Yubico's root after it.

use std::collections::{HashMap, HashSet};

use sequoia_openpgp as openpgp;
use sequoia_openpgp::Cert;
use sequoia_openpgp::Fingerprint;
use sequoia_openpgp::parse::Parse as _;
use serde::Deserialize;

use crate::armor;
use crate::card::attestation::{Anchor, Attestation, AttestationError, read_certificates, verify_under};
use crate::request::Identity;
use crate::trust::policy::is_group;
use crate::trust::{Extent, Files, TrustError, toml_file};
use crate::unix_time::UnixTime;
use crate::verify::SigningKey;

/// How the file of a certificate ends.
const CERTIFICATE: &str = ".asc";
/// How the file of an attestation ends.
const ATTESTATION: &str = ".attestation.pem";
/// The most threads that read people's files: beyond that they wait for memory.
const MAX_THREADS: usize = 8;
/// The fewest files for which a thread pays: some milliseconds' work.
const LEAST_PART: usize = 64;

/// people/NAME.toml as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonFile {
    #[serde(default)]
    groups: Vec<String>,
    identities: Vec<String>,
    #[serde(default)]
    token: Vec<TokenFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    serial: String,
    key: String,
    touch: Option<String>,
}

/// Somebody whose approval may count.
#[derive(Debug)]
pub struct Person {
    /// The name of their file without its ending; unique.
    pub name: String,
    /// The groups they belong to.
    pub groups: Vec<String>,
    /// Every name under which they may ask.
    pub identities: Vec<Identity>,
    /// What they hold.
    pub tokens: Vec<Token>,
    /// The serials of those that they hold, too, and whose certificates evidence left out. Empty in whole trust.
    pub left_out: Vec<String>,
}

/// A token that somebody holds, and the key on it.
#[derive(Debug)]
pub struct Token {
    /// As printed on it, or maker:serial.
    pub serial: String,
    /// The key on it that signs.
    pub key: SigningKey,
    /// Whether an administrator says that this key needs a touch.
    pub touch_declared: bool,
    /// What trust holds as the attestation of a key on this token, believed or not. What it is worth is for
    /// [`crate::verify::tier()`] to say.
    pub attestation: Option<Result<Attestation, AttestationError>>,
}

/// Why the people and their tokens cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// A value that the key does not take.
    #[error("{path}: {key} = {found:?}: expected {expected}")]
    BadValue {
        /// Below the directory.
        path: String,
        /// The key.
        key: &'static str,
        /// What it was set to.
        found: String,
        /// What it takes.
        expected: &'static str,
    },
    /// The file holds no certificates, or too much.
    #[error("{path}: {error}")]
    Attestation {
        /// Below the directory.
        path: String,
        /// What is wrong with it.
        error: AttestationError,
    },
    /// The file is not one OpenPGP certificate with that key in it.
    #[error("{path}: {what}")]
    Certificate {
        /// Below the directory.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// A serial, a key or an identity stands twice.
    #[error("{path}: {what} {value} is listed before, for {holder}")]
    Duplicate {
        /// Below the directory.
        path: String,
        /// Serial, key or identity.
        what: &'static str,
        /// Which.
        value: String,
        /// Who has it already.
        holder: String,
    },
    /// A file below people/ or tokens/ that nothing uses.
    #[error("{path}: nobody's record names this file")]
    Unused {
        /// Below the directory.
        path: String,
    },
}

impl RosterError {
    /// The stable name of this error, explained in `docs/trust.md`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Attestation { .. } => "bad-attestation",
            Self::BadValue { .. } => "bad-value",
            Self::Certificate { .. } => "bad-certificate",
            Self::Duplicate { .. } => "duplicate",
            Self::Unused { .. } => "unused-file",
        }
    }
}

/// What a person's file is judged by.
#[derive(Clone, Copy)]
struct Loading<'a> {
    files: &'a Files,
    roots: &'a [Anchor],
    ends: UnixTime,
    extent: Extent,
}

impl Loading<'_> {
    /// Judges the certificates of one attestation file.
    fn judge(&self, certificates: &[Vec<u8>]) -> Result<Attestation, AttestationError> {
        let (attestation, others) = certificates.split_first().ok_or(AttestationError::NoCertificate)?;
        verify_under(attestation, others, self.roots, self.ends)
    }
}

/// All people of one version.
#[derive(Debug)]
pub struct Roster {
    people: Vec<Person>,
    /// Key to person and token, by index.
    keys: HashMap<Fingerprint, (usize, usize)>,
    identities: HashMap<Identity, usize>,
    /// Who is in which group, by index.
    groups: HashMap<String, Vec<usize>>,
}

/// Who has what, of all that may stand in a roster once only.
#[derive(Default)]
struct Taken {
    serials: HashMap<String, usize>,
    /// The same key material under another creation time has another fingerprint.
    materials: HashMap<Vec<u8>, usize>,
    /// The material of keys that certify those.
    certifiers: HashMap<Vec<u8>, usize>,
    /// What the files below tokens/ are called that somebody's record names, without their endings.
    stems: HashSet<String>,
}

impl Roster {
    /// Attestations are judged under these roots, at the moment at which this version of trust ends: so that
    /// they hold as long as it does, and it loads alike whenever it is loaded.
    ///
    /// Of files that were only proved, a token whose certificate is not among them is left out.
    pub(crate) fn new(
        files: &Files,
        roots: &[Anchor],
        ends: UnixTime,
        extent: Extent,
    ) -> Result<Self, TrustError> {
        let people = files.range("people/".to_owned()..).take_while(|(path, _)| path.starts_with("people/"));
        let people: Vec<(&String, &Vec<u8>)> = people.collect();
        let loading = Loading { files, roots, ends, extent };
        let mut roster = Self {
            people: Vec::with_capacity(people.len()),
            keys: HashMap::new(),
            identities: HashMap::new(),
            groups: HashMap::new(),
        };
        let mut taken = Taken::default();
        for draft in on_all_cores(&people, &|(path, bytes)| Draft::read(path, bytes, loading)) {
            roster.add(draft?, &mut taken)?;
        }
        for path in files.keys().filter(|path| path.starts_with("tokens/")) {
            let stem = path.strip_suffix(ATTESTATION).or_else(|| path.strip_suffix(CERTIFICATE));
            if !stem.is_some_and(|stem| taken.stems.contains(stem)) {
                return Err(RosterError::Unused { path: path.clone() }.into());
            }
        }
        Ok(roster)
    }

    fn add(&mut self, draft: Draft<'_>, taken: &mut Taken) -> Result<(), TrustError> {
        let Draft { name, path, groups, identities: found, tokens: read } = draft;
        let index = self.people.len();
        let people = &self.people;
        let duplicate = |what, value: &dyn ToString, holder: usize| RosterError::Duplicate {
            path: path.into(),
            what,
            value: value.to_string(),
            holder: people.get(holder).map_or(name, |person| &person.name).into(),
        };
        if let Some(found) = groups.iter().find(|group| !is_group(group)) {
            return Err(RosterError::BadValue {
                path: path.into(),
                key: "groups",
                found: found.clone(),
                expected: "words of printable ASCII without spaces, 128 bytes at most, not beginning with @",
            }
            .into());
        }
        let mut identities = Vec::new();
        for identity in found {
            let identity = identity?;
            if let Some(other) = self.identities.insert(identity.clone(), index) {
                return Err(duplicate("identity", &identity, other).into());
            }
            identities.push(identity);
        }
        let (mut tokens, mut left_out) = (Vec::new(), Vec::new());
        for (serial, token) in read {
            if let Some(other) = taken.serials.insert(serial.clone(), index) {
                return Err(duplicate("serial", &serial, other).into());
            }
            let Some((token, certifier)) = token? else {
                left_out.push(serial);
                continue;
            };
            let fingerprint = token.key.fingerprint().clone();
            if let Some((other, _)) = self.keys.insert(fingerprint.clone(), (index, tokens.len())) {
                return Err(duplicate("key", &fingerprint.to_hex(), other).into());
            }
            // Whoever holds the key that certifies can make as many keys under it as they like: they are one person's.
            let own = token.key.material().to_vec();
            let of_another = |keys: &HashMap<Vec<u8>, usize>, key: &[u8]| {
                keys.get(key).copied().filter(|holder| *holder != index)
            };
            if certifier != own {
                let held = of_another(&taken.certifiers, &certifier)
                    .or_else(|| of_another(&taken.materials, &certifier));
                if let Some(other) = held {
                    return Err(duplicate("certificate of", &fingerprint.to_hex(), other).into());
                }
                taken.certifiers.insert(certifier, index);
            }
            let certifies = of_another(&taken.certifiers, &own);
            if let Some(other) = certifies.or_else(|| taken.materials.insert(own, index)) {
                return Err(duplicate("key material of", &fingerprint.to_hex(), other).into());
            }
            taken.stems.insert(stem(&serial));
            tokens.push(token);
        }
        for group in &groups {
            let members = self.groups.entry(group.clone()).or_default();
            if members.last() != Some(&index) {
                members.push(index);
            }
        }
        self.people.push(Person { name: name.into(), groups, identities, tokens, left_out });
        Ok(())
    }

    /// Everybody, by name.
    pub fn people(&self) -> &[Person] {
        &self.people
    }

    /// Everybody in a group, by name.
    pub fn members(&self, group: &str) -> impl Iterator<Item = &Person> + use<'_> {
        let members = self.groups.get(group).into_iter().flatten();
        members.filter_map(|index| self.people.get(*index))
    }

    /// Who holds the key with this fingerprint, and on which token.
    pub fn holder(&self, key: &Fingerprint) -> Option<(&Person, &Token)> {
        let (person, token) = self.keys.get(key)?;
        let person = self.people.get(*person)?;
        Some((person, person.tokens.get(*token)?))
    }

    /// The person who asks under this name.
    pub fn by_identity(&self, identity: &Identity) -> Option<&Person> {
        self.identities.get(identity).and_then(|index| self.people.get(*index))
    }
}

/// A token, and what the key computes with that certifies the one on it.
type Certified = (Token, Vec<u8>);

/// One person's file, read and judged by itself.
struct Draft<'a> {
    name: &'a str,
    path: &'a str,
    groups: Vec<String>,
    identities: Vec<Result<Identity, RosterError>>,
    /// By serial. A token that cannot be read is an error only once its serial is seen to be nobody else's.
    tokens: Vec<(String, Result<Option<Certified>, RosterError>)>,
}

impl<'a> Draft<'a> {
    fn read(path: &'a str, bytes: &[u8], loading: Loading<'_>) -> Result<Self, TrustError> {
        let name = path.strip_prefix("people/").and_then(|name| name.strip_suffix(".toml"));
        let name = name.ok_or(TrustError::Stray { path: path.into(), what: "is not NAME.toml" })?;
        let file: PersonFile = toml_file(path, bytes)?;
        let identity = |text: String| {
            text.parse().map_err(|_| RosterError::BadValue {
                path: path.into(),
                key: "identities",
                found: text,
                expected: "issuer:subject, as in github:alice",
            })
        };
        let token = |token: TokenFile| (token.serial.clone(), Token::new(token, path, loading));
        Ok(Self {
            name,
            path,
            groups: file.groups,
            identities: file.identities.into_iter().map(identity).collect(),
            tokens: file.token.into_iter().map(token).collect(),
        })
    }
}

/// Does `work` on all `items`, on as many threads as pay, and gives what came of it in their order.
fn on_all_cores<T: Sync, R: Send>(items: &[T], work: &(dyn Fn(&T) -> R + Sync)) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let part = items.len().div_ceil(cores).max(LEAST_PART);
    std::thread::scope(|scope| {
        let mut parts = items.chunks(part);
        let own = parts.next().unwrap_or_default();
        let others: Vec<_> = parts
            .map(|part| {
                let work = move || part.iter().map(work).collect::<Vec<R>>();
                // Where the system gives no thread, this one does that part too.
                (part, std::thread::Builder::new().spawn_scoped(scope, work))
            })
            .collect();
        let mut results: Vec<R> = own.iter().map(work).collect();
        for (part, thread) in others {
            match thread.map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(more)) => results.extend(more),
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                Err(_) => results.extend(part.iter().map(work)),
            }
        }
        results
    })
}

/// What the files of a token are called, without their endings.
fn stem(serial: &str) -> String {
    format!("tokens/{}", serial.replace(':', "-"))
}

impl Token {
    /// The token, unless its certificate may be missing and is.
    fn new(file: TokenFile, path: &str, loading: Loading<'_>) -> Result<Option<Certified>, RosterError> {
        let bad = |key, found: &str, expected| RosterError::BadValue {
            path: path.into(),
            key,
            found: found.into(),
            expected,
        };
        if !is_serial(&file.serial) {
            return Err(bad(
                "serial",
                &file.serial,
                "the number printed on a YubiKey, or maker:serial as in 000f:00c0ffe1",
            ));
        }
        let touch_declared = match file.touch.as_deref() {
            None => false,
            Some("declared") => true,
            Some(found) => return Err(bad("touch", found, "declared, or no such line")),
        };
        let fingerprint: Fingerprint =
            file.key.parse().map_err(|_| bad("key", &file.key, "a fingerprint of 40 digits"))?;
        if !matches!(fingerprint, Fingerprint::V4(_)) {
            return Err(bad("key", &file.key, "a fingerprint of 40 digits"));
        }
        let stem = stem(&file.serial);
        let cert_path = format!("{stem}{CERTIFICATE}");
        let certificate = |what: &dyn ToString| RosterError::Certificate {
            path: cert_path.clone(),
            what: what.to_string(),
        };
        let bytes = match (loading.files.get(&cert_path), loading.extent) {
            (Some(bytes), _) => bytes,
            (None, Extent::Proved) => return Ok(None),
            (None, Extent::Whole) => return Err(certificate(&"is missing")),
        };
        let cert = read_certificate(bytes).map_err(|error| certificate(&error))?;
        let key = SigningKey::new(cert, &fingerprint).map_err(|error| certificate(&error))?;
        let attestation = match loading.files.get_key_value(&format!("{stem}{ATTESTATION}")) {
            None => None,
            Some((path, bytes)) => {
                let malformed = |error| RosterError::Attestation { path: path.clone(), error };
                let certificates = read_certificates(bytes).map_err(malformed)?;
                Some(loading.judge(&certificates))
            }
        };
        let certifier = key.certifier();
        let key = key.closed(bytes);
        Ok(Some((Self { serial: file.serial, key, touch_declared, attestation }, certifier)))
    }
}

/// Reads exactly one certificate, armored or not.
///
/// # Errors
/// Whatever sequoia finds wrong, or a second certificate.
pub fn read_certificate(bytes: &[u8]) -> openpgp::Result<Cert> {
    let plain = armor::read_plain(armor::PUBLIC_KEY_BLOCK, bytes);
    let mut certs = openpgp::cert::CertParser::from_bytes(plain.as_deref().unwrap_or(bytes))?;
    let cert = certs.next().ok_or_else(|| openpgp::Error::MalformedCert("no certificate in it".into()))??;
    match certs.next() {
        None => Ok(cert.strip_secret_key_material()),
        Some(_) => Err(openpgp::Error::MalformedCert("more than one certificate in it".into()).into()),
    }
}

/// Decimal digits without leading zero, or four and eight lower-case hexadecimal digits. Not those
/// of maker 0006: a YubiKey would then have two serials.
fn is_serial(text: &str) -> bool {
    let hex = |part: &str, length| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    match text.split_once(':') {
        Some((maker, serial)) => hex(maker, 4) && hex(serial, 8) && maker != "0006",
        None => {
            (1..=10).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_digit())
                && !text.starts_with('0')
        }
    }
}
