//! What changing a card can end with, in words.

use crate::card::pin_rules::PinFlaw;
use crate::card::{AdminError, Whose};
use crate::cli::report::{Failure, exit};

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        use AdminError as E;
        let message = error.to_string();
        let (code, exit, hint) = match error {
            E::Card(error) => return Self::from(error).instead("nothing was signed", "nothing was changed"),
            E::Wrong { whose, tries_left } => (wrong(whose), exit::CARD, after_wrong(whose, tries_left)),
            E::Blocked { whose } => (blocked(whose), exit::CARD, after_blocked(whose).to_owned()),
            E::NotSent { flaw, .. } => {
                let code = if matches!(flaw, PinFlaw::Long { .. }) { "pin-too-long" } else { "pin-too-short" };
                (code, exit::CARD, "it was not sent, so no try was lost".to_owned())
            }
            E::BadPin { whose, flaw } => ("bad-pin", exit::USAGE, after_bad(whose, flaw).to_owned()),
            E::SamePin { .. } => ("same-pin", exit::USAGE, "nothing was sent; choose another".to_owned()),
            E::TooSimple { .. } => {
                ("bad-pin", exit::USAGE, "the old one still holds; choose another, not a common one".to_owned())
            }
            E::NotTaken { whose } => (
                "pin-not-taken",
                exit::FAILED,
                match whose {
                    Whose::User => "set it again: `touchgate card pin unblock`",
                    Whose::Admin | Whose::ResettingCode => "do not try further; if nothing opens it, only `touchgate card reset` helps, which erases its keys",
                }
                .to_owned(),
            ),
            E::TriesFixed { .. } => (
                "tries-fixed",
                exit::FAILED,
                "nothing was changed; only YubiKeys from firmware 4.3.1 on have a command for that".to_owned(),
            ),
            E::KdfInUse { .. } => (
                "kdf-in-use",
                exit::FAILED,
                "nothing was changed; switch the derivation off first (`gpg --card-edit`, `admin`, `kdf-setup off`), which also makes PINs those of the factory".to_owned(),
            ),
            E::TouchFixed { .. } => (
                "touch-fixed",
                exit::FAILED,
                "nothing was changed; a new key in that slot begins without it".to_owned(),
            ),
            E::NoTouchPolicy { .. } => {
                ("no-touch-policy", exit::FAILED, "`touchgate card touch` shows what this token has".to_owned())
            }
            E::TouchNotOffered { .. } => (
                "touch-not-offered",
                exit::FAILED,
                "nothing was changed; cached and cached-fixed are for YubiKeys from firmware 5.2.1 on".to_owned(),
            ),
            E::CannotReset { .. } => (
                "cannot-reset",
                exit::FAILED,
                "nothing was changed; a blocked admin PIN would stay blocked for good".to_owned(),
            ),
            E::NotReset { .. } => (
                "not-reset",
                exit::FAILED,
                "run `touchgate card reset` again; if it stays so, do not use this token".to_owned(),
            ),
            E::Unsure { error, .. } => {
                let cause = Self::from(error);
                (
                    "unsure",
                    cause.exit,
                    "plug the token in and run the same command again; a PIN that is wrong then was changed".to_owned(),
                )
            }
        };
        Self { hint: Some(hint), exit, ..Self::failed(code, message) }
    }
}

fn wrong(whose: Whose) -> &'static str {
    match whose {
        Whose::Admin => "wrong-admin-pin",
        Whose::ResettingCode => "wrong-resetting-code",
        Whose::User => "wrong-pin",
    }
}

fn blocked(whose: Whose) -> &'static str {
    match whose {
        Whose::Admin => "admin-pin-blocked",
        Whose::ResettingCode => "no-resetting-code",
        Whose::User => "pin-blocked",
    }
}

fn after_wrong(whose: Whose, tries_left: Option<u8>) -> String {
    if tries_left == Some(1) {
        return format!("nothing was changed; one more wrong {whose} blocks it");
    }
    match whose {
        Whose::Admin => "nothing was changed; it is not the user PIN; one that `card provision` made is in the token's escrow file".to_owned(),
        Whose::ResettingCode => "nothing was changed; with the admin PIN instead: --admin".to_owned(),
        Whose::User => "nothing was changed; this is the card's user PIN, not a passphrase and not the admin PIN".to_owned(),
    }
}

fn after_blocked(whose: Whose) -> &'static str {
    match whose {
        Whose::Admin => "the token works on, but its settings stay as they are until it is reset",
        Whose::ResettingCode => "use the admin PIN instead: --admin",
        Whose::User => {
            "`touchgate card pin unblock` sets a new one, with the resetting code or the admin PIN"
        }
    }
}

fn after_bad(whose: Whose, flaw: PinFlaw) -> &'static str {
    match (whose, flaw) {
        (_, PinFlaw::Long { .. }) => "nothing was sent; choose a shorter one",
        (Whose::User, _) => "nothing was sent; choose another, six digits that are nobody's birthday will do",
        (Whose::Admin | Whose::ResettingCode, _) => {
            "nothing was sent; choose another, of eight characters or more"
        }
    }
}
