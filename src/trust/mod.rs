//! Trust: who may approve what. A directory of policy and roster, one digest over all of it.
//!
//! ```text
//! trust/
//! ├── policy.toml
//! ├── people/alice.toml
//! └── tokens/12345678.asc · 12345678.attestation.pem
//! ```

pub mod add;
mod assignment;
pub mod chain;
pub mod check;
pub mod debt;
pub mod diff;
mod directory;
mod error;
pub mod explain;
mod index;
mod keys;
pub mod manifest;
pub mod meant;
pub mod place;
pub mod policy;
pub mod quorum;
pub mod revocation;
pub mod roster;
pub mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sequoia_openpgp::Fingerprint;

use crate::audit::{LogKey, Witnesses};
use crate::card::attestation::Anchor;
use crate::challenge::{Audience, RequestId, TrustVersion};
use crate::digest::Sha256Digest;
use crate::grant::GrantKeys;
use crate::request::{Mode, NameError, Request, Resource};
use crate::unix_time::UnixTime;

use debt::{check_debts, countersigned, is_countersign};
pub use diff::{Diff, diff};
use directory::check_paths;
pub use directory::{Files, MAX_FILE, MAX_FILES, read_directory};
pub(crate) use directory::{is_name, is_path};
pub use error::TrustError;
use manifest::{Manifest, Proved};
use policy::{Policy, Rule};
use quorum::Askers;
use roster::{Person, Roster};

/// One version of trust, checked as a whole.
#[derive(Debug)]
pub struct Trust {
    /// Its number and digest.
    pub version: TrustVersion,
    /// The verifier that it is for.
    pub audience: Audience,
    /// No verifier uses it from here on.
    pub valid_until: UnixTime,
    /// Who there is and what they hold.
    pub roster: Roster,
    /// What the log is signed with, if there is one.
    pub log_key: Option<LogKey>,
    /// Who must have seen a checkpoint of it.
    pub witnesses: Witnesses,
    /// What grants are signed with.
    pub grant_keys: GrantKeys,
    /// Who says under which name who somebody is: the addresses of `github` and the like.
    pub issuers: BTreeMap<String, String>,
    policy: Policy,
    /// Keys on tokens that were lost; not part of the version.
    revoked: BTreeSet<Fingerprint>,
}

/// Why a request cannot be asked under this trust.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// Somebody broke the glass over this resource, and nobody has countersigned it yet.
    #[error("it waits for two others to countersign the break-glass request {request}")]
    Debt {
        /// The oldest of them.
        request: RequestId,
    },
    /// A countersignature of nothing that is open here.
    #[error("{} is no break-glass request on this resource that waits to be countersigned", request.as_deref().unwrap_or("what it names"))]
    NoDebt {
        /// What it names, if it names a request and an action at all.
        request: Option<String>,
    },
    /// Break-glass without a reason.
    #[error("a break-glass request must say why")]
    NoReason,
    /// No rule covers it.
    #[error("no rule covers {action} on {resource}")]
    NoRule {
        /// What was asked.
        action: String,
        /// For what.
        resource: String,
    },
    /// A parameter that the rule pins is missing or could change later.
    #[error("the rule demands that {name} be immutable (sha256:… or git:…)")]
    NotPinned {
        /// The parameter's name.
        name: String,
    },
    /// The requester is on nobody's record.
    #[error("{requester} is on nobody's record")]
    UnknownRequester {
        /// Who asked.
        requester: String,
    },
}

impl Trust {
    /// Reads a directory.
    ///
    /// # Errors
    /// Any [`TrustError`]: nothing is loaded in part.
    pub fn load(directory: &Path) -> Result<Self, TrustError> {
        Self::from_files(&read_directory(directory)?)
    }

    /// Makes trust of files that were read before, or that evidence carries.
    ///
    /// # Errors
    /// Any [`TrustError`] but `Unreadable`.
    pub fn from_files(files: &Files) -> Result<Self, TrustError> {
        Self::under(files, &Anchor::yubico())
    }

