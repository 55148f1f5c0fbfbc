//! Many tokens in a row: whose each of them is, whatever is plugged in, fails or is pulled.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
#![cfg(all(unix, feature = "virtual-card"))]

mod provision_support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use provision_support::{Desk, Finger, finish, ident, patience, run as run_one, security, slot, whole};
use sequoia_openpgp::Cert;
use sequoia_openpgp::parse::Parse;
use touchgate::card::provision::fleet::{
    Chosen, Entry, Finished, FleetError, Hall, Ledger, Plugged, Row, State, Trouble, TroubleKind, Wait,
    folder, people, run,
};
use touchgate::card::provision::{Job, Person, ProvisionError, provision, survey};
use touchgate::card::slot::Presence;
use touchgate::card::{CardError, Ident, InProcess, Slot, Tape};
use touchgate::enrolment::Enrolment;
use touchgate::unix_time::UnixTime;
use virtual_openpgp_card::{Effect, Fault, Firmware, Pattern, Personality, VirtualCard};

const YUBIKEY: Personality = Personality::Yubikey(Firmware::V5_7_4);

/// A table with virtual tokens on it.
struct Table {
    desk: Desk,
    /// All tokens that there are.
    cards: Vec<VirtualCard>,
    /// Those that are plugged in.
    plugged: Vec<Ident>,
    /// What whoever stands there does when a token is awaited.
    #[allow(clippy::type_complexity)]
    helps: Box<dyn FnMut(&Row, Option<Ident>, &mut Vec<Ident>) -> Wait>,
    chooses: Option<Ident>,
    /// Which token got to be provisioned for whom.
    took: Vec<(String, Ident)>,
}

impl Table {
    fn card(&self, wanted: Ident) -> &VirtualCard {
        self.cards.iter().find(|card| ident(card) == wanted).unwrap()
    }

    fn job(&self, row: &Row, token: &Chosen) -> Job {
        Job {
            ident: token.ident,
            directory: token.directory.clone(),
            person: Person {
                name: Some(row.name.clone()),
                user_id: Some(row.user_id.clone()),
                passphrase: None,
            },
            ..self.desk.job(&self.cards[0])
        }
    }
}

fn trouble(error: &ProvisionError) -> Trouble {
    Trouble { code: "trouble".to_owned(), message: error.to_string(), kind: TroubleKind::of(error) }
}

impl Hall for Table {
    fn tokens(&mut self) -> Result<Vec<Plugged>, CardError> {
        Ok(self.plugged.iter().map(|wanted| (*wanted, slot(self.card(*wanted)))).collect())
    }

    fn wait(&mut self, row: &Row, wanted: Option<Ident>, _: &[Ident]) -> Wait {
        (self.helps)(row, wanted, &mut self.plugged)
    }

    fn choose(&mut self, _: &Row, _: &[Ident]) -> Option<Ident> {
        self.chooses
    }

    fn check(&mut self, row: &Row, token: &Chosen) -> Result<(), Trouble> {
        let job = self.job(row, token);
        let survey =
            survey(&token.slot, &job.profile, &job.person, &job.directory, &Tape::default(), &patience())
                .map_err(|error| trouble(&error))?;
        let (ident, plan) = (token.ident, survey.plan);
        match plan.erases.is_empty() && plan.problems.is_empty() {
            true => Ok(()),
            false => Err(trouble(&ProvisionError::Erases { ident, slots: plan.erases })),
        }
    }

    fn provision(&mut self, row: &Row, token: &Chosen) -> Result<Finished, Trouble> {
        self.took.push((row.name.to_string(), token.ident));
        let job = self.job(row, token);
        let done = provision(&token.slot, &job, &mut Finger, &Tape::default(), &patience());
        let done = done.map_err(|error| trouble(&error))?;
        let finished = Finished {
            already: done.steps.is_empty(),
            writes: done.writes,
            enrolment: done.files.enrolment.clone(),
        };
        finish(done);
        Ok(finished)
    }

    fn begins(&mut self, _: usize, _: usize, _: &Row) {}

    fn ended(&mut self, _: usize, _: usize, _: &Entry) {}
}

fn cards(serials: impl IntoIterator<Item = u32>) -> Vec<VirtualCard> {
    serials
        .into_iter()
        .map(|serial| VirtualCard::builder().personality(YUBIKEY).serial(serial).build())
        .collect()
}

