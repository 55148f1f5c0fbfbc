//! A card behind PC/SC: the virtual one at its own pcscd, or a real token. All that differs is whose finger it is.

use std::ffi::CString;
use std::path::PathBuf;
use std::time::Duration;

use card_backend_pcsc::PcscBackend;
use pcsc::{Card, Context, Disposition, Error, Protocols, Scope, ShareMode};
use virtual_openpgp_card::control;

use crate::apdu::{Link, LinkError};
use crate::card::{Backend, CardFailure, TestCard};
use crate::factory;
use crate::script::{Action, Step, Touching};
use crate::serials::Ident;

/// pcsc-lite knows no more readers than this.
const MOST_READERS: usize = 16;

/// Room for an AID or what SELECT answers.
const ROOM: usize = 512;

/// Who touches a card behind PC/SC.
pub trait Hand {
    /// From now on so.
    ///
    /// # Errors
    /// [`CardFailure::Control`] where nobody can be told.
    fn finger(&mut self, touching: Touching) -> Result<(), CardFailure>;

    /// A step comes; `may_ask` if the card may ask for a touch then.
    fn announce(&mut self, step: &Step, may_ask: bool);
}

/// The finger of the virtual card, by its control socket.
#[derive(Clone, Debug)]
pub struct Controlled(pub PathBuf);

impl Hand for Controlled {
    fn finger(&mut self, touching: Touching) -> Result<(), CardFailure> {
        let line = match touching {
            Touching::Never => "finger never",
            Touching::Now => "finger now",
        };
        let told = control::ask(&self.0, line);
        told.map(|_| ()).map_err(|error| CardFailure::Control(error.to_string()))
    }

    fn announce(&mut self, _: &Step, _: bool) {}
}

/// A person at the terminal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Person(Touching);

impl Hand for Person {
    fn finger(&mut self, touching: Touching) -> Result<(), CardFailure> {
        self.0 = touching;
        Ok(())
    }

    fn announce(&mut self, step: &Step, may_ask: bool) {
        match (&step.action, self.0) {
            (Action::Finger(Touching::Never), _) => eprintln!("      hands off: do not touch the token"),
            (Action::Wait(time), _) => eprintln!("      waiting for {} s, hands off", time.as_secs()),
            (_, Touching::Now) if may_ask => eprintln!("  >>> TOUCH the token if it blinks: {}", step.text),
            _ => {}
        }
    }
}

/// One card, found by its serial in whichever reader has it.
#[derive(Debug)]
pub struct PcscCard<H> {
    wanted: Ident,
    hand: H,
    /// Where it was found last: a terminated application does not tell its serial any more.
    reader: Option<CString>,
}

impl<H> PcscCard<H> {
    /// That card, and no other, whatever else is plugged in.
    pub fn new(wanted: Ident, hand: H) -> Self {
        Self { wanted, hand, reader: None }
    }

    /// What is wrong with a card in a reader, or `None` where it is the wanted one.
    fn look(&self, reader: &CString, card: &Card) -> Option<String> {
        let transmit = |command: &[u8]| {
            let mut room = [0; ROOM];
            card.transmit(command, &mut room).map(<[u8]>::to_vec)
        };
        let selected = match transmit(&factory::SELECT) {
            Ok(answer) => answer,
            Err(error) => return Some(error.to_string()),
        };
        match selected.as_slice() {
            [.., 0x62, 0x85] if self.reader.as_ref() == Some(reader) => return None,
            [.., 0x62, 0x85] => return Some("an OpenPGP application that is terminated".to_owned()),
            [.., 0x90, 0x00] => {}
            _ => return Some("no OpenPGP application".to_owned()),
        }
        let found = transmit(&[0x00, 0xCA, 0x00, 0x4F, 0x00]).ok().and_then(|aid| Ident::of_aid(&aid));
        match found {
            Some(ident) if ident == self.wanted => None,
            Some(ident) => Some(ident.to_string()),
            None => Some("a card that does not tell its serial".to_owned()),
        }
    }
}

impl<H: Hand> TestCard for PcscCard<H> {
    fn connect(&mut self) -> Result<Backend, CardFailure> {
        let failed = |what| move |error| CardFailure::Pcsc { what, error };
        let context = Context::establish(Scope::User).map_err(failed("cannot reach pcscd"))?;
        let readers = context.list_readers_owned().map_err(failed("cannot list readers"))?;
        let mut found = Vec::new();
        for reader in readers.into_iter().take(MOST_READERS) {
            let mut note = |what: String| found.push(format!("{} ({what})", reader.to_string_lossy()));
            let mut card = match context.connect(&reader, ShareMode::Shared, Protocols::ANY) {
                Ok(card) => card,
                Err(Error::NoSmartcard) => {
                    note("empty".to_owned());
                    continue;
                }
                Err(error) => {
                    note(error.to_string());
                    continue;
                }
            };
            if let Some(what) = self.look(&reader, &card) {
                note(what);
                // It is somebody's: as little as possible is changed.
                let _ = card.disconnect(Disposition::LeaveCard);
                continue;
            }
            // Alone with it from here on, and after a reset.
            card.reconnect(ShareMode::Exclusive, Protocols::ANY, Disposition::ResetCard)
                .map_err(failed("cannot have the card alone"))?;
            let backend = PcscBackend::from_pcsc_card(&reader, ShareMode::Exclusive, card);
            let backend = backend.map_err(LinkError::Card)?;
            self.reader = Some(reader);
            return Ok(backend.into());
        }
        Err(CardFailure::NotFound { wanted: self.wanted.to_string(), found: found.join(", ") })
    }

    fn renew(&mut self) -> Result<(), CardFailure> {
        let mut link = Link::new(self.connect()?);
        Ok(factory::reset(&mut link)?)
    }

    fn finger(&mut self, touching: Touching) -> Result<(), CardFailure> {
        self.hand.finger(touching)
    }

    fn wait(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn announce(&mut self, step: &Step, may_ask: bool) {
        self.hand.announce(step, may_ask);
    }
}
