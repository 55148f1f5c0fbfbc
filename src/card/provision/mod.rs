//! Provisioning as desired state: a profile says what a token is to be, and a run makes it so.
//!
//! [`survey`] looks and plans; [`provision`] carries the plan out and has the token prove it. Everything that
//! a run would need to go on after it was cut off is in the token's directory before the card learns it:
//! whatever happens at whatever command, the next run comes to the same end.

mod account;
pub mod algorithm;
mod anchors;
mod apply;
mod certify;
pub mod error;
mod escrow;
pub mod fleet;
mod guess;
mod import;
mod journal;
pub mod observe;
mod papers;
mod pins;
pub mod plan;
pub mod profile;
mod proof;
mod run;
pub mod wishes;

use crate::card::link;

pub use crate::card::info::Touch;
pub use crate::card::pin_rules::{FACTORY_ADMIN, FACTORY_USER};
pub use algorithm::KeyAlgorithm;
pub use anchors::{Attested, Vouched};
pub use apply::Progress;
pub use error::{ProofError, ProvisionError};
pub use journal::Record;
pub use observe::{Observed, Origin, SlotState};
pub use plan::{Import, Imports, Memory, Plan, Planned, Step, plan};
pub use profile::{KeyWish, MAX_PROFILE, Profile, ProfileError, Tries, UserPin};
pub use proof::Pins;
pub use run::{Done, Files, Job, Survey, Told, UserPinNeed, prove_pins, provision, survey};
pub use wishes::Person;