fn table(cards: Vec<VirtualCard>) -> Table {
    let desk = Desk::with(&whole(YUBIKEY), &security());
    let helps = Box::new(|_: &Row, _: Option<Ident>, _: &mut Vec<Ident>| Wait::Skip);
    Table { desk, cards, plugged: Vec::new(), helps, chooses: None, took: Vec::new() }
}

fn rows(text: &str) -> Vec<Row> {
    people::read(&format!("name,user_id,serial\n{text}")).unwrap()
}

fn out(table: &Table) -> PathBuf {
    table.desk.folder.path().join("tokens")
}

/// One run with a ledger that is opened for it.
fn go(table: &mut Table, rows: &[Row]) -> Vec<Entry> {
    let mut ledger = Ledger::open(&out(table)).unwrap();
    assert!(run(rows, &mut ledger, table).unwrap());
    ledger.entries(rows).cloned().collect()
}

fn number(text: &str) -> Ident {
    text.parse().unwrap()
}

/// What lies in a token's folder is about this person and this token, and about no other.
fn assert_theirs(out: &Path, row: &Row, card: &VirtualCard) {
    let place = folder(out, ident(card));
    let enrolment = fs::read(place.join(format!("{}.enrol", row.name))).unwrap();
    let enrolled = Enrolment::parse(&enrolment).unwrap().verify(UnixTime::now()).unwrap();
    assert_eq!((&enrolled.possession.name, enrolled.possession.ident), (&row.name, ident(card)));
    let on_card = card.fingerprint(virtual_openpgp_card::Slot::Signature).unwrap();
    assert_eq!(enrolled.possession.key.as_bytes(), on_card);
    let cert = Cert::from_file(place.join(format!("{}.asc", ident(card)))).unwrap();
    assert_eq!(cert.userids().next().unwrap().userid().value(), row.user_id.as_bytes());
    let enrolments = fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path());
    assert_eq!(enrolments.filter(|path| path.extension().is_some_and(|it| it == "enrol")).count(), 1);
}

#[test]
fn fifty_tokens_one_fails_one_is_pulled_one_was_provisioned() {
    const FAILS: usize = 17;
    const PULLED: usize = 23;
    const ALREADY: usize = 31;
    let mut table = table(cards((1..=50).map(|number| 20_000_000 + number)));
    let idents: Vec<Ident> = table.cards.iter().map(ident).collect();
    // Every second one has its number in the table, the others take what is plugged in.
    let text: String = (0..50)
        .map(|at| {
            let serial = if at % 2 == 1 { idents[at].to_string() } else { String::new() };
            format!("person{at:02},Person {at:02} <p{at:02}@example.org>,{serial}\n")
        })
        .collect();
    let rows = rows(&text);
    let out = out(&table);

    // Somebody changed the admin PIN of one.
    let other = Desk::with("[pin]\nuser = \"random\"\n", &table.desk.security);
    finish(other.run(&table.cards[FAILS]).unwrap());
    let pull = Fault::at(table.cards[PULLED].command_count() + 70, Effect::RemovedBefore);
    table.cards[PULLED].add_fault(pull);
    let before = Chosen {
        ident: idents[ALREADY],
        slot: slot(&table.cards[ALREADY]),
        directory: folder(&out, idents[ALREADY]),
    };
    finish(run_one(&table.cards[ALREADY], &table.job(&rows[ALREADY], &before)).unwrap());
    let enrolment = folder(&out, idents[ALREADY]).join("person31.enrol");
    let enrolled_before = fs::read(&enrolment).unwrap();

    // Whoever stands there plugs in the token with the row's number beside those that are still in.
    let all = idents.clone();
    let helps = move |row: &Row, _: Option<Ident>, plugged: &mut Vec<Ident>| {
        let at: usize = row.name.to_string().trim_start_matches("person").parse().unwrap();
        if plugged.len() > 3 {
            plugged.remove(0);
        }
        plugged.push(all[at]);
        Wait::Again
    };
    table.helps = Box::new(helps.clone());
    let entries = go(&mut table, &rows);
    for (at, entry) in entries.iter().enumerate() {
        let state = match at {
            FAILS => State::Failed,
            PULLED => State::Pulled,
            ALREADY => State::Already,
            _ => State::Done,
        };
        assert_eq!((entry.state, entry.serial), (state, Some(idents[at])), "{entry:?}");
        if state.is_good() {
            assert_theirs(&out, &rows[at], &table.cards[at]);
            assert_eq!(entry.writes == 0, state == State::Already, "{entry:?}");
        } else {
            assert!(entry.enrolment.is_none() && entry.message.is_some(), "{entry:?}");
        }
    }
    assert_eq!(fs::read(&enrolment).unwrap(), enrolled_before);
    let took: BTreeSet<Ident> = table.took.iter().map(|(_, ident)| *ident).collect();
    assert_eq!((table.took.len(), took.len()), (50, 50));

    // Again: the pulled one is continued, the failed one fails again, nothing else is touched.
    table.cards[PULLED].insert();
    (table.plugged, table.took) = (Vec::new(), Vec::new());
    let entries = go(&mut table, &rows);
    for (at, entry) in entries.iter().enumerate() {
        let state = match at {
            FAILS => State::Failed,
            PULLED => State::Done,
            _ => State::Already,
        };
        assert_eq!((entry.state, entry.serial), (state, Some(idents[at])), "{entry:?}");
        if state == State::Already {
            assert_eq!(entry.writes, 0, "{entry:?}");
        }
    }
    assert_theirs(&out, &rows[PULLED], &table.cards[PULLED]);
    println!("50 tokens, twice: {} were offered to provision", table.took.len());
}

