//! Witnesses made here, and the published example's form.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use super::*;
use crate::audit::checkpoint::{CheckpointError, LogSigner, SignedCheckpoint};
use crate::audit::note::Signature;
use crate::digest::Sha256Digest;

struct Witness {
    key: WitnessKey,
    pair: Ed25519KeyPair,
}

impl Witness {
    fn new(name: &str) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        Self { key: WitnessKey::new(name, public).unwrap(), pair }
    }

    fn sign(&self, seconds: u64, text: &str) -> Signature {
        let message = format!("cosignature/v1\ntime {seconds}\n{text}");
        let signature = self.pair.sign(message.as_bytes());
        let bytes = [seconds.to_be_bytes().as_slice(), signature.as_ref()].concat();
        Signature { name: self.key.name().into(), id: self.key.id(), bytes }
    }
}

fn three() -> [Witness; 3] {
    ["witness.example/w1", "witness.example/w2", "other.example"].map(Witness::new)
}

fn named(witnesses: &[Witness], needed: usize) -> Witnesses {
    Witnesses::new(witnesses.iter().map(|witness| witness.key.clone()).collect(), needed).unwrap()
}

/// A log's checkpoint with these cosignatures, opened.
fn opened(witnesses: &Witnesses, cosignatures: &[Signature]) -> Result<SignedCheckpoint, CheckpointError> {
    let pkcs8 = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap().to_pkcs8().unwrap();
    let signer = LogSigner::from_pkcs8("log", pkcs8.as_ref()).unwrap();
    let mut note = signer.sign(7, Sha256Digest::of(b"root")).note().clone();
    cosignatures.iter().for_each(|signature| note.add(signature.clone()).unwrap());
    SignedCheckpoint::open(note.to_string().as_bytes(), signer.key(), witnesses)
}

fn text() -> String {
    opened(&Witnesses::default(), &[]).unwrap().checkpoint().to_string()
}

/// The message in C2SP tlog-cosignature's example.
#[test]
fn the_message_is_the_published_one() {
    let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    let at = UnixTime::from_seconds(1_679_315_147).unwrap();
    assert_eq!(
        message(at, text),
        "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    );
}

#[test]
fn as_many_witnesses_as_are_needed_carry_a_checkpoint() {
    let all = three();
    let text = text();
    let [first, second, third] = [300, 100, 200].map(|at| move |w: &Witness, text: &str| w.sign(at, text));
    let cosigned = [first(&all[0], &text), second(&all[1], &text), third(&all[2], &text)];
    for needed in 0..=3 {
        for count in 0..=3 {
            let opened = opened(&named(&all, needed), &cosigned[..count]);
            if count < needed {
                let error = WitnessError::Quorum { found: count, needed };
                assert_eq!(opened, Err(CheckpointError::Witness(error)));
            } else {
                assert_eq!(opened.unwrap().seen().len(), count);
            }
        }
    }
    // Two of three had seen it when the second did, by their own clocks.
    let opened = opened(&named(&all, 2), &cosigned).unwrap();
    let seen = opened.witnessed().unwrap();
    assert_eq!((seen.at.seconds(), seen.by.as_str()), (200, "other.example"));
}

#[test]
fn a_wrong_or_doubled_cosignature_is_not_passed_over() {
    let all = three();
    let text = text();
    let right = all[0].sign(100, &text);
    let mut other_time = right.clone();
    other_time.bytes[7] ^= 1;
    let mut shorter = right.clone();
    shorter.bytes.pop();
    let mut longer = right.clone();
    longer.bytes.push(0);
    let mut plain = right.clone();
    plain.bytes = right.bytes[8..].to_vec();
    let other_text = all[0].sign(100, &text.replace("\n7\n", "\n8\n"));
    let never = all[0].sign(u64::MAX, &text);
    let other_key = Signature { bytes: all[1].sign(100, &text).bytes, ..right.clone() };
    for wrong in [other_time, shorter, longer, plain, other_text, never, other_key] {
        let error = WitnessError::Signature { name: "witness.example/w1".into() };
        assert_eq!(opened(&named(&all, 0), &[wrong]), Err(CheckpointError::Witness(error)));
    }
    let twice = opened(&named(&all, 1), &[right.clone(), all[0].sign(101, &text)]);
    let error = WitnessError::Twice { name: "witness.example/w1".into() };
    assert_eq!(twice, Err(CheckpointError::Witness(error)));
    // By nobody who is named, it counts for nothing and harms nothing.
    assert_eq!(opened(&named(&all[1..], 0), &[right]).unwrap().seen(), &[]);
}

#[test]
fn one_witness_is_not_named_twice() {
    let all = three();
    let keys = |of: &[&WitnessKey]| of.iter().copied().cloned().collect::<Vec<_>>();
    let public = all[0].pair.public_key().as_ref().try_into().unwrap();
    let renamed = WitnessKey::new("renamed", public).unwrap();
    let same_name = Witness::new("witness.example/w1").key;
    for twice in [&all[0].key, &renamed, &same_name] {
        let named = Witnesses::new(keys(&[&all[0].key, &all[1].key, twice]), 1);
        assert_eq!(named, Err(WitnessesError::Twice { name: twice.name().into() }));
    }
    assert_eq!(Witnesses::new(keys(&[&all[0].key]), 2), Err(WitnessesError::TooFew { needed: 2, known: 1 }));
    let many = (0..16).map(|at| Witness::new(&format!("w{at}")).key).collect::<Vec<_>>();
    assert_eq!(Witnesses::new(many.clone(), 1), Err(WitnessesError::TooMany { known: 16 }));
    assert!(Witnesses::new(many[..15].to_vec(), 15).is_ok());
}
