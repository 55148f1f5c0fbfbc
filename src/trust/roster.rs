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

use std::collections::{BTreeMap, BTreeSet};

use sequoia_openpgp as openpgp;
use sequoia_openpgp::Cert;
use sequoia_openpgp::Fingerprint;
use sequoia_openpgp::parse::Parse as _;
use serde::Deserialize;

use crate::armor;
use crate::card::attestation::{Anchor, Attestation, AttestationError, read_certificates, verify_under};
use crate::request::Identity;
use crate::trust::{Extent, Files, TrustError, toml_file};
use crate::unix_time::UnixTime;
use crate::verify::SigningKey;

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

/// What is known while a roster is read.
struct Loading<'a> {
    files: &'a Files,
    roots: &'a [Anchor],
    ends: UnixTime,
    extent: Extent,
    /// Who has which.
    serials: BTreeMap<String, String>,
    /// The files below tokens/ that somebody's record names.
    used: BTreeSet<String>,
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
    keys: BTreeMap<Fingerprint, (usize, usize)>,
    identities: BTreeMap<Identity, usize>,
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
        let mut roster = Self { people: Vec::new(), keys: BTreeMap::new(), identities: BTreeMap::new() };
        let mut loading =
            Loading { files, roots, ends, extent, serials: BTreeMap::new(), used: BTreeSet::new() };
        for (path, bytes) in
            files.range("people/".to_owned()..).take_while(|(path, _)| path.starts_with("people/"))
        {
            let name = path.strip_prefix("people/").and_then(|name| name.strip_suffix(".toml"));
            let name = name.ok_or(TrustError::Stray { path: path.clone(), what: "is not NAME.toml" })?;
            let file: PersonFile = toml_file(path, bytes)?;
            roster.add(name, path, file, &mut loading)?;
        }
        let tokens = files.keys().filter(|path| path.starts_with("tokens/"));
        if let Some(path) = tokens.into_iter().find(|path| !loading.used.contains(*path)) {
            return Err(RosterError::Unused { path: path.clone() }.into());
        }
        Ok(roster)
    }

    fn add(
        &mut self,
        name: &str,
        path: &str,
        file: PersonFile,
        loading: &mut Loading<'_>,
    ) -> Result<(), TrustError> {
        let index = self.people.len();
        let duplicate = |what, value: &dyn ToString, holder: &str| RosterError::Duplicate {
            path: path.into(),
            what,
            value: value.to_string(),
            holder: holder.into(),
        };
        let mut identities = Vec::new();
        for text in file.identities {
            let identity: Identity = text.parse().map_err(|_| RosterError::BadValue {
                path: path.into(),
                key: "identities",
                found: text,
                expected: "issuer:subject, as in github:alice",
            })?;
            if let Some(other) = self.identities.insert(identity.clone(), index) {
                let holder = self.people.get(other).map_or(name, |person| person.name.as_str());
                return Err(duplicate("identity", &identity, holder).into());
            }
            identities.push(identity);
        }
        let mut tokens = Vec::new();
        for token in file.token {
            if let Some(holder) = loading.serials.insert(token.serial.clone(), name.into()) {
                return Err(duplicate("serial", &token.serial, &holder).into());
            }
            let Some(token) = Token::new(token, path, loading)? else { continue };
            let fingerprint = token.key.fingerprint().clone();
            if let Some((other, _)) = self.keys.insert(fingerprint.clone(), (index, tokens.len())) {
                let holder = self.people.get(other).map_or(name, |person| person.name.as_str());
                return Err(duplicate("key", &fingerprint.to_hex(), holder).into());
            }
            // The same key material under another creation time has another fingerprint.
            let twin = |other: &Token| other.key.same_material(&token.key);
            let mut holders = self.people.iter().map(|person| (&person.name, &person.tokens));
            if let Some((holder, _)) = holders.find(|(_, tokens)| tokens.iter().any(twin)) {
                return Err(duplicate("key material of", &fingerprint.to_hex(), holder).into());
            }
            if tokens.iter().any(twin) {
                return Err(duplicate("key material of", &fingerprint.to_hex(), name).into());
            }
            tokens.push(token);
        }
        self.people.push(Person { name: name.into(), groups: file.groups, identities, tokens });
        Ok(())
    }

    /// Everybody, by name.
    pub fn people(&self) -> &[Person] {
        &self.people
    }

    /// Everybody in a group, by name.
    pub fn members<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a Person> + use<'a> {
        self.people.iter().filter(move |person| person.groups.iter().any(|own| own == group))
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

impl Token {
    /// The token, unless its certificate may be missing and is.
    fn new(file: TokenFile, path: &str, loading: &mut Loading<'_>) -> Result<Option<Self>, RosterError> {
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
        let stem = format!("tokens/{}", file.serial.replace(':', "-"));
        let cert_path = format!("{stem}.asc");
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
        loading.used.insert(cert_path);
        let attestation = match loading.files.get_key_value(&format!("{stem}.attestation.pem")) {
            None => None,
            Some((path, bytes)) => {
                let malformed = |error| RosterError::Attestation { path: path.clone(), error };
                let certificates = read_certificates(bytes).map_err(malformed)?;
                loading.used.insert(path.clone());
                Some(loading.judge(&certificates))
            }
        };
        Ok(Some(Self { serial: file.serial, key, touch_declared, attestation }))
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
