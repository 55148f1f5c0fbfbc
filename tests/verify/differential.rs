//! Our arithmetic against sequoia's: both take what is good, and what we take, sequoia takes.

use std::sync::LazyLock;

use proptest::prelude::*;
use sequoia_openpgp as openpgp;

use openpgp::Packet;
use openpgp::crypto::KeyPair;
use openpgp::crypto::mpi::{PublicKey, SecretKeyMaterial};
use openpgp::packet::signature::Signature4;
use openpgp::parse::Parse as _;
use openpgp::types::HashAlgorithm;
use touchgate::response::Response;
use touchgate::trust::Trust;
use touchgate::unix_time::UnixTime;
use touchgate::verify::alone;

use crate::case::cases;
use crate::numbers::{add, hex, multiply_modulo, subtract, trimmed};
use crate::packets::{Recipe, body, integer, packet};
use crate::{people, response_of, team};

/// 2026-11-20T04:11:30Z.
const CREATED: u32 = 1_795_147_890;

/// One signer and what both implementations say about packets in their name.
struct Bench {
    name: &'static str,
    trust: &'static Trust,
    key: KeyPair,
    statement: Vec<u8>,
    recipe: Recipe,
}

impl Bench {
    fn new(name: &'static str) -> Self {
        let case = cases("signature").into_iter().find(|case| case.name == "good-ed25519").unwrap();
        let key = people::signer(name);
        let recipe = Recipe::plain(&key, CREATED);
        Self { name, trust: team(), statement: response_of(&case).unwrap().statement, recipe, key }
    }

    fn hashed_with(mut self, hash: HashAlgorithm) -> Self {
        self.recipe.hash = hash;
        self
    }

    fn sign(&mut self) -> Vec<u8> {
        self.recipe.sign(&mut self.key, &self.statement)
    }

    /// Whether we and whether sequoia take this packet.
    fn verdicts(&self, packet: &[u8]) -> (bool, bool) {
        let answer = Response { statement: self.statement.clone(), signature: packet.to_vec() };
        let now = UnixTime::from_seconds(u64::from(CREATED) + 30).unwrap();
        let ours = alone(&answer, self.trust, now).is_ok();
        (ours, self.sequoia(packet))
    }

    fn sequoia(&self, packet: &[u8]) -> bool {
        let Ok(Packet::Signature(openpgp::packet::Signature::V4(signature))) = Packet::from_bytes(packet)
        else {
            return false;
        };
        self.sequoia_on(&signature)
    }

    fn sequoia_on(&self, signature: &Signature4) -> bool {
        let fingerprint = self.key.public().fingerprint();
        let (_, token) = self.trust.roster.holder(&fingerprint).unwrap();
        token.key.check_signature_with_sequoia(signature, &self.statement).is_ok()
    }

    /// The packet around other numbers; the digest's first octets stay right.
    fn with(&self, numbers: &[Vec<u8>]) -> Vec<u8> {
        self.recipe.with_numbers(&self.statement, &numbers.concat())
    }

    /// Both take it.
    fn good(&self, what: &str, packet: &[u8]) {
        assert_eq!(self.verdicts(packet), (true, true), "{what}");
    }

    /// We do not take it. Whether sequoia does is told.
    fn bad(&self, what: &str, packet: &[u8]) -> bool {
        let (ours, theirs) = self.verdicts(packet);
        assert!(!ours, "{what}: accepted");
        theirs
    }
}

/// The numbers of a packet that [`Recipe::sign`] made, leading zeros cut.
fn numbers(bench: &Bench, signed: &[u8]) -> Vec<Vec<u8>> {
    let (before, _) = bench.recipe.before_numbers(&bench.statement);
    let mut rest = body(signed).strip_prefix(&before[..]).unwrap();
    let mut numbers = Vec::new();
    while let [high, low, after @ ..] = rest {
        let (number, after) = after.split_at(usize::from(u16::from_be_bytes([*high, *low])).div_ceil(8));
        numbers.push(number.to_vec());
        rest = after;
    }
    numbers
}

/// The order of Ed25519's base point (RFC 8032, section 5.1), big-endian.
fn ed25519_order() -> Vec<u8> {
    hex("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed")
}

/// The orders of the NIST curves (SP 800-186, section 3.2.1).
fn nist_order(name: &str) -> Vec<u8> {
    hex(match name {
        "carol" => "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
        "dave" => {
            "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973"
        }
        _ => {
            "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa\
             51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409"
        }
    })
}

