//! The published notes and keys, and everything that is not one.

use super::*;

/// From `sumdb/note/note_test.go` of golang.org/x/mod (BSD-3-Clause): TestNewVerifier, TestSign, TestOpen.
const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const ENOCH: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
const TEXT: &str = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n";
const BY_PETER: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const BY_ENOCH: &str = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";

/// From C2SP signed-note: the note at its top, whose text has an empty line.
const QUASIMODO: &str = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n\
                         — quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";

fn signed(key: &str, note: &str) -> bool {
    let (key, note) = (key.parse::<LogKey>().unwrap(), Note::parse(note.as_bytes()).unwrap());
    match note.by(&key) {
        By::Once(signature) => key.made(signature, note.text().as_bytes()),
        By::Nobody | By::Twice => false,
    }
}

#[test]
fn published_notes_are_read_checked_and_written_the_same() {
    let note = format!("{TEXT}\n{BY_PETER}{BY_ENOCH}");
    let read = Note::parse(note.as_bytes()).unwrap();
    assert_eq!((read.text(), read.to_string()), (TEXT, note.clone()));
    assert_eq!(read.signatures()[0].id, [0xc7, 0x4f, 0x20, 0xa3]);
    for key in [PETER, ENOCH] {
        assert_eq!(key.parse::<LogKey>().unwrap().to_string(), key);
        assert!(signed(key, &note), "{key}");
        assert!(!signed(key, &note.replace("answer", "Answer")), "{key}");
    }
    assert!(!signed(PETER, &format!("{TEXT}\n{BY_ENOCH}")));
    assert!(!signed(PETER, &format!("{TEXT}\n{BY_PETER}{BY_PETER}")));
    // The right signature under another name or number is another key's.
    assert!(!signed(PETER, &format!("{TEXT}\n{}", BY_PETER.replace("Peter", "Petra"))));
    assert!(!signed(PETER, &format!("{TEXT}\n{}", BY_PETER.replace("x08g", "x08h"))));

    let read = Note::parse(QUASIMODO.as_bytes()).unwrap();
    assert!(read.text().ends_with("sole:\n\ned è subito sera.\n"));
    assert_eq!(read.to_string(), QUASIMODO);
}

/// The manglings of TestNewVerifier: any part of a key, any byte one higher, another kind, too long.
#[test]
fn no_part_and_no_neighbour_of_a_key_is_one() {
    for start in 0..=PETER.len() {
        for end in start..=PETER.len() {
            assert!((start, end) == (0, PETER.len()) || PETER[start..end].parse::<LogKey>().is_err());
        }
    }
    for at in 0..PETER.len() {
        let mut bytes = PETER.as_bytes().to_vec();
        bytes[at] += 1;
        let line = String::from_utf8(bytes).unwrap();
        assert!(line.parse::<LogKey>().is_err(), "{line}");
    }
    let cases = [
        ("PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==", "not base64"),
        ("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "of kind 0x65"),
        ("PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "lower-case"),
        ("Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "cannot name a key"),
        ("PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "give c74f20a3"),
        ("PeterNeumann+c74f20a3+", "empty"),
        ("PeterNeumann+c74f20a3", "only one plus sign"),
        ("PeterNeumann", "no plus sign"),
    ];
    for (line, reason) in cases {
        let error = line.parse::<LogKey>().unwrap_err().to_string();
        assert!(error.contains(reason), "{line}: {error}");
    }
    assert!(matches!(PETER.parse::<WitnessKey>(), Err(KeyError::Kind { found: 1, expected: 4 })));
}

/// The bad messages of TestOpen, and those that only a stricter reader refuses.
#[test]
fn what_is_no_note_is_refused_with_its_reason() {
    let cases = [
        (TEXT.to_owned(), "no empty line"),
        (format!("{TEXT}\n"), "no signature"),
        (format!("{TEXT}\n\n"), "no signature"),
        (format!("{TEXT}\n{}", BY_PETER.trim_end()), "no signature that ends"),
        (format!("\u{1}{TEXT}\n{BY_PETER}"), "control character"),
        (format!("{TEXT}\r\n\n{BY_PETER}"), "control character"),
        (format!("{TEXT}\n— Bad Name {}", &BY_PETER[17..]), "no signature"),
        (format!("{TEXT}\n{BY_PETER}Unexpected line.\n"), "no signature"),
        (format!("{TEXT}\n{}", BY_PETER.replace("—", "-")), "no signature"),
        (format!("{TEXT}\n{}", BY_PETER.replace("AM=", "AN=")), "no signature"),
        (format!("{TEXT}\n{}", BY_PETER.replace("AM=", "AM")), "no signature"),
        (format!("{TEXT}\n{}", BY_PETER.replace("\n", "\r\n")), "no signature"),
        (format!("{TEXT}\n— PeterNeumann x08gow==\n"), "no signature"),
        (format!("{TEXT}\n— Peter+Neumann x08go/Y=\n"), "no signature"),
        (format!("{TEXT}\n{}", BY_PETER.repeat(17)), "more than 16"),
        (format!("{}\n\n{BY_PETER}", "x".repeat(MAX_NOTE)), "16384 are allowed"),
        (format!("\n\n{BY_PETER}"), "no text"),
        (String::new(), "no empty line"),
    ];
    for (note, reason) in cases {
        let error = Note::parse(note.as_bytes()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(reason), "{note:?}: {error}");
    }
    let note = [b"\xff", format!("{TEXT}\n{BY_PETER}").as_bytes()].concat();
    assert_eq!(Note::parse(&note), Err(NoteError::Malformed("not UTF-8")));
    assert!(Note::parse(format!("{TEXT}\n{}", BY_PETER.repeat(16)).as_bytes()).is_ok());
}

#[test]
fn a_full_note_takes_no_more_signatures() {
    let signature = Note::parse(format!("{TEXT}\n{BY_PETER}").as_bytes()).unwrap().signatures()[0].clone();
    let mut note = Note::new(TEXT.to_owned()).unwrap();
    for _ in 0..MAX_SIGNATURES {
        note.add(signature.clone()).unwrap();
    }
    assert_eq!(note.add(signature.clone()), Err(NoteError::TooManySignatures));
    let mut note = Note::new("x".repeat(MAX_NOTE - 30) + "\n").unwrap();
    assert!(matches!(note.add(signature), Err(NoteError::TooLarge { .. })));
    assert_eq!(
        Note::new("no line feed".into()),
        Err(NoteError::Malformed("no text that ends in a line feed"))
    );
}

#[test]
fn every_flipped_bit_of_a_signed_note_is_refused() {
    let note = format!("{TEXT}\n{BY_PETER}").into_bytes();
    for bit in 0..note.len() * 8 {
        let mut flipped = note.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let Ok(read) = Note::parse(&flipped) else { continue };
        let key: LogKey = PETER.parse().unwrap();
        let believed = match read.by(&key) {
            By::Once(signature) => key.made(signature, read.text().as_bytes()),
            By::Nobody | By::Twice => false,
        };
        assert!(!believed, "bit {bit}");
    }
}