#[test]
fn of_two_tokens_none_is_taken_unless_somebody_says_which() {
    let mut table = table(cards([11, 22]));
    let (one, other) = (number("11"), number("22"));
    table.plugged = vec![one, other];
    let alice = rows("alice,Alice,\n");
    let entries = go(&mut table, &alice);
    assert_eq!((entries[0].state, entries[0].serial), (State::Several, None));
    assert!(table.took.is_empty());
    // Somebody types a number that is not there.
    table.chooses = Some(number("33"));
    assert_eq!(go(&mut table, &alice)[0].state, State::Several);
    table.chooses = Some(other);
    let entries = go(&mut table, &alice);
    assert_eq!((entries[0].state, entries[0].serial), (State::Done, Some(other)));
    // The rest is clear: one of the two is alice's.
    table.chooses = None;
    let both = rows("alice,Alice,\nbob,Bob,\n");
    let entries = go(&mut table, &both);
    assert_eq!(entries.iter().map(|it| it.serial).collect::<Vec<_>>(), [Some(other), Some(one)]);
    assert_theirs(&out(&table), &both[1], &table.cards[0]);
}

#[test]
fn a_token_that_is_somebodys_is_nobody_elses() {
    let mut table = table(cards([11, 22, 33]));
    // 22 is named for bob, 33 was provisioned for somebody before there was a table.
    let before = Chosen {
        ident: number("33"),
        slot: slot(&table.cards[2]),
        directory: folder(&out(&table), number("33")),
    };
    let carol = rows("carol,Carol,\n");
    finish(run_one(&table.cards[2], &table.job(&carol[0], &before)).unwrap());
    table.plugged = vec![number("22"), number("33")];
    let both = rows("alice,Alice,\nbob,Bob,22\n");
    let entries = go(&mut table, &both);
    assert_eq!((entries[0].state, entries[0].serial), (State::Absent, None));
    assert_eq!((entries[1].state, entries[1].serial), (State::Done, Some(number("22"))));
    assert_eq!(table.took, [("bob".to_owned(), number("22"))]);
    // Carol's is recognised as hers.
    let entries = go(&mut table, &carol);
    assert_eq!((entries[0].state, entries[0].writes), (State::Already, 0));

    // Neither the table nor a second table moves a token to somebody else.
    let mut ledger = Ledger::open(&out(&table)).unwrap();
    for (text, words) in [
        ("dave,Dave,22\n", "token 22 is bob's, and line 2 of the table gives it to dave"),
        ("bob,Bob,11\n", "bob has token 22, and line 2 of the table says 11"),
    ] {
        let error = run(&rows(text), &mut ledger, &mut table).unwrap_err();
        assert_eq!(error.to_string(), words);
    }
    assert!(matches!(Ledger::open(&out(&table)), Err(FleetError::Locked { .. })));
}

