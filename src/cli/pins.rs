//! `card pin`: change PINs, unblock one, set how many tries they have.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::card::admin::{By, PinsNow};
use crate::card::{Ident, Whose};
use crate::cli::Common;
use crate::cli::report::{Outcome, Report};
use crate::cli::secret::{Asking, Wanted};
use crate::cli::work::{self, Desk};

/// What can be done with PINs.
#[derive(Subcommand, Debug)]
#[command(defer = true)]
pub(super) enum Command {
    /// Change the PIN, the admin PIN or the resetting code
    Change(ChangeArguments),
    /// Set a new PIN where the old one is blocked or forgotten
    Unblock(UnblockArguments),
    /// Set how many tries PIN, resetting code and admin PIN have: YubiKeys only, PINs may become the factory's
    SetRetries(RetriesArguments),
}

// Arguments of `card pin change`.
#[derive(Args, Debug)]
#[command(before_help = "Example:\n  touchgate card pin change\n  touchgate card pin change --admin")]
pub(super) struct ChangeArguments {
    /// The admin PIN instead of the PIN
    #[arg(long, conflicts_with = "resetting_code")]
    admin: bool,
    /// The resetting code instead, with the admin PIN
    #[arg(long)]
    resetting_code: bool,
    /// Read the present PIN from this descriptor
    #[arg(long, value_name = "N", conflicts_with_all = ["admin", "resetting_code"])]
    pin_fd: Option<u32>,
    /// Read the present admin PIN from this descriptor
    #[arg(long, value_name = "N")]
    admin_pin_fd: Option<u32>,
    /// Read the new one from this descriptor; it may be the same, the new one is its next line
    #[arg(long, value_name = "N")]
    new_pin_fd: Option<u32>,
}

// Arguments of `card pin unblock`.
#[derive(Args, Debug)]
#[command(
    before_help = "Example:\n  touchgate card pin unblock           with the resetting code, where there is one\n  touchgate card pin unblock --admin   with the admin PIN"
)]
pub(super) struct UnblockArguments {
    /// With the admin PIN [where there is no resetting code]
    #[arg(long, conflicts_with = "resetting_code_fd")]
    admin: bool,
    /// Read the resetting code from this descriptor
    #[arg(long, value_name = "N", conflicts_with = "admin_pin_fd")]
    resetting_code_fd: Option<u32>,
    /// Read the admin PIN from this descriptor
    #[arg(long, value_name = "N")]
    admin_pin_fd: Option<u32>,
    /// Read the new PIN from this descriptor; it may be the same, the new one is its next line
    #[arg(long, value_name = "N")]
    new_pin_fd: Option<u32>,
}

// Arguments of `card pin set-retries`.
#[derive(Args, Debug)]
#[command(
    before_help = "Example:\n  touchgate card pin set-retries 5 3 3   afterwards change PIN and admin PIN: they may be the factory's"
)]
pub(super) struct RetriesArguments {
    /// Tries for the PIN
    #[arg(value_name = "USER", value_parser = tries())]
    user: u8,
    /// Tries for the resetting code
    #[arg(value_name = "RESET", value_parser = tries())]
    reset: u8,
    /// Tries for the admin PIN
    #[arg(value_name = "ADMIN", value_parser = tries())]
    admin: u8,
    /// Do it without asking back
    #[arg(long)]
    yes: bool,
    /// Read the admin PIN from this descriptor
    #[arg(long, value_name = "N")]
    admin_pin_fd: Option<u32>,
}

/// As in a profile: with fewer than three, a slip and a typing mistake block a PIN.
fn tries() -> clap::builder::RangedI64ValueParser<u8> {
    clap::value_parser!(u8).range(3..=99)
}

fn user(descriptor: Option<u32>, option: &'static str) -> Wanted {
    Wanted { whose: Whose::User, option, descriptor }
}

fn admin(descriptor: Option<u32>) -> Wanted {
    Wanted { whose: Whose::Admin, option: "--admin-pin-fd", descriptor }
}

/// Runs a subcommand.
pub(super) fn pin(common: &Common, command: &Command) -> Outcome {
    match command {
        Command::Change(arguments) => change(common, arguments),
        Command::Unblock(arguments) => unblock(common, arguments),
        Command::SetRetries(arguments) => set_retries(common, arguments),
    }
}

