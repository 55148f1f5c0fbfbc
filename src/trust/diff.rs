//! What an update of trust changes, and what that means: who may approve more or less than before.
//!
//! Made of the two versions themselves, so that a signer's machine shows what it found and not what it was told.
//! No byte changes without a [`Change`] that names it.

mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::challenge::TrustVersion;
use crate::trust::Files;
use crate::trust::Trust;
use crate::trust::roster::{Person, Token};
use crate::unix_time::UnixTime;
use crate::verify::{Lifetime, Tier, tier};

pub use rules::{Difference, Effect};

/// What one version changes in another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// The version before.
    pub old: TrustVersion,
    /// The version after.
    pub new: TrustVersion,
    /// Every change: settings, people by name, rules.
    pub changes: Vec<Change>,
    /// Whose approval counts where it did not, or no longer does where it did.
    pub effects: Vec<Effect>,
    reduced: BTreeSet<String>,
}

/// One change. Each is one line in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The bytes of a file, without a difference in what they say: comments, order, layout.
    Bytes {
        /// Below the directory.
        path: String,
    },
    /// Somebody belongs to one group more.
    GroupJoined {
        /// Who.
        person: String,
        /// Which.
        group: String,
    },
    /// Somebody belongs to one group less.
    GroupLeft {
        /// Who.
        person: String,
        /// Which.
        group: String,
    },
    /// Somebody may ask under one name more.
    IdentityAdded {
        /// Who.
        person: String,
        /// Which name.
        identity: String,
    },
    /// Somebody may ask under one name less.
    IdentityRemoved {
        /// Who.
        person: String,
        /// Which name.
        identity: String,
    },
    /// Somebody new.
    PersonAdded {
        /// Who.
        person: String,
        /// Their groups.
        groups: Vec<String>,
        /// Their names.
        identities: Vec<String>,
        /// Serial and tier of each token.
        tokens: Vec<(String, Tier)>,
    },
    /// Somebody is gone, with everything they held.
    PersonRemoved {
        /// Who.
        person: String,
        /// The serials of their tokens.
        tokens: Vec<String>,
    },
    /// A rule that was not there.
    RuleAdded {
        /// Action, resource, mode.
        rule: String,
        /// What it needs.
        needs: String,
        /// The weakest evidence that counts.
        tier: Tier,
    },
    /// A rule asks for something else.
    RuleChanged {
        /// Action, resource, mode.
        rule: String,
        /// In what.
        differences: Vec<Difference>,
    },
    /// A rule is gone.
    RuleRemoved {
        /// Action, resource, mode.
        rule: String,
    },
    /// A key of policy.toml outside its rules.
    Setting {
        /// The key.
        key: String,
        /// What it was set to, if it was.
        old: Option<String>,
        /// What it is set to, if it is.
        new: Option<String>,
    },
    /// Somebody holds a token more.
    TokenAdded {
        /// Who.
        person: String,
        /// Which.
        serial: String,
        /// How strong its evidence is.
        tier: Tier,
    },
    /// Something about a token that somebody keeps.
    TokenChanged {
        /// Whose.
        person: String,
        /// Which.
        serial: String,
        /// What: key, certificate, attestation, evidence.
        what: Vec<String>,
    },
    /// Somebody holds a token less.
    TokenRemoved {
        /// Who.
        person: String,
        /// Which.
        serial: String,
    },
}

/// Compares two versions, each with the files that it was made of.
pub fn diff(old: &Trust, old_files: &Files, new: &Trust, new_files: &Files) -> Diff {
    let mut comparing = Comparing {
        before: by_name(old),
        after: by_name(new),
        old_files,
        new_files,
        at: old.valid_until,
        changes: Vec::new(),
        reduced: BTreeSet::new(),
        touched: BTreeSet::new(),
    };
    let policy = rules::compare(old, old_files, new, new_files);
    comparing.changes.extend(policy);
    if old_files.get("policy.toml") != new_files.get("policy.toml") && comparing.changes.is_empty() {
        comparing.changes.push(Change::Bytes { path: "policy.toml".to_owned() });
    }
    comparing.people();
    comparing.unexplained();
    let effects = rules::effects(old, new, &comparing.touched);
    let Comparing { changes, reduced, .. } = comparing;
    Diff { old: old.version, new: new.version, changes, effects, reduced }
}

impl Diff {
    /// Whether the update takes a token or a group from this person, or makes one of their tokens worth less.
    /// Such a person neither approves the update nor refuses it.
    pub fn reduced(&self, person: &str) -> bool {
        self.reduced.contains(person)
    }

    /// Everybody of whom that is so, by name.
    pub fn all_reduced(&self) -> impl Iterator<Item = &str> {
        self.reduced.iter().map(String::as_str)
    }

    /// Whether the two are the same, byte for byte.
    pub fn is_empty(&self) -> bool {
        self.old == self.new
    }
}

