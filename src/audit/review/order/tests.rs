//! What is put away, and how often.

use super::*;

/// An approval for so many uses.
fn granted(uses: u32) -> (Order, RequestId) {
    let id = "01KA8Y3V0GQ4M7ZT6XWB1HJ5C9".parse().unwrap();
    let text = Sha256Digest::of(b"as it was asked");
    let expires = UnixTime::from_seconds(100).unwrap();
    let grant = Granted { claims: text, expires, uses, used: 0, revoked: false, lost: false };
    let ended = State::Ended { outcome: Outcome::Approved, text, grant: Some(grant), answered: Vec::new() };
    (Order { requests: [(id, ended)].into(), ..Order::default() }, id)
}

/// Whoever wrote log and store has the last use in each batch: the store would be read for it each time.
#[test]
fn a_grant_is_put_away_once_however_often_it_is_used_up() {
    for (counts, wrong, done) in [
        (&[1, 2][..], 0, 1),
        (&[1, 2, 2, 2], 2, 1),
        (&[1, 2, 1, 2, 1, 2], 4, 1),
        (&[2, 2], 2, 0),
        (&[1, 3, 2], 2, 0),
    ] {
        let (mut order, id) = granted(2);
        let (mut told, mut times) = (0, 0);
        let at = UnixTime::from_seconds(50).unwrap();
        for (index, count) in (0..).zip(counts) {
            order.used(index, at, id, *count, &mut |_| told += 1);
            times += order.take_done().len();
        }
        assert_eq!((told, times), (wrong, done), "{counts:?}");
    }
}
