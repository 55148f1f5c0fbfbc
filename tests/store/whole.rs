//! What holds of every store, whatever happened to it.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;
use touchgate::audit::Entry;
use touchgate::audit::entry::Outcome;
use touchgate::audit::tree::{Tree, leaf_hash};
use touchgate::challenge::{Challenge, RequestId};
use touchgate::store::Store as _;
use touchgate::store::sqlite::Sqlite;

/// What the log says about a request.
#[derive(Default)]
struct Told {
    answers: usize,
    outcome: Option<Outcome>,
    uses: u32,
}

/// No decision without its entry and no entry without its decision, no answer and no use twice, nothing open that was
/// decided; and the log has the root that was signed. Gives its lines.
pub(crate) fn check(store: &Sqlite, path: &Path) -> Vec<String> {
    store.check_pages().unwrap();
    let lines = store.lines(0, usize::MAX).unwrap();
    let mut tree = Tree::default();
    let mut told: BTreeMap<RequestId, Told> = BTreeMap::new();
    for line in &lines {
        tree.append(leaf_hash(line.as_bytes()));
        match Entry::parse(line.as_bytes()).unwrap() {
            Entry::Asked { challenge, .. } => {
                let id = Challenge::parse(challenge.as_bytes()).unwrap().id;
                assert!(told.insert(id, Told::default()).is_none(), "{id} was asked twice");
            }
            Entry::Answered { request, .. } => told.get_mut(&request).unwrap().answers += 1,
            Entry::Decided { request, outcome, .. } => {
                let told = told.get_mut(&request).unwrap();
                assert_eq!(told.answers, 1, "{request} was decided without its answer");
                assert_eq!(told.outcome.replace(outcome), None, "{request} was decided twice");
            }
            Entry::Used { grant, count, .. } => {
                let told = told.get_mut(&grant).unwrap();
                assert_eq!((told.outcome, told.uses + 1), (Some(Outcome::Approved), count), "{grant}");
                told.uses = count;
            }
            other => panic!("{other:?}"),
        }
    }
    let checkpoint = store.checkpoint().unwrap();
    assert_eq!(checkpoint.checkpoint().size, tree.size());
    assert_eq!(checkpoint.checkpoint().root, tree.root());
    for (id, told) in &told {
        let kept = store.request(id).unwrap().unwrap();
        assert_eq!((kept.answers.len(), kept.outcome), (told.answers, told.outcome), "{id}");
        let used = store.grant(id).unwrap().map(|grant| grant.used);
        assert_eq!(used, told.outcome.map(|_| told.uses), "{id}");
    }
    let open: Vec<RequestId> =
        told.iter().filter(|(_, told)| told.outcome.is_none()).map(|(id, _)| *id).collect();
    assert_eq!(store.open_requests().unwrap(), open);
    // Nothing that the log does not tell of.
    let db = Connection::open(path).unwrap();
    let count = |table: &str| {
        let sql = format!("SELECT count(*) FROM {table}");
        let count: i64 = db.query_row(&sql, [], |row| row.get(0)).unwrap();
        usize::try_from(count).unwrap()
    };
    assert_eq!(count("request"), told.len());
    assert_eq!(count("answer"), told.values().map(|told| told.answers).sum::<usize>());
    assert_eq!(count("granted"), told.values().filter(|told| told.outcome.is_some()).count());
    lines
}