#[test]
fn the_orders_are_right() {
    // A number times the order is zero, and our reduction agrees with a sum.
    let l = ed25519_order();
    assert_eq!(multiply_modulo(&[2], &l, &l), Vec::<u8>::new());
    assert_eq!(multiply_modulo(&[3], &subtract(&l, &[1]), &l), subtract(&l, &[3]));
    assert_eq!([32, 48, 66], ["carol", "dave", "erin"].map(|name| nist_order(name).len()));
}

#[test]
fn all_algorithms_and_hashes_are_taken_by_both() {
    for name in ["bob", "carol", "dave", "erin", "frank", "grace", "heidi", "tina", "uma"] {
        for hash in [HashAlgorithm::SHA256, HashAlgorithm::SHA384, HashAlgorithm::SHA512] {
            let mut bench = Bench::new(name).hashed_with(hash);
            let signed = bench.sign();
            let what = format!("{name} {hash}");
            let short = match (name, hash) {
                ("dave", HashAlgorithm::SHA256) => true,
                ("erin", hash) => hash != HashAlgorithm::SHA512,
                _ => false,
            };
            if short {
                bench.bad(&what, &signed);
            } else {
                bench.good(&what, &signed);
            }
        }
    }
}

/// Numbers with leading zeros are short; a signature that happens to have some must pass.
#[test]
fn short_numbers_are_padded() {
    for (name, length, which) in
        [("bob", 32, 0), ("bob", 32, 1), ("carol", 32, 0), ("carol", 32, 1), ("frank", 256, 0)]
    {
        let mut bench = Bench::new(name);
        // One in 256 is short; the salt makes each try another.
        let short = (0..20_000_u32).find_map(|salt| {
            bench.recipe = Recipe::plain(&bench.key, CREATED);
            let salt = crate::packets::notation(0, b"salt@example.org", &salt.to_be_bytes());
            bench.recipe.hashed.push(crate::packets::subpacket(20, &salt));
            let signed = bench.sign();
            (numbers(&bench, &signed)[which].len() < length).then_some(signed)
        });
        bench.good(&format!("{name}, number {which} short"), &short.unwrap());
    }
}

#[test]
fn bent_ed25519_is_rejected() {
    let mut bench = Bench::new("bob");
    let signed = bench.sign();
    let [r, s] = &numbers(&bench, &signed)[..] else { panic!("two numbers") };
    let (r, s) = (r.clone(), s.clone());
    // On the wire s is little-endian.
    let s_value: Vec<u8> = pad(&s).into_iter().rev().collect();
    let l = ed25519_order();
    let wire = |value: &[u8]| integer(&pad(value).into_iter().rev().collect::<Vec<u8>>());
    let plain = |number: &[u8]| integer(number);
    bench.good("itself", &bench.with(&[plain(&r), plain(&s)]));
    let mut bent = vec![
        ("swapped", vec![plain(&s), plain(&r)]),
        ("s + L", vec![plain(&r), wire(&add(&s_value, &l))]),
        ("s + 2L", vec![plain(&r), wire(&add(&add(&s_value, &l), &l))]),
        ("L - s", vec![plain(&r), wire(&subtract(&l, &s_value))]),
        ("L", vec![plain(&r), wire(&l)]),
        ("s of zero", vec![plain(&r), plain(&[])]),
        ("r of zero", vec![plain(&[]), plain(&s)]),
        ("both zero", vec![plain(&[]), plain(&[])]),
        ("r of 33 bytes", vec![plain(&[&[1], &pad(&r)[..]].concat()), plain(&s)]),
        ("s of 33 bytes", vec![plain(&r), plain(&[&[1], &pad(&s)[..]].concat())]),
        ("r with a zero in front", vec![longer(&r), plain(&s)]),
        ("r alone", vec![plain(&r)]),
        ("three numbers", vec![plain(&r), plain(&s), plain(&s)]),
    ];
    let mut other_sign = pad(&r);
    other_sign[31] ^= 0x80;
    bent.push(("the sign of R", vec![plain(&other_sign), plain(&s)]));
    for (what, numbers) in bent {
        bench.bad(what, &bench.with(&numbers));
    }
}

/// The number with leading zeros, 32 bytes.
fn pad(number: &[u8]) -> Vec<u8> {
    let number = trimmed(number);
    [&vec![0; 32 - number.len()], number].concat()
}

/// An integer that claims eight more bits, all zero: not its one encoding.
fn longer(number: &[u8]) -> Vec<u8> {
    let bits = u16::try_from((trimmed(number).len() + 1) * 8).unwrap();
    [&bits.to_be_bytes()[..], &[0], trimmed(number)].concat()
}