fn by_name(trust: &Trust) -> BTreeMap<&str, &Person> {
    trust.roster.people().iter().map(|person| (person.name.as_str(), person)).collect()
}

struct Comparing<'a> {
    before: BTreeMap<&'a str, &'a Person>,
    after: BTreeMap<&'a str, &'a Person>,
    old_files: &'a Files,
    new_files: &'a Files,
    /// The moment at which certificates are compared: all that stands in them is in force by then, and whoever
    /// compares the same two versions finds the same, today and in five years.
    at: UnixTime,
    changes: Vec<Change>,
    reduced: BTreeSet<String>,
    /// The people about whom something changed that decides what their approval counts for.
    touched: BTreeSet<String>,
}

impl<'a> Comparing<'a> {
    fn people(&mut self) {
        let names: BTreeSet<&'a str> = self.before.keys().chain(self.after.keys()).copied().collect();
        for name in names {
            match (self.before.get(name).copied(), self.after.get(name).copied()) {
                (None, Some(person)) => self.added(person),
                (Some(person), None) => self.removed(person),
                (Some(old), Some(new)) => self.kept(old, new),
                (None, None) => {}
            }
        }
    }

    fn added(&mut self, person: &Person) {
        self.touched.insert(person.name.clone());
        self.changes.push(Change::PersonAdded {
            person: person.name.clone(),
            groups: person.groups.clone(),
            identities: person.identities.iter().map(ToString::to_string).collect(),
            tokens: person.tokens.iter().map(|token| (token.serial.clone(), tier(token).0)).collect(),
        });
    }

    fn removed(&mut self, person: &Person) {
        self.touched.insert(person.name.clone());
        self.reduced.insert(person.name.clone());
        self.changes.push(Change::PersonRemoved {
            person: person.name.clone(),
            tokens: person.tokens.iter().map(|token| token.serial.clone()).collect(),
        });
    }

    fn kept(&mut self, old: &Person, new: &Person) {
        let before = self.changes.len();
        let person = || new.name.clone();
        for group in new.groups.iter().filter(|group| !old.groups.contains(group)) {
            self.changes.push(Change::GroupJoined { person: person(), group: group.clone() });
        }
        for group in old.groups.iter().filter(|group| !new.groups.contains(group)) {
            self.reduced.insert(person());
            self.changes.push(Change::GroupLeft { person: person(), group: group.clone() });
        }
        for identity in new.identities.iter().filter(|identity| !old.identities.contains(identity)) {
            self.changes.push(Change::IdentityAdded { person: person(), identity: identity.to_string() });
        }
        for identity in old.identities.iter().filter(|identity| !new.identities.contains(identity)) {
            self.changes.push(Change::IdentityRemoved { person: person(), identity: identity.to_string() });
        }
        for token in &new.tokens {
            match old.tokens.iter().find(|other| other.serial == token.serial) {
                None => self.changes.push(Change::TokenAdded {
                    person: person(),
                    serial: token.serial.clone(),
                    tier: tier(token).0,
                }),
                Some(other) => self.token(&new.name, other, token),
            }
        }
        for token in
            old.tokens.iter().filter(|token| new.tokens.iter().all(|other| other.serial != token.serial))
        {
            self.reduced.insert(person());
            self.changes.push(Change::TokenRemoved { person: person(), serial: token.serial.clone() });
        }
        if self.changes.len() > before {
            self.touched.insert(person());
            return;
        }
        let path = format!("people/{}.toml", new.name);
        if self.old_files.get(&path) != self.new_files.get(&path) {
            self.changes.push(Change::Bytes { path });
        }
    }

    fn token(&mut self, person: &str, old: &Token, new: &Token) {
        let mut what = Vec::new();
        let mut less = false;
        let (key, other) = (new.key.fingerprint(), old.key.fingerprint());
        if key != other {
            less = true;
            what.push(format!("key {} -> {}", other.to_hex(), key.to_hex()));
        }
        // The same bytes say the same, and to judge a certificate takes longer than all else here.
        if key != other || self.file_differs(&old.serial, "asc") {
            let (before, after) = (old.key.lifetime(self.at), new.key.lifetime(self.at));
            less |= shorter(&before, &after);
            if before != after {
                what.push(format!("certificate {before} -> {after}"));
            } else if self.file_differs(&old.serial, "asc") {
                what.push("certificate, as far as the key goes the same".to_owned());
            }
        }
        if self.file_differs(&old.serial, "attestation.pem") {
            what.push(match (&old.attestation, &new.attestation) {
                (None, _) => "attestation added".to_owned(),
                (_, None) => "attestation removed".to_owned(),
                _ => "attestation exchanged".to_owned(),
            });
        }
        if old.touch_declared != new.touch_declared {
            let now = if new.touch_declared { "now declared" } else { "no longer declared" };
            what.push(format!("touch {now}"));
        }
        let (before, after) = (tier(old).0, tier(new).0);
        if before != after {
            less |= after < before;
            what.push(format!("evidence {before} -> {after}"));
        }
        if less {
            self.reduced.insert(person.to_owned());
        }
        if !what.is_empty() {
            let (person, serial) = (person.to_owned(), new.serial.clone());
            self.changes.push(Change::TokenChanged { person, serial, what });
        }
    }

