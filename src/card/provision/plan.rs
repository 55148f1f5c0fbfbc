//! From what a token is to what it is to be: the steps in their order, each with its reason.
//!
//! A pure function of profile, observation and what is remembered of earlier runs. The order is chosen so
//! that what resets PINs comes before the PINs, what erases keys before the keys, and what cannot be undone
//! last: see `docs/provisioning.md`.

mod step;

use std::collections::BTreeMap;

use sequoia_openpgp::Fingerprint;
use serde::{Deserialize, Serialize};

use super::algorithm::{KeyAlgorithm, KeySlot};
use super::observe::{Observed, Origin, SlotState};
use super::profile::{KeyWish, Profile, ResettingCode};
use crate::card::info::{Touch, TouchPolicy};

pub use step::{HolderField, Step};

/// What no card tells and earlier runs wrote down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// The admin PIN is one of ours.
    pub admin_set: bool,
    /// The user PIN was set by us.
    pub user_set: bool,
    /// The resetting code is one of ours.
    pub code_set: bool,
    /// The tries that were set.
    pub tries: Option<[u8; 3]>,
    /// Slots whose present key may go, for its successor was begun.
    pub begun: [bool; 3],
    /// Slots whose key was made on the card by us.
    pub made: [bool; 3],
    /// The token has proved itself, and nothing was changed since.
    pub proved: bool,
}

/// A key in a file that is to be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// When it was made, in seconds since 1970.
    pub created: u32,
}

/// The keys in files, by the slot that they are for.
pub type Imports = BTreeMap<KeySlot, Import>;

/// A change and why it is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// What.
    pub step: Step,
    /// Why.
    pub why: String,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The changes; empty if the token is as the profile says.
    pub steps: Vec<Planned>,
    /// What this token cannot become. With any of these nothing is done.
    pub problems: Vec<String>,
    /// What is as it is and may surprise.
    pub notes: Vec<String>,
    /// Slots whose keys will be erased.
    pub erases: Vec<KeySlot>,
}

impl Plan {
    /// Whether the token is as the profile says.
    pub fn is_done(&self) -> bool {
        self.steps.is_empty() && self.problems.is_empty()
    }

    /// Whether the plan holds such a step.
    pub fn has(&self, wanted: impl Fn(&Step) -> bool) -> bool {
        self.steps.iter().any(|planned| wanted(&planned.step))
    }

    fn add(&mut self, step: Step, why: impl Into<String>) {
        self.steps.push(Planned { step, why: why.into() });
    }
}

/// What is to be done to turn `now` into what `profile` says.
pub fn plan(profile: &Profile, now: &Observed, memory: &Memory, imports: &Imports) -> Plan {
    let mut plan = Plan::default();
    pins(&mut plan, profile, now, memory);
    for (slot, _) in profile.wishes() {
        key(&mut plan, profile, now, memory, imports, slot);
    }
    if now.pin_for_each_signature != profile.pin.for_each_signature {
        let why = if profile.pin.for_each_signature {
            "one PIN opens the signature key for many"
        } else {
            "the profile says that one PIN is good for many"
        };
        plan.add(Step::PinForEachSignature(profile.pin.for_each_signature), why);
    }
    holder(&mut plan, profile, now);
    touches(&mut plan, profile, now);
    proof(&mut plan, profile, now, memory);
    plan
}