/// Who holds the key can make a signature whose R has small order and for which the equation holds:
/// implementations disagree on it, so we take none.
#[test]
fn a_commitment_of_small_order_is_rejected() {
    let bench = Bench::new("bob");
    let (_, digest) = bench.recipe.before_numbers(&bench.statement);
    let PublicKey::EdDSA { q, .. } = bench.key.public().mpis() else { panic!("bob's key") };
    let point = &q.value()[1..];
    let l = ed25519_order();
    let scalar = secret_scalar("bob");
    let mut taken_by_sequoia = 0;
    for commitment in small_order_points() {
        let h = sha512(&[&commitment, point, &digest]);
        let h: Vec<u8> = h.into_iter().rev().collect();
        // s = 0 + h a: the equation s B = R + h A holds for the neutral element, and times eight for all.
        let s = multiply_modulo(&h, &multiply_modulo(&scalar, &[1], &l), &l);
        let s: Vec<u8> = pad(&s).into_iter().rev().collect();
        let bent = bench.with(&[integer(&commitment), integer(&s)]);
        taken_by_sequoia += usize::from(bench.bad(&format!("{commitment:02x?}"), &bent));
    }
    // Not an assertion about sequoia: it shows that the equation was met, and the check above bites.
    assert!(taken_by_sequoia > 0, "the forged signatures are not even well made");
}

/// The scalar of an Ed25519 secret key, big-endian (RFC 8032, section 5.1.5).
fn secret_scalar(name: &str) -> Vec<u8> {
    let (_, secret) = key_of(name);
    let mut scalar = sha512(&[&secret])[..32].to_vec();
    scalar[0] &= 0xF8;
    scalar[31] = scalar[31] & 0x7F | 0x40;
    scalar.reverse();
    scalar
}

fn key_of(name: &str) -> (KeyPair, Vec<u8>) {
    let pair = people::signer(name);
    let secret = pair.secret().map(|secret| match secret {
        SecretKeyMaterial::EdDSA { scalar } => scalar.value_padded(32).to_vec(),
        other => panic!("not an EdDSA key: {other:?}"),
    });
    (pair, secret)
}

fn sha512(parts: &[&[u8]]) -> Vec<u8> {
    let mut context = HashAlgorithm::SHA512.context().unwrap().for_digest();
    parts.iter().for_each(|part| context.update(part));
    context.into_digest().unwrap()
}

#[test]
fn bent_ecdsa_is_rejected() {
    for name in ["carol", "dave", "erin"] {
        let mut bench = Bench::new(name);
        let signed = bench.sign();
        let [r, s] = &numbers(&bench, &signed)[..] else { panic!("two numbers") };
        let n = nist_order(name);
        let plain = |number: &[u8]| integer(number);
        bench.good("itself", &bench.with(&[plain(r), plain(s)]));
        // ECDSA has two signatures for one: the other is as good, and is the same answer.
        bench.good("n - s", &bench.with(&[plain(r), plain(&subtract(&n, s))]));
        for (what, numbers) in [
            ("swapped", vec![plain(s), plain(r)]),
            ("n - r", vec![plain(&subtract(&n, r)), plain(s)]),
            ("r + n", vec![plain(&add(r, &n)), plain(s)]),
            ("s + n", vec![plain(r), plain(&add(s, &n))]),
            ("r of zero", vec![plain(&[]), plain(s)]),
            ("s of zero", vec![plain(r), plain(&[])]),
            ("both zero", vec![plain(&[]), plain(&[])]),
            ("both one", vec![plain(&[1]), plain(&[1])]),
            ("r of n", vec![plain(&n), plain(s)]),
            ("s of n", vec![plain(r), plain(&n)]),
            ("r with a zero in front", vec![longer(r), plain(s)]),
            ("s with a zero in front", vec![plain(r), longer(s)]),
            ("s with a zero at the end", vec![plain(r), plain(&[&s[..], &[0]].concat())]),
            ("r alone", vec![plain(r)]),
            ("three numbers", vec![plain(r), plain(s), plain(s)]),
        ] {
            bench.bad(&format!("{name}, {what}"), &bench.with(&numbers));
        }
    }
}

