//! One PIN for several things in a row, asked for once.

use std::time::Duration;

use super::error::{CardError, Doing};
use super::info::{TokenInfo, TouchNeed};
use super::pin::Pin;
use super::touch::{Attendant, PinEntry, PinRequest};

/// The PIN that was given last, as long as this lives. A card that refuses it has it asked for again.
#[derive(Debug, Default)]
pub struct KeptPin(Option<PinEntry>);

impl KeptPin {
    /// `attendant`, who is asked for the PIN only where none is kept.
    pub fn with<'a>(&'a mut self, attendant: &'a mut dyn Attendant) -> impl Attendant + 'a {
        let kept = &mut self.0;
        let pin = move |request: &PinRequest<'_>, attendant: &mut dyn Attendant| {
            if request.refused.is_some() || kept.is_none() {
                *kept = None;
                *kept = attendant.pin(request)?;
            }
            Ok(kept.clone())
        };
        Instead { pin, attendant }
    }
}

/// `attendant`, who need not be asked for the PIN. It is presented once: again it would be the same wrong PIN.
pub(super) fn knowing<'a>(pin: &'a Pin, attendant: &'a mut dyn Attendant) -> impl Attendant + 'a {
    let pin = |request: &PinRequest<'_>, _: &mut dyn Attendant| {
        Ok(request.refused.is_none().then(|| PinEntry::Typed(pin.clone())))
    };
    Instead { pin, attendant }
}

/// Somebody whose PIN comes from elsewhere.
struct Instead<'a, P> {
    pin: P,
    attendant: &'a mut dyn Attendant,
}

impl<P> Attendant for Instead<'_, P>
where
    P: FnMut(&PinRequest<'_>, &mut dyn Attendant) -> Result<Option<PinEntry>, CardError>,
{
    fn pin(&mut self, request: &PinRequest<'_>) -> Result<Option<PinEntry>, CardError> {
        (self.pin)(request, self.attendant)
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