    /// The same of files that were hashed before.
    ///
    /// # Errors
    /// As [`Trust::from_files`].
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, TrustError> {
        Self::whole(manifest.files(), &Anchor::yubico(), manifest.digest())
    }

    /// Makes trust of the few files that evidence carries: policy.toml, and of the people only those who are proved.
    ///
    /// Somebody whose file was left out is unknown here, and a token whose certificate was left out signs nothing.
    /// Nobody gains by leaving something out:
    ///
    /// - Rules, tiers and counts stand in policy.toml, without which there is no trust at all.
    /// - An approval counts only if the approver's own file is here, and that file lists all of their identities and
    ///   groups. So an approver who is also the requester shows as such, whatever else is missing.
    /// - A requester whose file is missing is on nobody's record: that fills no slot, is no `@requester`, and is
    ///   rejected unless the rule takes requesters on nobody's record anyway.
    /// - A token without its attestation is of a lower tier, one without certificate makes no approval.
    /// - That no key and no identity is listed for two people is a property of the whole version. Who pinned it, or
    ///   signed the update to it, loaded it as a whole; of what is here it is checked again.
    ///
    /// What it cannot show is a refusal by somebody who was left out. Nor can whole trust: evidence without the
    /// refusal looks the same. A verifier that takes answers therefore never uses this.
    ///
    /// # Errors
    /// Any [`TrustError`] but `Unreadable`.
    pub fn from_proved(proved: &Proved) -> Result<Self, TrustError> {
        Self::proved_under(proved, &Anchor::yubico())
    }

    /// The same with other roots for attestations. In this crate alone: no build of it lets a caller choose.
    pub(crate) fn proved_under(proved: &Proved, roots: &[Anchor]) -> Result<Self, TrustError> {
        let (version, files) = (*proved.version(), proved.files());
        let trust = Self::build(files, roots, Extent::Proved, version.digest)
            .map_err(|error| place::pinpoint(error, files))?;
        if trust.version.number == version.number {
            return Ok(trust);
        }
        Err(TrustError::OtherVersion { found: trust.version.number, expected: version.number })
    }

    /// The same with other roots for attestations. In this crate alone: no build of it lets a caller choose.
    pub(crate) fn under(files: &Files, roots: &[Anchor]) -> Result<Self, TrustError> {
        Self::whole(files, roots, versions::digest(files))
    }

    fn whole(files: &Files, roots: &[Anchor], digest: Sha256Digest) -> Result<Self, TrustError> {
        Self::build(files, roots, Extent::Whole, digest).map_err(|error| place::pinpoint(error, files))
    }

    fn build(
        files: &Files,
        roots: &[Anchor],
        extent: Extent,
        digest: Sha256Digest,
    ) -> Result<Self, TrustError> {
        check_paths(files)?;
        let policy = files.get("policy.toml").ok_or(TrustError::Stray {
            path: "policy.toml".into(),
            what: "is missing; without it this is not a trust directory",
        })?;
        let file: policy::File = toml_file("policy.toml", policy)?;
        let malformed = |error: NameError| TrustError::Malformed {
            path: "policy.toml".into(),
            message: error.to_string(),
        };
        let audience = file.audience.parse().map_err(malformed)?;
        let valid_until = file.valid_until.parse().map_err(|error: crate::unix_time::NotATime| {
            TrustError::Malformed { path: "policy.toml".into(), message: format!("valid_until: {error}") }
        })?;
        let version = TrustVersion { number: file.version, digest };
        let log_key = file.log_key.as_deref().map(|line| keys::log_key(line, &audience)).transpose()?;
        let witnesses = keys::witnesses(&file.witness, file.witnesses_needed)?;
        let grant_keys = keys::grant_keys(&file.grant_key)?;
        let issuers = keys::issuers(&file.issuers)?;
        let policy = Policy::new(file)?;
        let roster = Roster::new(files, roots, valid_until, extent)?;
        Ok(Self {
            version,
            audience,
            valid_until,
            roster,
            log_key,
            witnesses,
            grant_keys,
            issuers,
            policy,
            revoked: BTreeSet::new(),
        })
    }

