//! What is a checkpoint, and whose.

use super::*;
use crate::audit::note::MAX_SIGNATURES;

/// The text from the example in C2SP tlog-checkpoint.
const TEXT: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
/// The whole note.
const NOTE: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
    — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";

fn open(note: &str, key: &LogKey) -> Result<SignedCheckpoint, CheckpointError> {
    SignedCheckpoint::open(note.as_bytes(), key, &Witnesses::default())
}

#[test]
fn the_published_checkpoint_is_read_and_written_the_same() {
    let note = Note::parse(NOTE.as_bytes()).unwrap();
    let checkpoint = Checkpoint::parse(note.text()).unwrap();
    assert_eq!((checkpoint.origin.as_str(), checkpoint.size), ("example.com/behind-the-sofa", 20_852_163));
    assert_eq!(checkpoint.root.as_bytes()[..4], [0x0a, 0xc5, 0x18, 0x6a]);
    assert_eq!((checkpoint.to_string(), note.to_string()), (TEXT.to_owned(), NOTE.to_owned()));
}

#[test]
fn a_checkpoint_has_one_spelling() {
    let cases = [
        (TEXT.replace("20852163", "020852163"), "leading zeros"),
        (TEXT.replace("20852163", "+20852163"), "sign"),
        (TEXT.replace("20852163", "-1"), "not a number"),
        (TEXT.replace("20852163", "18446744073709551616"), "not a number"),
        (TEXT.replace("20852163", ""), "not a number"),
        (TEXT.replace("q2I=", "q2J="), "32 bytes"),
        (TEXT.replace("q2I=", "q2I"), "32 bytes"),
        (TEXT.replace("CsUY", ""), "32 bytes"),
        (TEXT.replace("example.com/behind-the-sofa", ""), "no origin"),
        (format!("{TEXT}extension\n"), "three lines"),
        (format!("{TEXT}\n"), "three lines"),
        (TEXT.trim_end().to_owned(), "line feed"),
        ("a\n1\n".to_owned(), "three lines"),
        (String::new(), "line feed"),
    ];
    for (text, reason) in cases {
        let error = Checkpoint::parse(&text).unwrap_err().to_string();
        assert!(error.contains(reason), "{text:?}: {error}");
    }
    let empty = TEXT.replace("20852163", "0");
    assert_eq!(Checkpoint::parse(&empty).map(|checkpoint| checkpoint.to_string()), Ok(empty));
}

#[test]
fn what_a_log_signs_is_believed_under_its_key_alone() {
    let (signer, pkcs8) = LogSigner::generate("approve.example.com").unwrap();
    let signed = signer.sign(7, Sha256Digest::of(b"root"));
    let note = signed.note().to_string();
    assert_eq!(open(&note, signer.key()), Ok(signed.clone()));
    assert_eq!(signed.witnessed(), None);

    let again = LogSigner::from_pkcs8("approve.example.com", &pkcs8).unwrap();
    assert_eq!(again.key(), signer.key());
    // Ed25519 is deterministic.
    assert_eq!(again.sign(7, Sha256Digest::of(b"root")), signed);

    let (other, _) = LogSigner::generate("approve.example.com").unwrap();
    assert!(matches!(open(&note, other.key()), Err(CheckpointError::Unsigned { .. })));
    let renamed = LogSigner::from_pkcs8("other.example.com", &pkcs8).unwrap();
    assert!(matches!(open(&note, renamed.key()), Err(CheckpointError::Origin { .. })));

    for bit in 0..note.len() * 8 {
        let mut flipped = note.clone().into_bytes();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let opened = SignedCheckpoint::open(&flipped, signer.key(), &Witnesses::default());
        assert!(opened.is_err(), "bit {bit}");
    }
    for length in 0..note.len() {
        assert!(open(note.get(..length).unwrap_or_default(), signer.key()).is_err(), "{length} bytes");
    }
}

#[test]
fn a_wrong_or_doubled_signature_of_the_log_is_not_passed_over() {
    let (signer, _) = LogSigner::generate("log").unwrap();
    let right = signer.sign(7, Sha256Digest::of(b"root"));
    let wrong = signer.sign(8, Sha256Digest::of(b"root"));
    let sign = |signatures: &[&SignedCheckpoint]| {
        let mut note = Note::new(right.note().text().to_owned()).unwrap();
        signatures.iter().for_each(|by| note.add(by.note().signatures()[0].clone()).unwrap());
        note.to_string()
    };
    assert!(open(&sign(&[&right]), signer.key()).is_ok());
    assert!(matches!(open(&sign(&[&wrong]), signer.key()), Err(CheckpointError::Signature { .. })));
    for doubled in [[&right, &right], [&right, &wrong], [&wrong, &right]] {
        assert!(matches!(open(&sign(&doubled), signer.key()), Err(CheckpointError::Unsigned { .. })));
    }
    // Strangers' signatures say nothing, but there is an end to them.
    let stranger = Signature { name: "stranger".into(), id: [1, 2, 3, 4], bytes: vec![0; 64] };
    let mut note = right.note().clone();
    for _ in 1..MAX_SIGNATURES {
        note.add(stranger.clone()).unwrap();
    }
    assert!(open(&note.to_string(), signer.key()).is_ok());
    let more = format!("{note}{stranger}");
    assert_eq!(open(&more, signer.key()), Err(CheckpointError::Note(NoteError::TooManySignatures)));
}

#[test]
fn only_a_private_key_signs_and_it_is_not_shown() {
    for bad in [&b""[..], b"not a key", &[0x30; 48]] {
        assert_eq!(LogSigner::from_pkcs8("log", bad).err(), Some(SignerError::Pkcs8));
    }
    assert!(matches!(LogSigner::generate("a b"), Err(SignerError::Key(KeyError::Name { .. }))));
    let (signer, _) = LogSigner::generate("log").unwrap();
    assert_eq!(format!("{signer:?}"), format!("LogSigner({})", signer.key()));
}
