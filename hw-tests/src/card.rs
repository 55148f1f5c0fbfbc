//! A card to test: how it is connected to, who touches it, how it becomes new. And the first of them, in process.

use std::fmt;
use std::time::Duration;

use card_backend::CardBackend;
use virtual_openpgp_card::{Finger, Personality, SteppedClock, VirtualCard};

use crate::apdu::LinkError;
use crate::factory::FactoryError;
use crate::script::{Step, Touching};

/// A connection as `openpgp-card` knows it.
pub type Backend = Box<dyn CardBackend + Send + Sync>;

/// A card that scripts run on.
pub trait TestCard {
    /// Connects to it, after a reset.
    ///
    /// # Errors
    /// [`CardFailure`] where that is not possible.
    fn connect(&mut self) -> Result<Backend, CardFailure>;

    /// Makes it as it left the factory.
    ///
    /// # Errors
    /// [`CardFailure`] where it does not become so.
    fn renew(&mut self) -> Result<(), CardFailure>;

    /// Who touches it from now on.
    ///
    /// # Errors
    /// [`CardFailure`] where nobody can be told.
    fn finger(&mut self, touching: Touching) -> Result<(), CardFailure>;

    /// Lets time pass for the card.
    fn wait(&mut self, time: Duration);

    /// A step is about to be done; `may_ask` if the card may ask for a touch then.
    fn announce(&mut self, _step: &Step, _may_ask: bool) {}
}

/// Why a card could not be tested.
#[derive(Debug, thiserror::Error)]
pub enum CardFailure {
    /// The control socket of the virtual card does not answer.
    #[error("the virtual card's finger cannot be moved: {0}")]
    Control(String),
    /// The factory reset failed.
    #[error(transparent)]
    Factory(#[from] FactoryError),
    /// No answer came.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// There is no reader with the card that was wanted.
    #[error("no reader has the card {wanted}; there are: {found}")]
    NotFound {
        /// The card.
        wanted: String,
        /// What was found in each reader.
        found: String,
    },
    /// PC/SC failed.
    #[error("{what}: {error}")]
    Pcsc {
        /// What was tried.
        what: &'static str,
        /// What PC/SC says.
        error: pcsc::Error,
    },
}

/// The virtual card in this process, on a clock that waits for nobody.
pub struct InProcess {
    personality: Personality,
    clock: SteppedClock,
    card: VirtualCard,
}

/// Fixed, so that keys and recordings are the same each time.
const SEED: [u8; 32] = [7; 32];

impl InProcess {
    /// A new card of that kind.
    pub fn new(personality: Personality) -> Self {
        let clock = SteppedClock::new();
        Self { personality, card: build(personality, &clock), clock }
    }
}

fn build(personality: Personality, clock: &SteppedClock) -> VirtualCard {
    let builder = VirtualCard::builder().personality(personality).seed(SEED);
    builder.finger(Finger::Never).clock(clock.clone()).build()
}

impl TestCard for InProcess {
    fn connect(&mut self) -> Result<Backend, CardFailure> {
        self.card.reset();
        Ok(self.card.backend().into())
    }

    fn renew(&mut self) -> Result<(), CardFailure> {
        self.card = build(self.personality, &self.clock);
        Ok(())
    }

    fn finger(&mut self, touching: Touching) -> Result<(), CardFailure> {
        self.card.set_finger(match touching {
            Touching::Never => Finger::Never,
            Touching::Now => Finger::Now,
        });
        Ok(())
    }

    fn wait(&mut self, time: Duration) {
        self.clock.advance(time);
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").field("personality", &self.personality).finish_non_exhaustive()
    }
}