    /// The rule for a request, if it may be asked at all. Whether a debt on its resource stands in its way is for
    /// [`Trust::admit_beside`] to say.
    ///
    /// # Errors
    /// [`NotAdmitted`], with the first reason; never [`NotAdmitted::Debt`].
    pub fn admit(&self, request: &Request) -> Result<&Rule, NotAdmitted> {
        if is_countersign(request) && countersigned(request).is_none() {
            return Err(NotAdmitted::NoDebt { request: None });
        }
        let rule = self.rule(request).ok_or_else(|| NotAdmitted::NoRule {
            action: request.action.to_string(),
            resource: request.resource.to_string(),
        })?;
        if request.mode == Mode::BreakGlass && request.reason.is_none() {
            return Err(NotAdmitted::NoReason);
        }
        let loose = |name: &&crate::request::ParameterName| {
            !request.parameters.get(*name).is_some_and(crate::request::is_immutable)
        };
        if let Some(name) = rule.pinned.iter().find(loose) {
            return Err(NotAdmitted::NotPinned { name: name.to_string() });
        }
        let nobody = self.requester(request).is_none() && !policy::is_of_whoever_signs(request);
        if nobody && !rule.unattended {
            return Err(NotAdmitted::UnknownRequester { requester: request.requester.to_string() });
        }
        Ok(rule)
    }

    /// The same while the `open` debts lie on its resource.
    ///
    /// # Errors
    /// [`NotAdmitted`], with the first reason.
    pub fn admit_beside(&self, request: &Request, open: &[RequestId]) -> Result<&Rule, NotAdmitted> {
        let rule = self.admit(request)?;
        check_debts(request, open)?;
        Ok(rule)
    }

    /// The rule that decides about a request, whether or not it may be asked.
    pub fn rule(&self, request: &Request) -> Option<&Rule> {
        if is_countersign(request) {
            let (_, action) = countersigned(request)?;
            return self.policy.countersign_rule(request, &action);
        }
        self.policy.rule(request)
    }

    /// All rules, in the order of policy.toml.
    pub fn rules(&self) -> &[Rule] {
        self.policy.rules()
    }

    /// The most specific rule that covers everything that `rule`, of whichever version, covers.
    pub(crate) fn rule_around(&self, rule: &Rule) -> Option<&Rule> {
        self.policy.rule_around(rule)
    }

    /// Whether the rule for `request` is also the one for the same on `other`: what it gave for the first it would have
    /// given for the second.
    pub fn same_rule(&self, request: &Request, other: &Resource) -> bool {
        let rule = self.policy.rule(request);
        let other = self.policy.rule(&Request { resource: other.clone(), ..request.clone() });
        matches!((rule, other), (Some(rule), Some(other)) if std::ptr::eq(rule, other))
    }

    /// From here on takes nothing that these keys sign, and counts nothing that they signed: see
    /// [`revocation::Revocation`].
    pub fn revoke(&mut self, keys: impl IntoIterator<Item = Fingerprint>) {
        self.revoked.extend(keys);
    }

    /// Whether a key was revoked here, whatever this version says of it.
    pub fn is_revoked(&self, key: &Fingerprint) -> bool {
        self.revoked.contains(key)
    }

    /// The person who asks, if somebody's record names them.
    pub fn requester(&self, request: &Request) -> Option<&Person> {
        self.roster.by_identity(&request.requester)
    }

    /// Everybody on record who asks: the requester, and whoever the workload belongs to that asks for them.
    pub fn askers(&self, request: &Request) -> Askers<'_> {
        let via = request.via.as_ref().and_then(|via| self.roster.by_identity(via));
        Askers { requester: self.requester(request), via }
    }
}

/// How much of a version is there to be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Some files, each seen to stand in it.
    Proved,
    /// All of it.
    Whole,
}

/// Reads TOML into a file's shape; the error names line and column.
fn toml_file<T: serde::de::DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T, TrustError> {
    let malformed = |message: String| TrustError::Malformed { path: path.into(), message };
    let text = std::str::from_utf8(bytes).map_err(|error| malformed(error.to_string()))?;
    toml::from_str(text).map_err(|error| place::malformed(path, text, &error))
}
