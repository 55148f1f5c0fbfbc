//! A place where a card can be reached, again and again.

use card_backend::CardBackend;

use super::error::CardError;

/// Somewhere a card is: a reader, scdaemon, this process. Reached once to look, once to sign.
pub trait Slot: Send + Sync {
    /// What a person calls the place: the reader's name as a rule.
    fn name(&self) -> &str;

    /// Which way it is.
    fn route(&self) -> Route;

    /// Opens a connection. It may block as long as somebody else has the card.
    ///
    /// # Errors
    /// Why there is none, each case its own variant.
    fn connect(&self, purpose: Purpose) -> Result<Connection, CardError>;

    /// What became of the card, asked after an exchange failed with `message` that began with
    /// `presence` there. `None` if it seems to be where it was.
    fn diagnose(&self, message: &str, presence: Option<&Presence>) -> Option<CardError>;
}

/// What a connection is for, which decides how the card is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To read. The card is left as it was, since others may be in the middle of something.
    Look,
    /// To sign. The card is reset at the end, or the PIN would stay open to the next program.
    Sign,
}

/// An open connection.
pub struct Connection {
    /// The way to send commands. Dropping it ends the connection.
    pub backend: Box<dyn CardBackend + Send + Sync>,
    /// The card's answer to reset; empty if not known.
    pub atr: Vec<u8>,
    /// What tells this card, inserted this time, from any other; `None` if nothing does.
    pub presence: Option<Presence>,
    /// Whether the reader takes PINs at keys of its own.
    pub pinpad: bool,
}

/// A mark that changes when a card is pulled, put in or exchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence(pub String);

/// The way to a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// A card in this process.
    InProcess,
    /// The reader itself, through PC/SC.
    Direct,
    /// Through gpg's scdaemon, which holds the card.
    Scdaemon,
}

type Open = dyn Fn(Purpose) -> Result<Box<dyn CardBackend + Send + Sync>, CardError> + Send + Sync;

/// A card in this process, behind any backend: the virtual card, a replayed recording.
pub struct InProcess {
    name: String,
    atr: Vec<u8>,
    open: Box<Open>,
    presence: Box<dyn Fn() -> Option<Presence> + Send + Sync>,
}

impl InProcess {
    /// A slot called `name`. `open` connects; `presence` says what is there, `None` for nothing.
    pub fn new(
        name: impl Into<String>,
        atr: Vec<u8>,
        open: impl Fn(Purpose) -> Result<Box<dyn CardBackend + Send + Sync>, CardError> + Send + Sync + 'static,
        presence: impl Fn() -> Option<Presence> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), atr, open: Box::new(open), presence: Box::new(presence) }
    }

    /// The slot of a virtual card.
    #[cfg(feature = "virtual-card")]
    pub fn virtual_card(card: &virtual_openpgp_card::VirtualCard) -> Self {
        use virtual_openpgp_card::Disposition;
        let (opened, seen) = (card.clone(), card.clone());
        Self::new(
            "virtual card",
            card.atr(),
            move |purpose| {
                Ok(match purpose {
                    Purpose::Look => opened.backend().disposition(Disposition::Leave).into(),
                    Purpose::Sign => opened.backend().into(),
                })
            },
            move || seen.is_inserted().then(|| Presence(format!("{:08x}", seen.serial()))),
        )
    }
}

impl Slot for InProcess {
    fn name(&self) -> &str {
        &self.name
    }

    fn route(&self) -> Route {
        Route::InProcess
    }

    fn connect(&self, purpose: Purpose) -> Result<Connection, CardError> {
        let presence =
            (self.presence)().ok_or_else(|| CardError::NoCard { readers: vec![self.name.clone()] })?;
        Ok(Connection {
            backend: (self.open)(purpose)?,
            atr: self.atr.clone(),
            presence: Some(presence),
            pinpad: false,
        })
    }

    fn diagnose(&self, _: &str, before: Option<&Presence>) -> Option<CardError> {
        let now = (self.presence)();
        if now.is_none() || now.as_ref() != before { Some(CardError::Removed) } else { None }
    }
}
