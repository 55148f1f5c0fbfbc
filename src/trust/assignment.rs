//! Who sits where: votes to slots, so that no person, no key and no token serves twice.
//!
//! Pure numbers: a caller gives people, keys, tokens and slots small numbers of its own, and says who fits where.

/// How many votes may clash over a key or token between people before none of them is believed. A roster lists neither
/// for two people, so that a clash at all means that something else is broken; each one doubles the work.
const MAX_CLASHING: usize = 12;

/// One approval, reduced to what may serve only once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vote {
    /// Who gave it.
    pub(super) person: usize,
    /// The public key, whatever its fingerprints.
    pub(super) key: usize,
    /// The token's serial.
    pub(super) token: usize,
}

/// As many slots filled as can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    /// For each slot the vote that fills it, by its place among the votes.
    pub(super) filled: Vec<Option<usize>>,
    /// For each slot whether one more person who fits it, and has not voted, would fill one more: it is empty, or
    /// whoever sits in it can move towards one that is.
    pub(super) open: Vec<bool>,
}

impl Assignment {
    /// How many slots are filled.
    pub(super) fn size(&self) -> usize {
        self.filled.iter().flatten().count()
    }

    /// How many are not.
    pub(super) fn missing(&self) -> usize {
        self.filled.len() - self.size()
    }
}

/// Fills as many of `slots` as can be; `fits(person, slot)` says who may sit where.
///
/// Which slots are open depends on the votes and not on their order. Of people who could take each other's place, those
/// sit whose votes come first: whoever brings the stronger evidence, if the caller sorts by it.
pub(super) fn assign(votes: &[Vote], slots: usize, fits: &dyn Fn(usize, usize) -> bool) -> Assignment {
    let table = Table { votes, slots, fits };
    let clashing = votes.iter().filter(|vote| votes.iter().any(|other| clash(vote, other))).count();
    let mut live = vec![true; votes.len()];
    if clashing > MAX_CLASHING {
        for (vote, live) in votes.iter().zip(&mut live) {
            *live = !votes.iter().any(|other| clash(vote, other));
        }
    }
    table.best(&mut live)
}

/// Two people's votes by one key or one token: at most one of them serves.
fn clash(one: &Vote, other: &Vote) -> bool {
    one.person != other.person && (one.key == other.key || one.token == other.token)
}

struct Table<'a> {
    votes: &'a [Vote],
    slots: usize,
    fits: &'a dyn Fn(usize, usize) -> bool,
}

impl Table<'_> {
    /// The largest assignment of the votes that are live: of two that clash, each is left out in turn.
    fn best(&self, live: &mut [bool]) -> Assignment {
        let Some((first, second)) = self.first_clash(live) else { return self.fill(live) };
        let mut without = |vote: usize| {
            live.get_mut(vote).into_iter().for_each(|live| *live = false);
            let best = self.best(live);
            live.get_mut(vote).into_iter().for_each(|live| *live = true);
            best
        };
        let (with_first, with_second) = (without(second), without(first));
        if with_second.size() > with_first.size() { with_second } else { with_first }
    }

    fn first_clash(&self, live: &[bool]) -> Option<(usize, usize)> {
        let alive = || self.votes.iter().zip(live).enumerate().filter(|(_, (_, live))| **live);
        alive().find_map(|(at, (vote, _))| {
            let other =
                alive().skip_while(|(other, _)| *other <= at).find(|(_, (other, _))| clash(vote, other));
            other.map(|(other, _)| (at, other))
        })
    }

    /// With no clash left, keys and tokens are distinct where people are: one seat a person is all there is to see to.
    fn fill(&self, live: &[bool]) -> Assignment {
        let mut filled: Vec<Option<usize>> = vec![None; self.slots];
        let mut seated: Vec<usize> = Vec::new();
        for (at, (vote, _)) in self.votes.iter().zip(live).enumerate().filter(|(_, (_, live))| **live) {
            if !seated.contains(&vote.person) && self.seat(at, &mut filled, &mut vec![false; self.slots]) {
                // Who sits may be moved, and is never put out again.
                seated.push(vote.person);
            }
        }
        let open = self.open(&filled);
        Assignment { filled, open }
    }

    /// Finds a seat for a vote, moving others to other seats where that helps (Kuhn's augmenting path).
    fn seat(&self, vote: usize, filled: &mut [Option<usize>], seen: &mut [bool]) -> bool {
        for slot in 0..self.slots {
            match seen.get_mut(slot) {
                Some(seen) if !*seen && self.fits(vote, slot) => *seen = true,
                _ => continue,
            }
            let holder = filled.get(slot).copied().flatten();
            if holder.is_none_or(|other| self.seat(other, filled, seen)) {
                if let Some(filled) = filled.get_mut(slot) {
                    *filled = Some(vote);
                }
                return true;
            }
        }
        false
    }

    /// The slots from which a chain of moves leads to an empty one.
    fn open(&self, filled: &[Option<usize>]) -> Vec<bool> {
        let mut open: Vec<bool> = filled.iter().map(Option::is_none).collect();
        loop {
            let fits_open =
                |vote: usize| open.iter().enumerate().any(|(slot, open)| *open && self.fits(vote, slot));
            let more: Vec<bool> =
                open.iter().zip(filled).map(|(open, by)| *open || by.is_some_and(fits_open)).collect();
            if more == open {
                return open;
            }
            open = more;
        }
    }

    fn fits(&self, vote: usize, slot: usize) -> bool {
        self.votes.get(vote).is_some_and(|vote| (self.fits)(vote.person, slot))
    }
}

#[cfg(test)]
mod tests;
