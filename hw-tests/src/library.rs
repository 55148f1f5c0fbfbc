//! Touchgate's own functions that change a card, on whatever card there is: PINs, touch policies, tries, attestation,
//! provisioning, reset. The same body for the virtual card and for real tokens.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use touchgate::card::admin::{AdminError, By, PinsNow};
use touchgate::card::attestation::Statement;
use touchgate::card::provision::{self, Job, Profile};
use touchgate::card::slot::Slot;
use touchgate::card::{
    Attendant, CardError, KeySlot, Patience, Pin, PinEntry, PinRequest, Tape, Token, TokenInfo, Touch,
    TouchNeed, TouchPolicy, Whose,
};
use touchgate::unix_time::UnixTime;

const USER: &str = "123456";
const ADMIN: &str = "12345678";
const NEW: &str = "271828";
const NEW_ADMIN: &str = "27182818";
const CODE: &str = "31415926";

/// What a token becomes: everything that is said in the clear here is gone with the reset at the end.
const PROFILE: &str = "[keys]\nsignature = { algorithm = \"ed25519\", touch = \"on\" }\n\
                       decryption = { algorithm = \"cv25519\", touch = \"off\" }\n[pin]\nuser = \"random\"\n";

type AnyError = Box<dyn std::error::Error>;

fn pin(text: &str) -> Result<Pin, CardError> {
    Pin::new(text.as_bytes().to_vec().into())
}

/// Goes through all of them on the card in `slot`, which must be as delivered and is so again at the end. `folder` is
/// where provisioning keeps its record.
///
/// # Errors
/// The first thing that is not as it should be.
pub fn go_through(slot: &Arc<dyn Slot>, folder: &Path) -> Result<(), AnyError> {
    let patience = Patience::lasting(Duration::from_secs(600));
    let look = || Token::look(Arc::clone(slot), &patience);
    let wants = |is: bool, what: &str| -> Result<(), AnyError> { if is { Ok(()) } else { Err(what.into()) } };

    let mut token = look()?;
    token.change_pin(Whose::User, pin(USER)?, pin(NEW)?, &patience)?;
    token.change_pin(Whose::Admin, pin(ADMIN)?, pin(NEW_ADMIN)?, &patience)?;
    token.change_pin(Whose::ResettingCode, pin(NEW_ADMIN)?, pin(CODE)?, &patience)?;
    let wrong = token.change_pin(Whose::User, pin(USER)?, pin("161803")?, &patience);
    wants(matches!(wrong, Err(AdminError::Wrong { tries_left: Some(2), .. })), "the old PIN costs one try")?;
    token.unblock(By::ResettingCode(pin(CODE)?), pin("161803")?, &patience)?;
    token.unblock(By::Admin(pin(NEW_ADMIN)?), pin(NEW)?, &patience)?;
    let mut admin = NEW_ADMIN;
    match token.set_tries([5, 4, 6], pin(NEW_ADMIN)?, &patience) {
        Err(AdminError::TriesFixed { .. }) => {}
        now => {
            let now = now?;
            println!("      after SET PIN RETRIES the admin PIN is: {now:?}");
            let tries = look()?;
            let (is, most) = (tries.info(), "the tries are as they were set");
            wants((is.pin_tries_left, is.admin_pin_tries_left) == (5, 6), most)?;
            if now == PinsNow::Factory {
                admin = ADMIN;
            }
        }
    }
    let key = Some(KeySlot::Signature);
    match token.set_touch(key, Touch::On, pin(admin)?, &patience) {
        Err(AdminError::NoTouchPolicy { .. }) => {}
        set => {
            set?;
            wants(look()?.info().touch == TouchPolicy::On, "touch is on")?;
            token.set_touch(key, Touch::Off, pin(admin)?, &patience)?;
        }
    }

    token.reset(&patience)?;
    let token = look()?;
    wants(token.info().signature_key.is_none(), "no key is left")?;
    let (ident, attests) = (token.info().ident, token.attests(&patience)?);
    let job = Job {
        ident,
        profile: Profile::parse(PROFILE, &folder.join("profile.toml"))?,
        directory: folder.join("token"),
        admin_pin: None,
        user_pin: None,
        erase: None,
        person: provision::Person::default(),
        intermediates: Vec::new(),
        progress: Arc::new(|_| {}),
    };
    let mut person = Holder(USER.to_owned());
    let done = provision::provision(slot, &job, &mut person, &Tape::default(), &patience)?;
    let told = done.tell.iter().find(|told| told.what == "user PIN").map(|told| told.secret.clone());
    done.finish(UnixTime::now())?;
    let told = told.ok_or("a user PIN was made")?;
    let mut token = look()?;
    wants(token.info().touch == TouchPolicy::On, "the touch policy of the profile")?;
    if attests {
        let mut person = Holder(told.to_string());
        let attested = token.attest(KeySlot::Signature, false, &mut person, &patience)?;
        let said = Statement::read(&attested.attestation)?;
        wants(said.touch == TouchPolicy::On, "the attestation names the touch policy")?;
    }
    token.reset(&patience)?;
    Ok(())
}

/// Somebody with a PIN, who touches when asked.
struct Holder(String);

impl Attendant for Holder {
    fn pin(&mut self, request: &PinRequest<'_>) -> Result<Option<PinEntry>, CardError> {
        // Never the same twice.
        Ok(if request.refused.is_some() { None } else { Some(PinEntry::Typed(pin(&self.0)?)) })
    }

    fn touch_needed(&mut self, token: &TokenInfo, _: TouchNeed) {
        eprintln!("  >>> TOUCH token {} if it blinks", token.ident);
    }

    fn not_touched(&mut self, _: Duration) -> bool {
        false
    }
}
