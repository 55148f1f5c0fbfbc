//! The rows of the table: what is wrong with a chain, or right.

use virtual_openpgp_card::attestation::{Authority, Certificate, Chain, ChainShape, Flaw, Source, Statement};
use virtual_openpgp_card::{Algorithm, Firmware, Slot, TouchPolicy};

use crate::{key, others};

/// One attestation to judge.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) leaf: Vec<u8>,
    pub(crate) others: Vec<Vec<u8>>,
    /// Configured by hand; without it there are Yubico's alone.
    pub(crate) root: Option<Certificate>,
}

const NAMES: [&str; 9] = [
    "cardholder name",
    "source",
    "firmware",
    "fingerprint",
    "generation time",
    "signature counter",
    "serial number",
    "touch policy",
    "form factor",
];

/// What a flaw is called. Exhaustive: a new flaw must get its rows.
fn name_of(flaw: &Flaw) -> String {
    let name = |number: &u8| NAMES[usize::from(*number) - 1];
    match flaw {
        Flaw::AttestedKeyAsCa => "signed by an attested key, used as an authority".into(),
        Flaw::DeviceExpired => "the token's certificate has ended".into(),
        Flaw::DeviceNotCa => "the token's certificate is no authority's".into(),
        Flaw::DeviceReplaced => "the owner's own attestation key and certificate".into(),
        Flaw::ExtensionAdded { number, .. } => format!("{} twice, differing", name(number)),
        Flaw::ExtensionDoubled(number) => format!("{} twice, alike", name(number)),
        Flaw::ExtensionMisencoded(number) => format!("{} of another type", name(number)),
        Flaw::ExtensionMissing(number) => format!("{} missing", name(number)),
        Flaw::ExtensionReplaced { number, value } => format!("{} = {}", name(number), hex(value)),
        Flaw::LeafExpired => "the attestation has ended".into(),
        Flaw::LeafSignedByStranger => "signed by a stranger's key".into(),
        Flaw::RootOfStranger => "a root of the same name with another key".into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    if digits.is_empty() { "nothing".into() } else { digits.join(" ") }
}

/// Every flaw, with the arguments that matter.
fn flaws() -> Vec<Flaw> {
    let mut all = vec![
        Flaw::AttestedKeyAsCa,
        Flaw::DeviceExpired,
        Flaw::DeviceNotCa,
        Flaw::DeviceReplaced,
        Flaw::LeafExpired,
        Flaw::LeafSignedByStranger,
        Flaw::RootOfStranger,
    ];
    let values: [(u8, &[u8]); 9] = [
        (1, b"\x0C\x01x"),
        (2, b"\x02\x01\x00"),
        (3, b"\x04\x03\x05\x07\x00"),
        (4, &[&[4u8, 20][..], &[7; 20]].concat()),
        (5, b"\x04\x04\x00\x00\x00\x01"),
        (6, b"\x02\x01\x09"),
        (7, b"\x02\x01\x09"),
        (8, b"\x04\x01\x00"),
        (9, b"\x04\x01\x01"),
    ];
    for (number, value) in values {
        all.push(Flaw::ExtensionMissing(number));
        all.push(Flaw::ExtensionDoubled(number));
        all.push(Flaw::ExtensionAdded { number, value: value.to_vec() });
        all.push(Flaw::ExtensionMisencoded(number));
    }
    let odd: [(u8, &[u8]); 19] = [
        // Too short, too long, another form of the same number, a negative one, more than 32 bits.
        (2, b"\x02\x01\x02"),
        (2, b"\x02\x02\x00\x01"),
        (2, b"\x02\x01\xFF"),
        (2, b"\x01\x01\xFF"),
        (3, b"\x04\x02\x05\x07"),
        (3, b"\x04\x04\x05\x07\x04\x00"),
        (5, b"\x04\x03\x01\x02\x03"),
        (6, b"\x02\x05\x01\x00\x00\x00\x00"),
        (7, b"\x02\x05\x00\xFF\xFF\xFF\xFF"),
        (7, b"\x02\x04\xFF\xFF\xFF\xFF"),
        (7, b""),
        (8, b"\x04\x00"),
        (8, b"\x04\x02\x02\x20"),
        (8, b"\x04\x81\x01\x02"),
        (8, b"\x04\x01\x02\x00"),
        (8, b"\x24\x03\x04\x01\x02"),
        (8, b"\x04\x01\x05"),
        (9, b"\x04\x01\x09"),
        (1, b"\x0C\x02\xFF\xFE"),
    ];
    all.extend(odd.map(|(number, value)| Flaw::ExtensionReplaced { number, value: value.to_vec() }));
    all
}

fn row(name: impl Into<String>, chain: &Chain, root: Option<Certificate>) -> Row {
    Row { name: name.into(), leaf: chain.leaf.der().to_vec(), others: others(chain), root }
}

/// Everything that is judged, under an authority of that shape.
pub(crate) fn rows(shape: ChainShape) -> Vec<Row> {
    let authority = Authority::new(shape);
    let root = || Some(authority.root());
    let firmware = match shape {
        ChainShape::FourBelowRoot => Firmware::V5_7_4,
        ChainShape::TwoBelowRoot => Firmware::V5_4_3,
    };
    let about = |slot| Statement { firmware, ..Statement::about(slot) };
    let said = about(Slot::Signature);
    let ed25519 = key(Algorithm::Ed25519);
    let good = authority.attest(&ed25519, &said);
    let mut rows = vec![row("as it should be", &good, root())];

    for (name, public) in [
        ("a NIST P-256 key", key(Algorithm::NistP256)),
        ("a NIST P-521 key", key(Algorithm::NistP521)),
        ("a brainpoolP384r1 key", key(Algorithm::BrainpoolP384r1)),
        ("a secp256k1 key", key(Algorithm::Secp256k1)),
        ("an RSA 2048 key", key(Algorithm::Rsa2048)),
    ] {
        rows.push(row(name, &authority.attest(&public, &said), root()));
    }
    for (name, slot) in [
        ("of the decryption key", Slot::Decryption),
        ("of the authentication key", Slot::Authentication),
        ("of the attestation key itself", Slot::Attestation),
    ] {
        rows.push(row(name, &authority.attest(&ed25519, &about(slot)), root()));
    }
    let counted = Statement { signature_count: Some(1), ..about(Slot::Decryption) };
    rows.push(row("a decryption key with a counter", &authority.attest(&ed25519, &counted), root()));
    for (name, touch) in [
        ("touch off", TouchPolicy::Off),
        ("touch on", TouchPolicy::On),
        ("touch cached", TouchPolicy::Cached),
        ("touch cached-fixed", TouchPolicy::CachedFixed),
    ] {
        rows.push(row(name, &authority.attest(&ed25519, &Statement { touch, ..said.clone() }), root()));
    }
    let imported = Statement { source: Source::Imported, ..said.clone() };
    rows.push(row("an imported key", &authority.attest(&ed25519, &imported), root()));
    let early = Statement { firmware: Firmware::new(5, 2, 1), ..said.clone() };
    rows.push(row("Ed25519 of firmware 5.2.1", &authority.attest(&ed25519, &early), root()));

    for flaw in flaws() {
        let chain = authority.attest_wrongly(&ed25519, &said, std::slice::from_ref(&flaw));
        rows.push(row(name_of(&flaw), &chain, root()));
    }
    let two = [Flaw::DeviceNotCa, Flaw::ExtensionMissing(8)];
    let chain = authority.attest_wrongly(&ed25519, &said, &two);
    rows.push(row("no authority and no touch policy", &chain, root()));

    rows.push(row("the root is not configured", &good, None));
    let other = crate::SHAPES.into_iter().find(|other| *other != shape).map(|s| Authority::new(s).root());
    rows.push(row("another root is configured", &good, other));
    let with = |name: &str, others: Vec<Vec<u8>>| Row {
        name: name.into(),
        leaf: good.leaf.der().to_vec(),
        others,
        root: root(),
    };
    rows.push(with("the token's certificate is not there", others(&good).split_off(1)));
    if shape == ChainShape::FourBelowRoot {
        rows.push(with("the intermediates are not there", vec![good.device.der().to_vec()]));
    }
    rows.push(with("the others in another order", others(&good).into_iter().rev().collect()));
    let strangers = Authority::new(shape).attest_wrongly(&ed25519, &said, &[Flaw::RootOfStranger]);
    rows.push(with(
        "a stranger's certificates among the others",
        [others(&strangers), others(&good)].concat(),
    ));
    let leaf =
        |name: &str, leaf: Vec<u8>| Row { name: name.into(), leaf, others: others(&good), root: root() };
    rows.push(leaf("the token's certificate in place of the attestation", good.device.der().to_vec()));
    rows.push(leaf("the attestation cut short", good.leaf.der()[..200].to_vec()));
    rows.push(leaf("a byte after the attestation", [good.leaf.der(), &[0]].concat()));
    rows.push(leaf("nothing", Vec::new()));
    rows.push(leaf("5000 bytes", vec![0x30; 5000]));
    rows.push(with("65 other certificates", vec![good.device.der().to_vec(); 65]));
    rows
}
