//! What a virtual reader sends over its connection. The first byte chooses the card.
#![no_main]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::LazyLock;

use libfuzzer_sys::{Corpus, fuzz_target};
use touchgate_fuzz::personality;
use touchgate_fuzz::watched::check;
use virtual_openpgp_card::{SteppedClock, VirtualCard, vpcd};

static LISTENER: LazyLock<TcpListener> =
    LazyLock::new(|| TcpListener::bind("127.0.0.1:0").expect("a free port on loopback"));

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((choice, stream)) = input.split_first() else { return Corpus::Keep };
    // GENERATE makes RSA keys unless told otherwise, which takes up to seconds: `commands` knows when it does.
    if stream.windows(2).any(|window| window == [0x47, 0x80]) {
        return Corpus::Reject;
    }
    let card = VirtualCard::builder().personality(personality(*choice)).clock(SteppedClock::new()).build();
    let (mut reader, ours) = connection();
    let answers = std::thread::scope(|scope| {
        let talk = scope.spawn(move || {
            let mut sending = reader.try_clone().expect("a second handle");
            // The card may close before it has read everything.
            let _ = sending.write_all(stream).and_then(|()| sending.shutdown(Shutdown::Write));
            let mut answers = Vec::new();
            let _ = reader.read_to_end(&mut answers);
            answers
        });
        let _ = vpcd::serve_connection(&card, &ours);
        drop(ours);
        talk.join().expect("the reader's side does not panic")
    });
    check_all(&answers, &card.atr());
    Corpus::Keep
});

fn connection() -> (TcpStream, TcpStream) {
    let address = LISTENER.local_addr().expect("it is bound");
    let reader = TcpStream::connect(address).expect("a connection on loopback");
    let (ours, _) = LISTENER.accept().expect("the connection that was just made");
    (reader, ours)
}

/// Whole messages in the same framing: the card's ATR, or an answer to a command. The last may be cut short where the
/// connection was closed with something unread.
fn check_all(mut answers: &[u8], atr: &[u8]) {
    while let [high, low, rest @ ..] = answers {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((answer, rest)) = rest.split_at_checked(length) else { return };
        if answer != atr {
            check(&[], &mut answer.to_vec());
        }
        answers = rest;
    }
}
