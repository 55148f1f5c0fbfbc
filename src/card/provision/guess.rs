//! Which admin PIN a token has, as far as is known: never two wrong tries of the same.
//!
//! A command that changes the admin PIN may be cut off before or after the card carried it out. So both
//! PINs are written down before it is sent. When one is then tried, that is written down first, with the
//! tries that the card had left: if the answer is lost too, the counter tells whether it was wrong.

use serde::{Deserialize, Serialize};

/// A PIN that the token may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Which {
    Factory,
    /// What somebody said that it is.
    Given,
    /// The one made for this token.
    New,
}

/// What is known about one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Untried,
    /// The counter went down while its answer was lost. A card may also count a try first and lose power
    /// before it compares.
    Doubtful,
    /// The card said so.
    Wrong,
    /// The card said so.
    Right,
}

/// Why none may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoGuess {
    /// The card has no tries left.
    Blocked,
    /// All were wrong.
    NoneLeft,
    /// One try is left, and nothing proves which one is right.
    TooRisky,
}

/// The admin PINs that a token may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdminPin {
    candidates: Vec<(Which, Verdict)>,
    /// Tried, the answer not yet known, with the tries that were left before.
    guess: Option<(Which, u8)>,
    /// Tries left after the last wrong answer.
    wrong_at: Option<u8>,
}

impl AdminPin {
    /// One that nothing confirms yet.
    pub(super) fn supposed(which: Which) -> Self {
        Self { candidates: vec![(which, Verdict::Untried)], guess: None, wrong_at: None }
    }

    fn certain(which: Which) -> Self {
        Self { candidates: vec![(which, Verdict::Right)], guess: None, wrong_at: None }
    }

    /// About to change from the one that is right: it may become `next`.
    pub(super) fn changing(&mut self, next: Which) {
        let present = self.known();
        if present == Some(next) {
            return;
        }
        self.candidates = vec![(next, Verdict::Untried)];
        self.candidates.extend(present.map(|it| (it, Verdict::Untried)));
        (self.guess, self.wrong_at) = (None, None);
    }

    /// Somebody says what it is: that is tried first.
    pub(super) fn told(&mut self) {
        self.candidates.retain(|(which, _)| *which != Which::Given);
        self.candidates.insert(0, (Which::Given, Verdict::Untried));
        if self.guess.is_some_and(|(which, _)| which == Which::Given) {
            self.guess = None;
        }
    }

    /// The one that is certainly right.
    pub(super) fn known(&self) -> Option<Which> {
        self.candidates.iter().find(|(_, verdict)| *verdict == Verdict::Right).map(|(which, _)| *which)
    }

    /// Takes the card's counter into account, which may tell what became of a try whose answer was lost.
    pub(super) fn reconcile(&mut self, left: u8) {
        if let Some((which, before)) = self.guess.take() {
            if left < before {
                // One that the card once confirmed is not doubted for a lost answer.
                if self.known() != Some(which) {
                    self.judge(which, Verdict::Doubtful);
                }
            } else if left > before {
                // Only the right one gives tries back.
                *self = Self::certain(which);
            }
        }
        // Somebody else presented the right one since, or set the token back: what was wrong then may not be now.
        if self.wrong_at.is_some_and(|at| left > at) {
            self.candidates.iter_mut().for_each(|(_, verdict)| *verdict = Verdict::Untried);
            self.wrong_at = None;
        }
    }

    /// Which one to try with so many tries left.
    pub(super) fn choose(&self, left: u8) -> Result<Which, NoGuess> {
        let with = |wanted: Verdict| self.candidates.iter().filter(move |(_, verdict)| *verdict == wanted);
        if left == 0 {
            return Err(NoGuess::Blocked);
        }
        let choice = with(Verdict::Right).chain(with(Verdict::Untried)).chain(with(Verdict::Doubtful)).next();
        let (which, verdict) = choice.ok_or(NoGuess::NoneLeft)?;
        // All others were wrong by the card's own word, so it can be no other.
        let only = self.candidates.len() > 1
            && self.candidates.iter().filter(|(_, verdict)| *verdict != Verdict::Wrong).count() == 1;
        if left < 2 && *verdict != Verdict::Right && !only {
            return Err(NoGuess::TooRisky);
        }
        Ok(*which)
    }

    /// It is about to be tried.
    pub(super) fn trying(&mut self, which: Which, left: u8) {
        self.guess = Some((which, left));
    }

    /// The card took it.
    pub(super) fn right(&mut self, which: Which) {
        *self = Self::certain(which);
    }

    /// The card refused it, and has so many tries left.
    pub(super) fn wrong(&mut self, which: Which, left: u8) {
        self.guess = None;
        self.wrong_at = Some(left);
        self.judge(which, Verdict::Wrong);
    }

