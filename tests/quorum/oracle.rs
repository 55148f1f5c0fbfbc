//! The whole of it against an oracle that tries everything, with real signatures: forty rules over random groups, and
//! under each every set of eight people's approvals, in random order.

use std::collections::{BTreeMap, BTreeSet};

use touchgate::trust::quorum::{Circumstances, NotMet, decide, standing};
use touchgate::verify::{Approval, Rejection, Tier};

use crate::scene::{Draft, NOW, approved, issue, request, rule, time};

const PEOPLE: [&str; 8] = ["alice", "bob", "carol", "erin", "pam", "rita", "tina", "uma"];
/// Of them, who holds a key that nobody declares to need a touch.
const UNDECLARED: &str = "pam";
const GROUPS: [&str; 3] = ["a", "b", "c"];
const RULES: usize = 40;

/// Xorshift: the same cases every time.
struct Random(u32);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as usize % bound
    }
}

/// A rule as the oracle knows it: a slot each, the requester's being `@requester`.
struct Case {
    slots: Vec<&'static str>,
    declared: bool,
    requester: &'static str,
}

type Membership = BTreeMap<&'static str, Vec<&'static str>>;

impl Case {
    fn fits(&self, groups: &Membership, person: &str, slot: &str) -> bool {
        let strong = !self.declared || person != UNDECLARED;
        let asks = person == self.requester;
        strong && if slot == "@requester" { asks } else { !asks && groups[person].contains(&slot) }
    }

    /// The most slots that these people fill.
    fn most(&self, groups: &Membership, slots: &[&str], people: &mut Vec<&str>) -> usize {
        let Some((slot, rest)) = slots.split_first() else { return 0 };
        let mut best = self.most(groups, rest, people);
        for at in 0..people.len() {
            if self.fits(groups, people[at], slot) {
                let person = people.swap_remove(at);
                best = best.max(1 + self.most(groups, rest, people));
                people.push(person);
                let last = people.len() - 1;
                people.swap(at, last);
            }
        }
        best
    }

    fn policy(&self, number: usize) -> String {
        let need: Vec<String> = self.slots.iter().map(|slot| format!("{{ from = \"{slot}\" }}")).collect();
        let text = rule(&format!("r{number}"), &need.join(", "));
        if self.declared { text.replace("signed", "declared") } else { text }
    }
}

#[test]
fn every_set_of_approvals_is_decided_as_the_oracle_says() {
    let mut random = Random(0x7063_6867);
    let groups: Membership = PEOPLE
        .iter()
        .map(|person| (*person, GROUPS.into_iter().filter(|_| random.below(5) < 3).collect()))
        .collect();
    let cases: Vec<Case> = (0..RULES)
        .map(|_| {
            let count = 1 + random.below(4);
            let mut slots: Vec<&str> = (0..count).map(|_| GROUPS[random.below(3)]).collect();
            if random.below(4) == 0 {
                slots[0] = "@requester";
            }
            Case { slots, declared: random.below(3) == 0, requester: PEOPLE[random.below(PEOPLE.len())] }
        })
        .collect();
    let policy: String = cases.iter().enumerate().map(|(number, case)| case.policy(number)).collect();
    let draft = PEOPLE
        .iter()
        .fold(Draft::new(&policy), |draft, person| draft.person(person, &groups[person], &[person]));
    let trust = draft.trust();
    let (mut met, mut open, mut never) = (0, 0, 0);
    for (number, case) in cases.iter().enumerate() {
        let requester = format!("github:{}", case.requester);
        let asked = issue(&trust, request(&format!("r{number}"), &requester), u8::try_from(number).unwrap());
        // Whoever could fill no slot is turned away with their first answer, and nobody else is.
        let mut approvals: Vec<(&str, Approval)> = Vec::new();
        for person in PEOPLE {
            let fits = case.slots.iter().any(|slot| case.fits(&groups, person, slot));
            match approved(&trust, &asked, person) {
                Ok(approval) => approvals.push((person, approval)),
                Err(Rejection::NotAllowed { .. } | Rejection::Tier { .. }) => {
                    assert!(!fits, "{number} {person}")
                }
                Err(rejection) => panic!("{number} {person}: {rejection}"),
            }
            assert_eq!(fits, approvals.iter().any(|(other, _)| *other == person), "{number} {person}");
        }
        let everybody = case.most(&groups, &case.slots, &mut PEOPLE.to_vec());
        let mut yes = BTreeSet::new();
        for set in 0..1_usize << approvals.len() {
            let chosen = |at: &usize| set >> at & 1 == 1;
            let mut picked: Vec<&(&str, Approval)> =
                (0..approvals.len()).filter(chosen).map(|at| &approvals[at]).collect();
            let most = case.most(&groups, &case.slots, &mut picked.iter().map(|(name, _)| *name).collect());
            let swap = random.below(picked.len().max(1));
            picked.rotate_left(swap);
            picked.reverse();
            // Each of them once or twice.
            let handed: Vec<Approval> = picked
                .iter()
                .flat_map(|(_, approval)| std::iter::repeat_n(approval.clone(), 1 + random.below(2)))
                .collect();
            let now = standing(&trust, &asked.request, &handed, Circumstances::default(), time(NOW)).unwrap();
            let missing = case.slots.len() - most;
            assert_eq!(
                (now.missing, now.can_be_met),
                (missing, everybody == case.slots.len()),
                "{number} {set}"
            );
            // Who can help: whoever, added, fills one more.
            for (person, _) in &approvals {
                let with: &mut Vec<&str> = &mut picked.iter().map(|(name, _)| *name).collect();
                let helps = !with.contains(person) && {
                    with.push(person);
                    case.most(&groups, &case.slots, with) > most
                };
                assert_eq!(now.can.contains(person), helps, "{number} {set} {person}");
            }
            match decide(&trust, &asked, handed, Circumstances::default(), time(NOW)) {
                Ok(found) => {
                    assert_eq!(missing, 0, "{number} {set}");
                    let weak = found.seats().iter().any(|seat| seat.person == UNDECLARED);
                    assert_eq!(found.tier(), if weak { Tier::Signed } else { Tier::Declared });
                    assert_eq!(found.approvals().len(), picked.len(), "each person once");
                    yes.insert(set);
                    met += 1;
                }
                Err(NotMet::Open { missing: found, .. }) => {
                    assert_eq!((found, everybody), (missing, case.slots.len()), "{number} {set}");
                    open += 1;
                }
                Err(NotMet::Never { missing: found, .. }) => {
                    assert_eq!(found, missing, "{number} {set}");
                    assert!(everybody < case.slots.len(), "{number} {set}");
                    never += 1;
                }
                Err(other) => panic!("{number} {set}: {other}"),
            }
        }
        // One more never undoes a yes.
        for set in &yes {
            assert!((0..approvals.len()).all(|at| yes.contains(&(set | 1 << at))), "{number} {set}");
        }
    }
    assert!(met > 200 && open > 200 && never > 10, "{met} {open} {never}");
}
