//! Against an oracle that knows no better than to try everything.

use super::*;

/// Enough that each of the shapes below comes up thousands of times.
const CASES: usize = 100_000;

/// Xorshift: the same cases every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

/// Some votes, some slots, and who fits where.
struct Case {
    votes: Vec<Vote>,
    fits: Vec<Vec<bool>>,
    slots: usize,
}

const PEOPLE: usize = 5;

impl Case {
    /// Votes as a roster makes them (no key and no token of two people), or any at all.
    fn new(random: &mut Random) -> Self {
        let (count, slots) = (random.below(7), random.below(5));
        let orderly = random.below(2) == 0;
        let vote = |random: &mut Random| {
            let (person, key, token) = (random.below(PEOPLE), random.below(4), random.below(4));
            if orderly {
                Vote { person, key: person * 4 + key, token: person * 4 + token }
            } else {
                Vote { person, key, token }
            }
        };
        let votes = (0..count).map(|_| vote(random)).collect();
        // From slots that nobody fits to slots that all do.
        let odds = random.below(5);
        let fits = (0..=PEOPLE).map(|_| (0..slots).map(|_| random.below(4) < odds).collect()).collect();
        Self { votes, fits, slots }
    }

    fn assign(&self, votes: &[Vote]) -> Assignment {
        assign(votes, self.slots, &|person, slot| self.fits[person][slot])
    }

    fn clashes(&self) -> bool {
        self.votes.iter().any(|one| self.votes.iter().any(|other| clash(one, other)))
    }
}

/// The most slots that can be filled: every vote in every slot, and every slot left empty.
fn oracle(votes: &[Vote], slots: &[usize], fits: &dyn Fn(usize, usize) -> bool) -> usize {
    fn go(
        slots: &[usize],
        votes: &[Vote],
        fits: &dyn Fn(usize, usize) -> bool,
        taken: &mut Vec<Vote>,
    ) -> usize {
        let Some((slot, rest)) = slots.split_first() else { return taken.len() };
        let mut best = go(rest, votes, fits, taken);
        for vote in votes {
            let distinct = |other: &Vote| {
                other.person != vote.person && other.key != vote.key && other.token != vote.token
            };
            if fits(vote.person, *slot) && taken.iter().all(distinct) {
                taken.push(*vote);
                best = best.max(go(rest, votes, fits, taken));
                taken.pop();
            }
        }
        best
    }
    go(slots, votes, fits, &mut Vec::new())
}

#[test]
fn it_fills_what_can_be_filled_in_a_hundred_thousand_random_cases() {
    let mut random = Random(0x0070_7563_6867_6174);
    let (mut full, mut clashing, mut moved) = (0, 0, 0);
    for number in 0..CASES {
        let case = Case::new(&mut random);
        let fits = |person: usize, slot: usize| case.fits[person][slot];
        let all: Vec<usize> = (0..case.slots).collect();
        let found = case.assign(&case.votes);
        let most = oracle(&case.votes, &all, &fits);
        assert_eq!(found.size(), most, "case {number}");
        assert_eq!(found.missing(), case.slots - most);
        full += usize::from(case.slots > 0 && found.missing() == 0);
        clashing += usize::from(case.clashes());
        // Who sits fits, and shares nothing with anybody else who sits.
        let seated: Vec<(usize, Vote)> = found
            .filled
            .iter()
            .enumerate()
            .filter_map(|(slot, vote)| Some((slot, case.votes[(*vote)?])))
            .collect();
        for (at, (slot, vote)) in seated.iter().enumerate() {
            assert!(fits(vote.person, *slot), "case {number}");
            let shares = |(_, other): &&(usize, Vote)| {
                other.person == vote.person || other.key == vote.key || other.token == vote.token
            };
            assert_eq!(seated.iter().skip(at + 1).find(shares), None, "case {number}");
        }
        // A slot is open if a newcomer who fits nothing else would fill one more.
        let newcomer = Vote { person: PEOPLE, key: 99, token: 99 };
        let with_newcomer = [&case.votes[..], &[newcomer]].concat();
        for slot in 0..case.slots {
            let fits =
                |person: usize, at: usize| if person == PEOPLE { at == slot } else { fits(person, at) };
            let helps = oracle(&with_newcomer, &all, &fits) > most;
            assert!(helps || !found.open[slot], "case {number}, slot {slot}");
            assert!(found.open[slot] || !helps || case.clashes(), "case {number}, slot {slot}");
            moved += usize::from(found.open[slot] && found.filled[slot].is_some());
        }
        // In any order,
        let mut shuffled = case.votes.clone();
        random.shuffle(&mut shuffled);
        let again = case.assign(&shuffled);
        assert_eq!(again.size(), most, "case {number}");
        assert!(again.open == found.open || case.clashes(), "case {number}");
        // and one more never takes anything away.
        let more = Vote { person: random.below(PEOPLE), key: random.below(6), token: random.below(6) };
        shuffled.insert(random.below(shuffled.len() + 1), more);
        assert!(case.assign(&shuffled).size() >= most, "case {number}");
    }
    // The cases are of every kind.
    assert!(full > 5_000 && clashing > 20_000 && moved > 2_000, "{full} {clashing} {moved}");
}

#[test]
fn one_person_one_key_one_token_is_one_seat() {
    let mut random = Random(0x1234_5678_9ABC_DEF1);
    for _ in 0..10_000 {
        let (count, slots) = (1 + random.below(8), 2 + random.below(4));
        let fixed = random.below(3);
        let vote = |random: &mut Random| {
            let mut vote = Vote { person: random.below(9), key: random.below(9), token: random.below(9) };
            match fixed {
                0 => vote.person = 0,
                1 => vote.key = 0,
                _ => vote.token = 0,
            }
            vote
        };
        let votes: Vec<Vote> = (0..count).map(|_| vote(&mut random)).collect();
        assert_eq!(assign(&votes, slots, &|_, _| true).size(), 1, "{votes:?}");
    }
}

#[test]
fn many_clashes_are_believed_by_nobody_and_cost_nothing() {
    let votes: Vec<Vote> = (0..60).map(|person| Vote { person, key: person / 2, token: person }).collect();
    assert_eq!(assign(&votes, 2, &|_, _| true).size(), 0);
    let honest = Vote { person: 100, key: 100, token: 100 };
    assert_eq!(assign(&[&votes[..], &[honest]].concat(), 2, &|_, _| true).size(), 1);
}

#[test]
fn the_first_of_equals_sit() {
    let vote = |person| Vote { person, key: person, token: person };
    let votes = [vote(3), vote(1), vote(2)];
    // Slot 0 takes anybody, slot 1 only person 2: who came last still sits, and person 3 before person 1.
    let found = assign(&votes, 2, &|person, slot| slot == 0 || person == 2);
    assert_eq!(found.filled, [Some(0), Some(2)]);
    assert_eq!(found.open, [false, false]);
}