fn change(common: &Common, arguments: &ChangeArguments) -> Outcome {
    let desk = Desk::new(common, None)?;
    let patience = desk.patience(work::soon());
    let mut token = work::find_token(common, &patience)?;
    let ident = token.info().ident;
    let asking = Asking { common, desk: &desk, ident };
    let (whose, present) = match (arguments.admin, arguments.resetting_code) {
        (true, _) => (Whose::Admin, admin(arguments.admin_pin_fd)),
        (_, true) => (Whose::ResettingCode, admin(arguments.admin_pin_fd)),
        _ => (Whose::User, user(arguments.pin_fd, "--pin-fd")),
    };
    let present = asking.present(present)?;
    let new = asking.new_one(Wanted { whose, ..user(arguments.new_pin_fd, "--new-pin-fd") })?;
    token.change_pin(whose, present, new, &patience)?;
    Ok(Report::done(format!("token {ident} has a new {whose}, and took it as a trial\n"))
        .with("serial", ident.to_string())
        .with("changed", word(whose)))
}

fn unblock(common: &Common, arguments: &UnblockArguments) -> Outcome {
    let desk = Desk::new(common, None)?;
    let patience = desk.patience(work::soon());
    let mut token = work::find_token(common, &patience)?;
    let ident = token.info().ident;
    let asking = Asking { common, desk: &desk, ident };
    let by_code = match (arguments.resetting_code_fd, arguments.admin_pin_fd) {
        (Some(_), _) => true,
        (_, Some(_)) => false,
        (None, None) => !arguments.admin && token.info().resetting_code_tries_left > 0,
    };
    let code = Wanted {
        whose: Whose::ResettingCode,
        option: "--resetting-code-fd",
        descriptor: arguments.resetting_code_fd,
    };
    let by = if by_code {
        By::ResettingCode(asking.present(code)?)
    } else {
        By::Admin(asking.present(admin(arguments.admin_pin_fd))?)
    };
    let new = asking.new_one(user(arguments.new_pin_fd, "--new-pin-fd"))?;
    token.unblock(by, new, &patience)?;
    Ok(Report::done(format!("token {ident} has a new PIN with all its tries\n"))
        .with("serial", ident.to_string())
        .with("changed", word(Whose::User))
        .with("by", word(if by_code { Whose::ResettingCode } else { Whose::Admin })))
}

fn set_retries(common: &Common, arguments: &RetriesArguments) -> Outcome {
    let desk = Desk::new(common, None)?;
    let patience = desk.patience(work::soon());
    let mut token = work::find_token(common, &patience)?;
    let ident = token.info().ident;
    // Whatever stands in the way whatever the PIN is.
    token.may_set_tries(&patience)?;
    let tries = [arguments.user, arguments.reset, arguments.admin];
    let asking = Asking { common, desk: &desk, ident };
    asking.desk.confirm(&warning(ident, tries), arguments.yes)?;
    let now = token.set_tries(tries, asking.present(admin(arguments.admin_pin_fd))?, &patience)?;
    let [user, reset, admin] = tries;
    let mut text = format!(
        "token {ident}: {user} tries for the PIN, {reset} for the resetting code, {admin} for the admin PIN\n"
    );
    text.push_str(match now {
        PinsNow::Factory => {
            "  its PINs are those of the factory now (123456 and 12345678); change both before anything else:\n  \
             touchgate card pin change, touchgate card pin change --admin\n"
        }
        PinsNow::Kept => "  its admin PIN is as before; see that the PIN is too\n",
    });
    Ok(Report::done(text)
        .with("serial", ident.to_string())
        .with("tries", json!(tries))
        .with("pins", if now == PinsNow::Factory { "factory" } else { "kept" }))
}

fn warning(ident: Ident, [user, reset, admin]: [u8; 3]) -> String {
    format!(
        "This gives token {ident} {user} tries for the PIN, {reset} for the resetting code and {admin} for the admin PIN,\n\
         and SETS ITS PINS BACK to those of the factory (123456 and 12345678), as YubiKeys may do.\n"
    )
}

fn word(whose: Whose) -> &'static str {
    match whose {
        Whose::Admin => "admin-pin",
        Whose::ResettingCode => "resetting-code",
        Whose::User => "pin",
    }
}