#[test]
fn bent_rsa_is_rejected() {
    for name in ["frank", "grace", "heidi"] {
        let mut bench = Bench::new(name);
        let signed = bench.sign();
        let [s] = &numbers(&bench, &signed)[..] else { panic!("one number") };
        let PublicKey::RSA { n, .. } = bench.key.public().mpis() else { panic!("{name}'s key") };
        let n = n.value();
        let plain = |number: &[u8]| integer(number);
        bench.good("itself", &bench.with(&[plain(s)]));
        for (what, numbers) in [
            ("s + n", vec![plain(&add(s, n))]),
            ("n - s", vec![plain(&subtract(n, s))]),
            ("n", vec![plain(n)]),
            ("n - 1", vec![plain(&subtract(n, &[1]))]),
            ("zero", vec![plain(&[])]),
            ("one", vec![plain(&[1])]),
            ("a zero in front", vec![longer(s)]),
            ("a zero at the end", vec![plain(&[&s[..], &[0]].concat())]),
            ("cut short", vec![plain(&s[..s.len() - 1])]),
            ("two numbers", vec![plain(s), plain(s)]),
        ] {
            bench.bad(&format!("{name}, {what}"), &bench.with(&numbers));
        }
        // The same numbers under another hash: its name stands inside what RSA signs.
        let other = Recipe { hash: HashAlgorithm::SHA384, ..bench.recipe.clone() };
        bench.bad("another hash", &other.with_numbers(&bench.statement, &plain(s)));
    }
}

/// Numbers of another kind of key.
#[test]
fn numbers_of_another_algorithm_are_rejected() {
    let names = ["bob", "tina", "carol", "dave", "erin", "frank"];
    for name in names {
        let bench = Bench::new(name);
        for other in names {
            let mut foreign = Bench::new(other);
            let algorithm = bench.recipe.algorithm;
            foreign.recipe = bench.recipe.clone();
            if name != other {
                // Under its own name, and under the name of the algorithm whose numbers they are.
                let of_other = Recipe {
                    algorithm: Recipe::plain(&foreign.key, CREATED).algorithm,
                    ..bench.recipe.clone()
                };
                let signed = of_other.sign(&mut foreign.key, &bench.statement);
                bench.bad(&format!("{other} for {name}"), &signed);
                let (before, _) = of_other.before_numbers(&bench.statement);
                let tail = &body(&signed)[before.len()..];
                let claimed = Recipe { algorithm, ..bench.recipe.clone() };
                bench.bad(&format!("{other} as {name}"), &claimed.with_numbers(&bench.statement, tail));
            }
        }
    }
}

const MUTATED: [&str; 7] = ["bob", "tina", "carol", "dave", "erin", "frank", "uma"];

fn signed_once() -> &'static [(Bench, Vec<u8>)] {
    static SIGNED: LazyLock<Vec<(Bench, Vec<u8>)>> = LazyLock::new(|| {
        let signed = |name| {
            let mut bench = Bench::new(name);
            let signed = bench.sign();
            (bench, signed)
        };
        MUTATED.map(signed).into()
    });
    &SIGNED
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// Any bytes changed anywhere in the packet: what we take, sequoia takes; and nothing else is taken.
    #[test]
    fn mutated_packets_are_never_taken_alone(
        name in prop::sample::select(MUTATED.to_vec()),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..5_u8, any::<u8>()), 1..4),
    ) {
        let (bench, signed) = signed_once().iter().find(|(bench, _)| bench.name == name).unwrap();
        let (before, _) = bench.recipe.before_numbers(&bench.statement);
        let mut inner = body(signed).to_vec();
        for (at, kind, byte) in edits {
            // Most of them in the numbers, which nothing but the arithmetic protects.
            let from = if byte & 3 == 0 { 0 } else { before.len().min(inner.len() - 1) };
            let at = from + at.index(inner.len() - from);
            match kind {
                0 => inner[at] = byte,
                1 => inner[at] ^= 1 << (byte & 7),
                2 => inner.insert(at, byte),
                3 => drop(inner.remove(at)),
                _ => inner.swap(at, from),
            }
            prop_assume!(inner.len() > before.len());
        }
        let mutated = packet(2, &inner);
        let (ours, theirs) = bench.verdicts(&mutated);
        prop_assert!(!ours || theirs, "we alone take {:02x?}", mutated);
        prop_assert_eq!(ours, &mutated == signed);
    }
}

/// The encodings of the points of order 1, 2, 4 and 8 on edwards25519, aliases included.
///
/// Source: "Taming the many EdDSAs" (IACR ePrint 2020/1244), table 1, and the two signs of each.
pub(crate) fn small_order_points() -> Vec<[u8; 32]> {
    let positive = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ]
    .map(|text| <[u8; 32]>::try_from(hex(text)).unwrap());
    let negative = positive.map(|mut point| {
        point[31] |= 0x80;
        point
    });
    [positive, negative].concat()
}