    /// It never came to comparing.
    pub(super) fn not_tried(&mut self) {
        self.guess = None;
    }

    fn judge(&mut self, wanted: Which, now: Verdict) {
        for (which, verdict) in &mut self.candidates {
            if *which == wanted {
                *verdict = now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> AdminPin {
        let mut pin = AdminPin::certain(Which::Factory);
        pin.changing(Which::New);
        pin
    }

    #[test]
    fn a_wrong_one_is_not_tried_again() {
        let mut pin = two();
        assert_eq!(pin.choose(3), Ok(Which::New));
        pin.trying(Which::New, 3);
        pin.wrong(Which::New, 2);
        pin.reconcile(2);
        assert_eq!(pin.choose(2), Ok(Which::Factory));
        // The card's own word leaves only this one.
        assert_eq!(pin.choose(1), Ok(Which::Factory));
        pin.trying(Which::Factory, 1);
        pin.wrong(Which::Factory, 1);
        assert_eq!(pin.choose(1), Err(NoGuess::NoneLeft));
    }

    #[test]
    fn the_counter_tells_what_a_lost_answer_was() {
        let mut lost = two();
        lost.trying(Which::New, 3);
        let mut wrong = lost.clone();
        wrong.reconcile(2);
        assert_eq!(wrong.choose(2), Ok(Which::Factory));
        // Perhaps it was right and power went before the card compared: it comes last, not never.
        wrong.trying(Which::Factory, 2);
        wrong.wrong(Which::Factory, 1);
        assert_eq!(wrong.choose(1), Ok(Which::New));
        let mut unseen = lost.clone();
        unseen.reconcile(3);
        assert_eq!(unseen.choose(3), Ok(Which::New));
        lost.guess = Some((Which::New, 2));
        lost.reconcile(3);
        assert_eq!(lost.known(), Some(Which::New));
    }

    #[test]
    fn the_last_try_is_not_for_guessing() {
        assert_eq!(two().choose(1), Err(NoGuess::TooRisky));
        assert_eq!(AdminPin::supposed(Which::Factory).choose(1), Err(NoGuess::TooRisky));
        assert_eq!(AdminPin::certain(Which::New).choose(1), Ok(Which::New));
        assert_eq!(AdminPin::certain(Which::New).choose(0), Err(NoGuess::Blocked));
    }

    #[test]
    fn a_token_that_somebody_opened_since_is_tried_afresh() {
        let mut pin = AdminPin::supposed(Which::Factory);
        pin.trying(Which::Factory, 3);
        pin.wrong(Which::Factory, 2);
        pin.reconcile(2);
        assert_eq!(pin.choose(2), Err(NoGuess::NoneLeft));
        pin.reconcile(3);
        assert_eq!(pin.choose(3), Ok(Which::Factory));
        pin.wrong(Which::Factory, 2);
        pin.told();
        assert_eq!(pin.choose(2), Ok(Which::Given));
    }

    /// Every way in which answers can be lost, over both truths: the right one is found, at least one try is
    /// left before it, and no PIN is answered wrong twice.
    #[test]
    fn whatever_is_lost_it_ends_with_the_right_one() {
        for truth in [Which::Factory, Which::New] {
            // One digit a try: 0 answered, 1 lost before the card, 2 lost after, 3 counted and never compared.
            for script in 0..4u32.pow(5) {
                let mut pin = two();
                let (mut left, mut losses) = (3u8, script);
                let mut answered_wrong = Vec::new();
                let mut power_cuts = 0;
                loop {
                    pin.reconcile(left);
                    let which = match pin.choose(left) {
                        Ok(which) => which,
                        // Power cuts in the very moment of comparing spend tries that nobody can give back.
                        Err(error) => {
                            assert!(power_cuts > 0 && error == NoGuess::TooRisky, "{script} {pin:?}");
                            break;
                        }
                    };
                    pin.trying(which, left);
                    let loss = losses % 4;
                    losses /= 4;
                    let after = |left: &mut u8| *left = if which == truth { 3 } else { *left - 1 };
                    match loss {
                        1 => {}
                        2 => after(&mut left),
                        3 => {
                            left -= 1;
                            power_cuts += 1;
                        }
                        _ if which == truth => {
                            pin.right(which);
                            assert_eq!(pin.known(), Some(truth));
                            break;
                        }
                        _ => {
                            after(&mut left);
                            assert!(!answered_wrong.contains(&which), "{script}");
                            answered_wrong.push(which);
                            pin.wrong(which, left);
                        }
                    }
                    assert!(left > 0 || power_cuts > 0, "{script}");
                    if left == 0 {
                        break;
                    }
                }
            }
        }
    }
}
