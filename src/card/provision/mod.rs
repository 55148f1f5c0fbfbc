//! Provisioning as desired state: a profile says what a token is to be, and a run makes it so.

#[allow(dead_code, reason = "carrying a plan out follows")]
pub mod algorithm;
#[allow(dead_code, reason = "carrying a plan out follows")]
mod link;
#[allow(dead_code, reason = "carrying a plan out follows")]
pub mod observe;
pub mod plan;
#[allow(dead_code, reason = "carrying a plan out follows")]
pub mod profile;

pub use algorithm::{KeyAlgorithm, KeySlot};
pub use observe::{Observed, Origin, SlotState};
pub use plan::{Import, Imports, Memory, Plan, Planned, Step, plan};
pub use profile::{KeyWish, Profile, ProfileError, Tries};