/// Pulled half-way, and the next person's turn comes while it is plugged in again.
#[test]
fn a_pulled_token_waits_for_its_own_row() {
    let mut table = table(cards([11, 22]));
    table.plugged = vec![number("11")];
    table.cards[0].add_fault(Fault::at(70, Effect::RemovedBefore));
    let both = rows("alice,Alice,\nbob,Bob,\n");
    let replugged = table.cards[0].clone();
    table.helps = Box::new(move |row, _, plugged| {
        assert_eq!(row.name.to_string(), "bob");
        replugged.insert();
        if plugged.contains(&number("22")) {
            return Wait::Skip;
        }
        plugged.push(number("22"));
        Wait::Again
    });
    let entries = go(&mut table, &both);
    assert_eq!((entries[0].state, entries[0].serial), (State::Pulled, Some(number("11"))));
    assert_eq!((entries[1].state, entries[1].serial), (State::Done, Some(number("22"))));
    let entries = go(&mut table, &both);
    assert_eq!(entries.iter().map(|it| it.state).collect::<Vec<_>>(), [State::Done, State::Already]);
    for (row, card) in both.iter().zip(&table.cards) {
        assert_theirs(&out(&table), row, card);
    }
}

/// Whose a token is stands on the disk before the token learns anything, and not before it is clear that it can
/// become theirs.
#[test]
fn the_binding_comes_before_the_first_write_and_after_every_check() {
    let mut table = table(cards([11]));
    table.plugged = vec![number("11")];
    let alice = rows("alice,Alice,\n");
    table.cards[0]
        .generate(
            virtual_openpgp_card::Slot::Signature,
            virtual_openpgp_card::Algorithm::NistP256,
            1_700_000_000,
        )
        .unwrap();
    let entries = go(&mut table, &alice);
    assert_eq!((entries[0].state, entries[0].serial), (State::Failed, None));
    assert!(table.took.is_empty());

    let mut table = self::table(cards([11]));
    table.plugged = vec![number("11")];
    let ledger_file = out(&table).join("fleet.json");
    // Gone before the first PIN was presented: the token has learned nothing, and whose it is is settled.
    let before_any_write = Fault::on(Pattern::instruction(0x20), Effect::RemovedBefore);
    table.cards[0].add_fault(before_any_write);
    let entries = go(&mut table, &alice);
    assert_eq!((entries[0].state, entries[0].serial), (State::Pulled, Some(number("11"))));
    assert!(fs::read_to_string(ledger_file).unwrap().contains("\"serial\": \"11\""));
}

/// Another token is in the reader from the n-th time on that it is opened, for every n: it gets no PIN and no command
/// that changes something, and the right one, back again, is continued.
#[test]
fn a_token_that_is_exchanged_half_way_learns_nothing() {
    let desk = Desk::with(&whole(YUBIKEY), &security());
    let mut exchanged = 0;
    for last in 1.. {
        let [right, wrong] = [11, 22].map(|serial| cards([serial]).remove(0));
        let opened = Arc::new(AtomicUsize::new(0));
        let inside = {
            let (right, wrong, opened) = (right.clone(), wrong.clone(), Arc::clone(&opened));
            move || if opened.load(Ordering::SeqCst) <= last { right.clone() } else { wrong.clone() }
        };
        let reader = InProcess::new(
            "reader",
            right.atr(),
            {
                let inside = inside.clone();
                move |_| Ok(inside().backend().into())
            },
            // Asked once each time that it is opened, before it is.
            move || {
                opened.fetch_add(1, Ordering::SeqCst);
                Some(Presence(format!("{:08x}", inside().serial())))
            },
        );
        let reader: Arc<dyn Slot> = Arc::new(reader);
        let place = desk.folder.path().join(format!("exchanged-{last}"));
        let job = Job { directory: place, ..desk.job(&right) };
        let outcome = provision(&reader, &job, &mut Finger, &Tape::default(), &patience());
        let changes = |command: &[u8]| {
            matches!(command[1], 0x20 | 0x24 | 0x2a | 0x2c | 0x47 | 0xda | 0xdb | 0xf2 | 0xfb)
        };
        let trace = wrong.trace();
        assert!(!trace.iter().any(|exchange| changes(&exchange.command)), "exchanged after {last}");
        match outcome {
            Ok(done) => {
                finish(done);
                break;
            }
            Err(error) => {
                assert_eq!(TroubleKind::of(&error), TroubleKind::Pulled, "{error}");
                finish(run_one(&right, &job).unwrap());
                exchanged += 1;
            }
        }
    }
    println!("exchanged at {exchanged} conversations");
    assert!(exchanged >= 10, "{exchanged}");
}
