//! Many tokens in a row: who gets one, which token that is, and how far each has come.
//!
//! [`people`] reads who gets a token, [`Ledger`] remembers whose each token is from before anything is written
//! to it, [`run`] goes through the people. Whoever stands at the table is a [`Hall`].

mod ledger;
pub mod people;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use ledger::{Entry, FleetError, Ledger, State};
pub use people::{PeopleError, Row};

use super::ProvisionError;
use crate::card::error::CardError;
use crate::card::ident::Ident;
use crate::card::slot::Slot;

/// The table where tokens are plugged in, and whoever stands there.
pub trait Hall {
    /// The tokens that are plugged in now.
    ///
    /// # Errors
    /// What concerns all readers; the fleet ends with it.
    fn tokens(&mut self) -> Result<Vec<Plugged>, CardError>;

    /// The token for `row` is not there. Waits until something has changed, or gives up.
    fn wait(&mut self, row: &Row, wanted: Option<Ident>, strangers: &[Ident]) -> Wait;

    /// Several tokens could be the one for `row`: which is it?
    fn choose(&mut self, row: &Row, candidates: &[Ident]) -> Option<Ident>;

    /// Whether that token can become one for `row`. Nothing is written.
    ///
    /// # Errors
    /// Why not.
    fn check(&mut self, row: &Row, token: &Chosen) -> Result<(), Trouble>;

    /// Makes the token one for `row`.
    ///
    /// # Errors
    /// Why it is not.
    fn provision(&mut self, row: &Row, token: &Chosen) -> Result<Finished, Trouble>;

    /// Told when the turn of a row has come; `number` counts from 1.
    fn begins(&mut self, number: usize, of: usize, row: &Row);

    /// Told when a row has ended.
    fn ended(&mut self, number: usize, of: usize, entry: &Entry);
}

/// A token that is plugged in, and where.
pub type Plugged = (Ident, Arc<dyn Slot>);

/// A token that is for a row.
pub struct Chosen {
    /// Its number.
    pub ident: Ident,
    /// Where it is.
    pub slot: Arc<dyn Slot>,
    /// Its folder.
    pub directory: PathBuf,
}

impl std::fmt::Debug for Chosen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chosen").field("ident", &self.ident).finish_non_exhaustive()
    }
}

/// What came of waiting for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Something has changed: look again.
    Again,
    /// On with the next person.
    Skip,
    /// Enough for today.
    Stop,
}

/// A token that is as it should be.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Whether it was so before.
    pub already: bool,
    /// Commands that changed something on it.
    pub writes: usize,
    /// The file that enrols it.
    pub enrolment: Option<PathBuf>,
}

/// Why a token is not as it should be.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// Stable, for machines.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// What it means for the fleet.
    pub kind: TroubleKind,
}

/// What a trouble means for the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TroubleKind {
    /// On with the next.
    Failed,
    /// The token was pulled: it can be continued.
    Pulled,
    /// The person at the table stopped it.
    Stopped,
}

impl TroubleKind {
    /// What an error of a run means for the fleet.
    pub fn of(error: &ProvisionError) -> Self {
        match error {
            ProvisionError::Card(
                CardError::Removed
                | CardError::Changed { .. }
                | CardError::NoCard { .. }
                | CardError::Transport { .. },
            ) => Self::Pulled,
            ProvisionError::Card(CardError::Cancelled { .. }) => Self::Stopped,
            _ => Self::Failed,
        }
    }
}

/// The folder of a token among those of the fleet.
pub fn folder(out: &Path, ident: Ident) -> PathBuf {
    out.join(ident.to_string().replace(':', "-"))
}

/// Goes through the people once. Every end of a row is in the ledger, on the disk, before the next begins.
///
/// Returns whether it came to the last one: false if somebody stopped it.
///
/// # Errors
/// What ends the fleet: the ledger cannot be written, or no reader can be looked into.
pub fn run(rows: &[Row], ledger: &mut Ledger, hall: &mut dyn Hall) -> Result<bool, FleetError> {
    ledger.admit(rows)?;
    for (number, row) in (1..).zip(rows) {
        hall.begins(number, rows.len(), row);
        let went_on = one(row, rows, ledger, hall)?;
        hall.ended(number, rows.len(), ledger.entry(row)?);
        if !went_on {
            return Ok(false);
        }
    }
    Ok(true)
}

fn one(row: &Row, rows: &[Row], ledger: &mut Ledger, hall: &mut dyn Hall) -> Result<bool, FleetError> {
    let chosen = match choose(row, rows, ledger, hall)? {
        Choice::Token(chosen) => chosen,
        Choice::Skip => return ledger.note(row, State::Absent, None).map(|()| true),
        Choice::Several => return ledger.note(row, State::Several, None).map(|()| true),
        Choice::Stop => return Ok(false),
    };
    if let Err(trouble) = hall.check(row, &chosen) {
        // Nothing was written, so the token need not be this person's.
        return ended(row, ledger, &trouble);
    }
    // From here on it is, whatever happens.
    ledger.bind(row, chosen.ident)?;
    match hall.provision(row, &chosen) {
        Ok(finished) => ledger.finish(row, &finished).map(|()| true),
        Err(trouble) => ended(row, ledger, &trouble),
    }
}

fn ended(row: &Row, ledger: &mut Ledger, trouble: &Trouble) -> Result<bool, FleetError> {
    let (state, went_on) = match trouble.kind {
        TroubleKind::Failed => (State::Failed, true),
        TroubleKind::Pulled => (State::Pulled, true),
        TroubleKind::Stopped => (State::Stopped, false),
    };
    ledger.note(row, state, Some(trouble))?;
    Ok(went_on)
}

enum Choice {
    Token(Chosen),
    Skip,
    Several,
    Stop,
}

/// Finds the token for a row: the one that is named or bound, else one that is nobody's.
fn choose(row: &Row, rows: &[Row], ledger: &Ledger, hall: &mut dyn Hall) -> Result<Choice, FleetError> {
    let wanted = ledger.entry(row)?.serial.or(row.serial);
    loop {
        let mut tokens = hall.tokens()?;
        let mut seen: Vec<Ident> = tokens.iter().map(|(ident, _)| *ident).collect();
        let ident = match wanted {
            Some(wanted) => seen.contains(&wanted).then_some(wanted),
            None => {
                let taken = |ident: Ident| {
                    ledger.is_bound(ident)
                        || rows.iter().any(|row| row.serial == Some(ident))
                        || ledger.is_anothers(ident, row)
                };
                let free: Vec<Ident> = seen.iter().copied().filter(|ident| !taken(*ident)).collect();
                match free.as_slice() {
                    [] => None,
                    [only] => Some(*only),
                    several => match hall.choose(row, several) {
                        Some(ident) if several.contains(&ident) => Some(ident),
                        _ => return Ok(Choice::Several),
                    },
                }
            }
        };
        if let Some(ident) = ident {
            // The same number twice is no number.
            if seen.iter().filter(|other| **other == ident).count() > 1 {
                return Ok(Choice::Several);
            }
            let at = tokens.iter().position(|(other, _)| *other == ident).unwrap_or_default();
            let (_, slot) = tokens.swap_remove(at);
            return Ok(Choice::Token(Chosen { ident, slot, directory: folder(ledger.out(), ident) }));
        }
        seen.sort();
        match hall.wait(row, wanted, &seen) {
            Wait::Again => {}
            Wait::Skip => return Ok(Choice::Skip),
            Wait::Stop => return Ok(Choice::Stop),
        }
    }
}
