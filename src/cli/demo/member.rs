//! Somebody on stage: a virtual token, its certificate, and the finger that touches it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use sequoia_openpgp::Cert;
use sequoia_openpgp::serialize::SerializeInto as _;
use virtual_openpgp_card::{Algorithm, Slot, TouchPolicy, VirtualCard};

use super::{PIN, random, tell};
use crate::card::certificate::{self, Settings};
use crate::card::{
    Attendant, CardError, CardSigner, InProcess, Patience, Pin, PinEntry, PinRequest, Token, TokenInfo,
    TouchNeed,
};
use crate::challenge::Challenge;
use crate::cli::prompt::{Terminal, Typed};
use crate::cli::report::Failure;
use crate::response::Response;
use crate::sign;
use crate::statement::Decision;
use crate::trust::Files;
use crate::unix_time::UnixTime;

/// A person and their token.
pub(super) struct Member {
    /// As the roster has it.
    pub(super) name: &'static str,
    pub(super) card: VirtualCard,
    pub(super) token: Token,
    pub(super) cert: Cert,
}

impl Member {
    /// Makes a token with a key that wants a touch for good, and its certificate.
    pub(super) fn new(
        name: &'static str,
        user_id: &str,
        serial: Option<u32>,
        window: Duration,
    ) -> Result<Self, Failure> {
        let failed = |error: &dyn ToString| Failure::failed("demo", error.to_string());
        let builder = VirtualCard::builder().seed(random()?).touch_window(window);
        let card = match serial {
            Some(serial) => builder.serial(serial).build(),
            None => builder.build(),
        };
        let created = u32::try_from(UnixTime::now().seconds()).map_err(|error| failed(&error))?;
        card.generate(Slot::Signature, Algorithm::Ed25519, created).map_err(|error| failed(&error))?;
        let patience = Patience::lasting(Duration::from_secs(60));
        let mut token = Token::look(Arc::new(InProcess::virtual_card(&card)), &patience)?;
        let keys = token.keys(&patience)?;
        let mut person = Hand { terminal: None, card: &card, quiet: true };
        let mut signer = CardSigner::new(&mut token, keys.signature.clone(), &mut person, patience.clone())?;
        let made = certificate::make(&keys, user_id, &Settings::default(), &mut signer);
        let cert = made.map_err(|error| failed(&error))?.cert;
        card.set_touch_policy(Slot::Signature, TouchPolicy::Fixed);
        let token = Token::look(Arc::new(InProcess::virtual_card(&card)), &patience)?;
        Ok(Self { name, card, token, cert })
    }

    /// PIN, touch, signature: the same code as with a token in a reader.
    pub(super) fn sign(
        &mut self,
        challenge: &Challenge,
        terminal: Option<&Terminal>,
        quiet: bool,
        cancel: &Arc<AtomicBool>,
    ) -> Result<Response, Failure> {
        let statement = challenge.clone().decided(Decision::Approve);
        let key = sign::key_on_card(&self.cert, &self.token)
            .ok_or(CardError::NoSignatureKey { ident: self.token.info().ident })?;
        let mut person = Hand { terminal, card: &self.card, quiet };
        let left = challenge.expires.since(UnixTime::now());
        let patience = Patience { cancel: Arc::clone(cancel), ..Patience::lasting(left) };
        let mut signer = CardSigner::new(&mut self.token, key, &mut person, patience)?;
        let text = statement.to_text();
        let signature = sign::detached(&mut signer, text.as_bytes(), SystemTime::now())?;
        Ok(Response { statement: text.into_bytes(), signature })
    }

    /// What trust holds of them.
    pub(super) fn files(&self, groups: &[&str]) -> Result<Files, Failure> {
        let info = self.token.info();
        let key = info.signature_key.as_ref().map(|key| key.fingerprint.to_hex()).unwrap_or_default();
        let name = self.name;
        let record = format!(
            "groups     = {groups:?}\nidentities = [\"os:{name}@laptop\"]\n\n[[token]]\nserial = \"{}\"\nkey    = \"{key}\"\ntouch  = \"declared\"\n",
            info.ident,
        );
        let armored =
            self.cert.armored().to_vec().map_err(|error| Failure::failed("demo", error.to_string()))?;
        Ok(Files::from([
            (format!("people/{name}.toml"), record.into_bytes()),
            (format!("tokens/{}.asc", info.ident), armored),
        ]))
    }
}

/// The person's hand, or that of whoever sits at the terminal.
struct Hand<'a> {
    terminal: Option<&'a Terminal>,
    card: &'a VirtualCard,
    quiet: bool,
}

impl Attendant for Hand<'_> {
    fn pin(&mut self, request: &PinRequest<'_>) -> Result<Option<PinEntry>, CardError> {
        if request.refused.is_some() {
            return Ok(None);
        }
        Pin::new(PIN.as_bytes().to_vec().into()).map(|pin| Some(PinEntry::Typed(pin)))
    }

    fn touch_needed(&mut self, token: &TokenInfo, _: TouchNeed) {
        match self.terminal {
            None if self.quiet => {}
            None => tell(&format!("PIN given; token {} blinks and waits for a finger …", token.ident)),
            Some(terminal) => {
                if let Ok(Typed::Line(_)) = terminal.ask("PIN given; the token blinks. Enter touches it: ") {
                    // The card may not have got the command yet.
                    self.card.wait_until_touch_awaited(Duration::from_secs(1));
                    self.card.press();
                }
            }
        }
    }

    fn not_touched(&mut self, _: Duration) -> bool {
        false
    }
}
