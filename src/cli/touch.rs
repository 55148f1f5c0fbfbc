//! `card touch`: when the keys of a token want a touch.

use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use crate::card::admin::may_become;
use crate::card::{KeySlot, Touch, TouchPolicy, Whose};
use crate::cli::Common;
use crate::cli::report::{Outcome, Report};
use crate::cli::secret::{Asking, Wanted};
use crate::cli::work::{self, Desk};

const EXAMPLE: &str = "\
Example:
  touchgate card touch                         all four policies
  touchgate card touch on                      every signature needs a touch
  touchgate card touch --slot decryption cached";

// Arguments of `card touch`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(super) struct Arguments {
    /// What it is to be [only show what it is]
    #[arg(value_name = "POLICY")]
    policy: Option<Policy>,
    /// Whose policy
    #[arg(long, value_name = "SLOT", default_value = "signature", requires = "policy")]
    slot: Slot,
    /// Make a permanent policy without asking back
    #[arg(long)]
    yes: bool,
    /// Read the admin PIN from this descriptor
    #[arg(long, value_name = "N")]
    admin_pin_fd: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Policy {
    /// No touch
    Off,
    /// A touch for each use
    On,
    /// The same, for as long as the key is there
    Fixed,
    /// A touch that is good for 15 s
    Cached,
    /// The same, for as long as the key is there
    CachedFixed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Slot {
    /// The key that approves
    Signature,
    /// The key that decrypts
    Decryption,
    /// The key that logs in
    Authentication,
    /// The key that vouches for the others
    Attestation,
}

impl Policy {
    fn touch(self) -> Touch {
        match self {
            Self::Off => Touch::Off,
            Self::On => Touch::On,
            Self::Fixed => Touch::Fixed,
            Self::Cached => Touch::Cached,
            Self::CachedFixed => Touch::CachedFixed,
        }
    }
}

impl Slot {
    /// `None` is the attestation key.
    fn key(self) -> Option<KeySlot> {
        match self {
            Self::Signature => Some(KeySlot::Signature),
            Self::Decryption => Some(KeySlot::Decryption),
            Self::Authentication => Some(KeySlot::Authentication),
            Self::Attestation => None,
        }
    }
}

fn word(slot: Option<KeySlot>) -> &'static str {
    slot.map_or("attestation", KeySlot::word)
}

/// Shows the policies, or sets one.
pub(super) fn touch(common: &Common, arguments: &Arguments) -> Outcome {
    let desk = Desk::new(common, None)?;
    let patience = desk.patience(work::soon());
    let mut token = work::find_token(common, &patience)?;
    let ident = token.info().ident;
    let (slot, policies) = (arguments.slot.key(), token.touch_policies(&patience)?);
    let Some(wanted) = arguments.policy.map(Policy::touch) else {
        return Ok(report(format!("token {ident}\n"), &policies).with("serial", ident.to_string()));
    };
    let now = policies.iter().find(|(of, _)| *of == slot).map_or(TouchPolicy::None, |(_, now)| *now);
    // What is refused whatever the PIN is, is refused before anybody is asked for it.
    let changes = may_become(ident, slot, now, wanted)?;
    let asking = Asking { common, desk: &desk, ident };
    if changes && matches!(wanted, Touch::Fixed | Touch::CachedFixed) {
        let lost = if slot.is_none() {
            "not even a reset of the token takes that back, only another attestation key"
        } else {
            "nothing takes that back but a new key in that slot, or a reset of the token"
        };
        let what = format!(
            "This makes the touch policy of the {} key of token {ident} PERMANENT ({}): {lost}.\n",
            word(slot),
            wanted.policy().word(),
        );
        asking.desk.confirm(&what, arguments.yes)?;
    }
    let admin = Wanted { whose: Whose::Admin, option: "--admin-pin-fd", descriptor: arguments.admin_pin_fd };
    if changes {
        token.set_touch(slot, wanted, asking.present(admin)?, &patience)?;
    }
    let policies = token.touch_policies(&patience)?;
    let is = wanted.policy().word();
    let text = if changes {
        format!("token {ident}: touch is {is} now for the {} key\n", word(slot))
    } else {
        format!("token {ident}: touch was {is} already for the {} key; nothing was changed\n", word(slot))
    };
    Ok(report(text, &policies).with("serial", ident.to_string()).with("changed", changes))
}

fn report(mut text: String, policies: &[(Option<KeySlot>, TouchPolicy)]) -> Report {
    let mut object = Map::new();
    for (slot, policy) in policies {
        text.push_str(&format!("  {:<15}{}\n", word(*slot), policy.word()));
        object.insert(word(*slot).to_owned(), Value::from(policy.word()));
    }
    Report::done(text).with("touch", object)
}