    fn file_differs(&self, serial: &str, ending: &str) -> bool {
        let path = format!("tokens/{}.{ending}", serial.replace(':', "-"));
        self.old_files.get(&path) != self.new_files.get(&path)
    }

    /// Files of tokens that passed from one person to another, and whatever else no change names yet.
    fn unexplained(&mut self) {
        let named = |change: &Change| match change {
            Change::TokenAdded { serial, .. }
            | Change::TokenChanged { serial, .. }
            | Change::TokenRemoved { serial, .. } => vec![serial.replace(':', "-")],
            Change::PersonAdded { tokens, .. } => {
                tokens.iter().map(|(serial, _)| serial.replace(':', "-")).collect()
            }
            Change::PersonRemoved { tokens, .. } => {
                tokens.iter().map(|serial| serial.replace(':', "-")).collect()
            }
            _ => Vec::new(),
        };
        let named: BTreeSet<String> = self.changes.iter().flat_map(named).collect();
        let paths: BTreeSet<&String> = self.old_files.keys().chain(self.new_files.keys()).collect();
        for path in paths.into_iter().filter(|path| path.starts_with("tokens/")) {
            let serial =
                path.strip_prefix("tokens/").and_then(|name| name.split('.').next()).unwrap_or_default();
            if self.old_files.get(path) != self.new_files.get(path) && !named.contains(serial) {
                self.changes.push(Change::Bytes { path: path.clone() });
            }
        }
    }
}

/// Whether the second ends before the first.
fn shorter(before: &Lifetime, after: &Lifetime) -> bool {
    match (before, after) {
        (Lifetime::Unusable { .. }, _) => false,
        (_, Lifetime::Unusable { .. }) => true,
        (Lifetime::Unlimited, Lifetime::Until(_)) => true,
        (Lifetime::Until(before), Lifetime::Until(after)) => after < before,
        (_, Lifetime::Unlimited) => false,
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |words: &[String]| if words.is_empty() { "none".to_owned() } else { words.join(", ") };
        match self {
            Self::Bytes { path } => write!(f, "{path}: other bytes that say the same"),
            Self::GroupJoined { person, group } => write!(f, "{person}: joins group {group}"),
            Self::GroupLeft { person, group } => write!(f, "{person}: leaves group {group}"),
            Self::IdentityAdded { person, identity } => write!(f, "{person}: may also ask as {identity}"),
            Self::IdentityRemoved { person, identity } => write!(f, "{person}: asks as {identity} no longer"),
            Self::PersonAdded { person, groups, identities, tokens } => {
                let tokens: Vec<String> =
                    tokens.iter().map(|(serial, tier)| format!("{serial} ({tier})")).collect();
                write!(
                    f,
                    "{person}: new; groups {}; asks as {}; tokens {}",
                    list(groups),
                    list(identities),
                    list(&tokens)
                )
            }
            Self::PersonRemoved { person, tokens } => {
                write!(f, "{person}: removed, with tokens {}", list(tokens))
            }
            Self::RuleAdded { rule, needs, tier } => write!(f, "rule {rule}: new; needs {needs}, {tier}"),
            Self::RuleChanged { rule, differences } => {
                let all: Vec<String> = differences.iter().map(ToString::to_string).collect();
                write!(f, "rule {rule}: {}", all.join("; "))
            }
            Self::RuleRemoved { rule } => write!(f, "rule {rule}: removed"),
            Self::Setting { key, old, new } => match (old, new) {
                (None, Some(new)) => write!(f, "{key}: set to {new}"),
                (Some(old), None) => write!(f, "{key}: removed, was {old}"),
                (old, new) => write!(
                    f,
                    "{key}: {} -> {}",
                    old.as_deref().unwrap_or_default(),
                    new.as_deref().unwrap_or_default()
                ),
            },
            Self::TokenAdded { person, serial, tier } => write!(f, "{person}: token {serial} added, {tier}"),
            Self::TokenChanged { person, serial, what } => {
                write!(f, "{person}: token {serial}: {}", what.join("; "))
            }
            Self::TokenRemoved { person, serial } => write!(f, "{person}: token {serial} removed"),
        }
    }
}

/// A line a change, then what they mean.
impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            writeln!(f, "{change}")?;
        }
        for effect in &self.effects {
            writeln!(f, "so {effect}")?;
        }
        for person in &self.reduced {
            writeln!(
                f,
                "so {person} neither approves this update nor refuses it: it takes something from them"
            )?;
        }
        Ok(())
    }
}
