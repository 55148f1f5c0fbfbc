//! One PIN for several things in a row, asked for once.

use std::time::Duration;

use super::error::{CardError, Doing};
use super::info::{TokenInfo, TouchNeed};
use super::touch::{Attendant, PinEntry, PinRequest};

/// The PIN that was given last, as long as this lives. A card that refuses it has it asked for again.
#[derive(Debug, Default)]
pub struct KeptPin(Option<PinEntry>);

impl KeptPin {
    /// `attendant`, who is asked for the PIN only where none is kept.
    pub fn with<'a>(&'a mut self, attendant: &'a mut dyn Attendant) -> impl Attendant + 'a {
        Remembering { kept: &mut self.0, attendant }
    }
}

struct Remembering<'a> {
    kept: &'a mut Option<PinEntry>,
    attendant: &'a mut dyn Attendant,
}

impl Attendant for Remembering<'_> {
    fn pin(&mut self, request: &PinRequest<'_>) -> Result<Option<PinEntry>, CardError> {
        if request.refused.is_some() || self.kept.is_none() {
            *self.kept = None;
            *self.kept = self.attendant.pin(request)?;
        }
        Ok(self.kept.clone())
    }

    fn pinpad(&mut self, token: &TokenInfo) {
        self.attendant.pinpad(token);
    }

    fn about_to(&mut self, what: &str) {
        self.attendant.about_to(what);
    }

    fn touch_needed(&mut self, token: &TokenInfo, need: TouchNeed) {
        self.attendant.touch_needed(token, need);
    }

    fn waiting(&mut self, doing: Doing, waited: Duration, left: Duration) {
        self.attendant.waiting(doing, waited, left);
    }

    fn not_touched(&mut self, waited: Duration) -> bool {
        self.attendant.not_touched(waited)
    }
}