fn pins(plan: &mut Plan, profile: &Profile, now: &Observed, memory: &Memory) {
    let mut reset = false;
    let mut derives = now.kdf_on();
    if let Some(tries) = profile.pin.tries {
        let wanted = tries.wire();
        let [user, _, admin] = now.tries;
        if memory.tries == Some(wanted) {
            // Set, or seen, by an earlier run. Fewer may be left now.
        } else if now.firmware_from(4, 3, 1) {
            reset = true;
            // With new tries may come PINs of the factory as they are typed, and a token that derives PINs takes
            // none of those: nothing but a reset would open it again.
            if now.kdf_on() {
                derives = false;
                match profile.pin.kdf {
                    Some(_) => plan.add(Step::Kdf(false), "new tries may come with PINs that are not derived"),
                    None => plan.problems.push(
                        "new tries make PINs those of the factory, and this token derives its PINs: say kdf = true or kdf = false".to_owned(),
                    ),
                }
            }
            plan.add(Step::Tries(tries), "a card tells how many tries are left, not how many there are");
        } else if [user, admin] != [tries.user, tries.admin] {
            plan.problems.push(format!(
                "this card cannot change how many tries a PIN has ({user} are left for the user PIN and {admin} for the admin PIN)"
            ));
        }
    }
    match profile.pin.kdf {
        Some(true) if !now.kdf_supported => {
            plan.problems.push("this card has no KDF object".to_owned());
        }
        Some(on) if on != derives => {
            reset = true;
            plan.add(Step::Kdf(on), if on { "PINs go to the card in the clear" } else { "PINs are derived" });
        }
        _ => {}
    }
    let why = |set: bool| match (reset, set) {
        (true, _) => "the step before made it the one of the factory",
        (false, true) => "it was left unfinished",
        (false, false) => "nothing says that it is not the one of the factory",
    };
    if reset || !memory.admin_set {
        plan.add(Step::AdminPin, why(memory.admin_set));
    }
    if reset || !memory.user_set {
        plan.add(Step::UserPin, why(memory.user_set));
    }
    let [_, code_left, _] = now.tries;
    match profile.pin.resetting_code {
        ResettingCode::None if code_left > 0 => {
            plan.add(Step::ResettingCode(false), "somebody set one, and the profile has none");
        }
        ResettingCode::None => {}
        ResettingCode::Random if reset || !memory.code_set || code_left == 0 => {
            plan.add(
                Step::ResettingCode(true),
                if code_left == 0 { "there is none" } else { "it is not ours" },
            );
        }
        ResettingCode::Random => {}
    }
}

/// Whether the key in a slot is the one that the profile wants, its label apart.
fn fits(
    wish: &KeyWish,
    state: &SlotState,
    slot: KeySlot,
    made: bool,
    import: Option<&Import>,
) -> Result<(), String> {
    if state.origin == Origin::Absent {
        return Err("there is none".to_owned());
    }
    if state.algorithm != Some(wish.algorithm) {
        let is = state.algorithm.map_or("another kind", KeyAlgorithm::word);
        return Err(format!("the one there is {is}"));
    }
    if state.key(slot).is_none() {
        return Err("the one there cannot be read".to_owned());
    }
    match (import, state.origin) {
        (Some(wanted), Origin::Imported | Origin::Unknown) if is_there(wish, state, slot, wanted) => Ok(()),
        (Some(_), _) => Err("the one there is not the one in the file".to_owned()),
        (None, Origin::Generated) => Ok(()),
        (None, Origin::Unknown) if made => Ok(()),
        (None, Origin::Imported) => Err("the one there was brought from outside".to_owned()),
        (None, _) => Err("nothing says that the one there was made on the card".to_owned()),
    }
}

/// Whether the key in a slot is the one in the file, whether that was written beside it or not.
fn is_there(wish: &KeyWish, state: &SlotState, slot: KeySlot, import: &Import) -> bool {
    let computed =
        state.public.as_deref().and_then(|public| wish.algorithm.openpgp_key(slot, public, import.created));
    import.fingerprint.as_bytes() == state.fingerprint
        || computed.is_some_and(|key| key.fingerprint() == import.fingerprint)
}

fn key(
    plan: &mut Plan,
    profile: &Profile,
    now: &Observed,
    memory: &Memory,
    imports: &Imports,
    slot: KeySlot,
) {
    let Some(wish) = profile.wish(slot) else { return };
    let state = now.slot(slot);
    let [begun, made] =
        [memory.begun, memory.made].map(|flags| flags.get(slot.place()).is_some_and(|flag| *flag));
    let import = imports.get(&slot);
    let Some(attributes) = wish.algorithm.attributes(slot, now.offered.as_deref(), &state.attributes) else {
        plan.problems.push(format!("this card has no {} for the {slot} key", wish.algorithm));
        return;
    };
    let Err(why) = fits(wish, state, slot, made || begun, import) else {
        let labelled = match import {
            Some(import) => {
                import.fingerprint.as_bytes() == state.fingerprint && import.created == state.created
            }
            None => state.labelled(slot),
        };
        if !labelled {
            if import.is_some() || begun || state.fingerprint == [0; 20] {
                plan.add(Step::Label { slot }, "its time and fingerprint were not written");
            } else {
                plan.notes.push(format!(
                    "the fingerprint written for the {slot} key is none that its key would have; it stays"
                ));
            }
        }
        return;
    };
    let erases = state.origin != Origin::Absent && !begun;
    if erases {
        plan.erases.push(slot);
    }
    if state.algorithm != Some(wish.algorithm) {
        let why = match state.algorithm {
            Some(algorithm) => format!("it is set to {algorithm}"),
            None => "it is set to another algorithm".to_owned(),
        };
        plan.add(Step::Algorithm { slot, algorithm: wish.algorithm, attributes }, why);
    }
    match import {
        Some(Import { fingerprint, .. }) => {
            plan.notes.push(format!(
                "the {slot} key comes from a file: whoever had that file can use the key without this token"
            ));
            plan.add(Step::Import { slot, fingerprint: fingerprint.clone() }, why);
        }
        None => plan.add(Step::Generate { slot, algorithm: wish.algorithm }, why),
    }
    plan.add(Step::Label { slot }, "it is a new key");
}

fn holder(plan: &mut Plan, profile: &Profile, now: &Observed) {
    let [name, login, url, language] = &now.holder;
    let wanted = &profile.holder;
    let stored_name = wanted.name.as_ref().map(|name| name.replace(' ', "<"));
    for (field, is, wanted) in [
        (HolderField::Name, name, &stored_name),
        (HolderField::Login, login, &wanted.login),
        (HolderField::Url, url, &wanted.url),
        (HolderField::Language, language, &wanted.language),
    ] {
        if let Some(text) = wanted.as_ref().filter(|wanted| *wanted != is) {
            let why = if is.is_empty() { "it is empty".to_owned() } else { format!("it is {is:?}") };
            plan.add(Step::Holder { field, text: text.clone() }, why);
        }
    }
}

fn touches(plan: &mut Plan, profile: &Profile, now: &Observed) {
    let mut wanted: Vec<(Option<KeySlot>, Touch, TouchPolicy)> =
        profile.wishes().map(|(slot, wish)| (Some(slot), wish.touch, now.slot(slot).touch)).collect();
    if let Some(attestation) = profile.keys.attestation {
        wanted.push((None, attestation.touch, now.attestation_touch.unwrap_or(TouchPolicy::None)));
    }
    // What only another key lowers comes last, the signature key last of all.
    wanted.reverse();
    for (slot, touch, is) in wanted {
        let what = slot.map_or("attestation", KeySlot::word);
        let renewed = plan.has(|step| match step {
            Step::Generate { slot: made, .. } | Step::Import { slot: made, .. } => Some(*made) == slot,
            _ => false,
        });
        match is {
            _ if is == touch.policy() => {
                // A policy that stays is said to stay for the key that it was set for.
                if renewed && matches!(touch, Touch::Fixed | Touch::CachedFixed) {
                    plan.add(Step::Touch { slot, touch }, "it was set for the key before");
                }
            }
            TouchPolicy::None if touch == Touch::Off => {}
            TouchPolicy::None => {
                plan.problems.push(format!("this card has no touch policy for the {what} key"));
            }
            TouchPolicy::Fixed | TouchPolicy::CachedFixed if !renewed => plan.problems.push(format!(
                "the touch policy of the {what} key is {} and cannot become {} without another key",
                is.word(),
                touch.policy().word()
            )),
            _ if touch.is_cached() && !now.firmware_from(5, 2, 1) => {
                plan.problems.push(format!("this card has no cached touch for the {what} key"));
            }
            _ => plan.add(Step::Touch { slot, touch }, format!("it is {}", is.word())),
        }
    }
}

fn proof(plan: &mut Plan, profile: &Profile, now: &Observed, memory: &Memory) {
    let matters = plan.has(|step| {
        !matches!(
            step,
            Step::Holder { .. }
                | Step::Touch { slot: None | Some(KeySlot::Decryption | KeySlot::Authentication), .. }
        )
    });
    if matters || !memory.proved {
        for (slot, wish) in profile.wishes() {
            if now.attests && wish.import.is_none() {
                plan.add(Step::Attest { slot }, "the token can vouch that the key was made on it");
            }
        }
        plan.add(Step::Prove, "a command that was answered is not yet a setting");
    }
}

#[cfg(test)]
mod tests;
