//! The test team: keys that were made once and lie in the open, and the trust directory made of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sequoia_openpgp as openpgp;

use openpgp::Packet;
use openpgp::armor;
use openpgp::cert::{CertRevocationBuilder, SubkeyRevocationBuilder};
use openpgp::crypto::KeyPair;
use openpgp::packet::key::{Key4, PrimaryRole, SecretParts, SubordinateRole};
use openpgp::packet::signature::SignatureBuilder;
use openpgp::packet::{Key, UserID};
use openpgp::parse::Parse as _;
use openpgp::serialize::MarshalInto as _;
use openpgp::types::{Curve, HashAlgorithm, KeyFlags, ReasonForRevocation, SignatureType};

use crate::case::fixtures;

/// 2026-01-01T00:00:00Z: when the keys say that they were made.
const MADE: u64 = 1_767_225_600;
const DAY: u64 = 24 * 3600;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Algorithm {
    /// OpenPGP's algorithm 22, what cards make.
    EdDsa,
    /// Algorithm 27 of RFC 9580.
    Ed25519,
    P256,
    P384,
    P521,
    Rsa(usize),
}
use Algorithm::{Ed25519, EdDsa, P256, P384, P521, Rsa};

#[derive(Clone, Copy, PartialEq)]
enum Revoked {
    No,
    Certificate,
    Subkey,
}

/// One person: how their certificate is made, and what the roster says about them.
struct Person {
    name: &'static str,
    serial: &'static str,
    groups: &'static [&'static str],
    declared: bool,
    primary: Algorithm,
    primary_signs: bool,
    /// Algorithm, whether flagged for signing (else authentication), whether it signs back.
    subkey: Option<(Algorithm, bool, bool)>,
    made: u64,
    /// Days until the certificate, or only the subkey if there is one, expires.
    expires: Option<u64>,
    /// Whether, of a certificate with a subkey, it is the primary key that expires and not the subkey.
    primary_expires: bool,
    revoked: Revoked,
    hash: HashAlgorithm,
}

const PLAIN: Person = Person {
    name: "",
    serial: "",
    groups: &["release"],
    declared: true,
    primary: EdDsa,
    primary_signs: true,
    subkey: None,
    made: MADE,
    expires: None,
    primary_expires: false,
    revoked: Revoked::No,
    hash: HashAlgorithm::SHA512,
};

/// A subkey that signs and says so itself, under a primary key that only certifies.
const BY_SUBKEY: Person = Person { primary_signs: false, subkey: Some((EdDsa, true, true)), ..PLAIN };

const PEOPLE: &[Person] = &[
    Person { name: "alice", serial: "1001", groups: &["release", "admins"], ..BY_SUBKEY },
    Person { name: "bob", serial: "1002", groups: &["release", "security"], ..PLAIN },
    Person { name: "carol", serial: "1003", primary: P256, ..PLAIN },
    Person { name: "dave", serial: "1004", primary: P384, ..PLAIN },
    Person { name: "erin", serial: "1005", primary: P521, ..PLAIN },
    Person { name: "frank", serial: "1006", primary: Rsa(2048), ..PLAIN },
    Person { name: "grace", serial: "1007", primary: Rsa(3072), ..PLAIN },
    Person { name: "heidi", serial: "1008", primary: Rsa(4096), ..PLAIN },
    Person { name: "ivan", serial: "1009", expires: Some(30), ..PLAIN },
    Person { name: "judy", serial: "1010", expires: Some(30), ..BY_SUBKEY },
    Person { name: "kim", serial: "1011", revoked: Revoked::Certificate, ..PLAIN },
    Person { name: "leo", serial: "1012", revoked: Revoked::Subkey, ..BY_SUBKEY },
    Person { name: "mike", serial: "1013", subkey: Some((EdDsa, false, false)), ..BY_SUBKEY },
    Person { name: "nina", serial: "1014", subkey: Some((EdDsa, true, false)), ..BY_SUBKEY },
    Person { name: "olaf", serial: "1015", hash: HashAlgorithm::SHA1, ..PLAIN },
    Person { name: "pam", serial: "1016", declared: false, ..PLAIN },
    Person { name: "quinn", serial: "1017", groups: &[], ..PLAIN },
    // 2026-11-20T04:10:00Z.
    Person { name: "rita", serial: "1018", made: 1_795_147_800, ..PLAIN },
    Person { name: "tina", serial: "000f:00c0ffe1", primary: Ed25519, ..PLAIN },
    Person {
        name: "uma",
        serial: "1020",
        primary: Rsa(2048),
        primary_signs: false,
        subkey: Some((P256, true, true)),
        ..PLAIN
    },
    // Expires on 2026-12-15.
    Person { name: "vera", serial: "1021", expires: Some(348), ..PLAIN },
    Person { name: "wanda", serial: "1022", expires: Some(30), primary_expires: true, ..BY_SUBKEY },
    Person { name: "xena", serial: "1023", revoked: Revoked::Certificate, ..BY_SUBKEY },
    // Nobody's record lists this one.
    Person { name: "mallory", serial: "", ..PLAIN },
];

/// The rules under which the cases are judged.
const POLICY: &str = r#"# The policy that the cases of fixtures/signature are judged under. Made for tests.
audience    = "approve.example.com"
version     = 7
valid_until = "2027-03-01T00:00:00Z"

[[rule]]
action   = "deploy"
resource = "payments/*"
need     = [{ from = "release", count = 2 }, { from = "security" }]
tier     = "declared"
pinned   = ["commit"]

[[rule]]
action   = "deploy"
resource = "payments/*"
need     = [{ from = "security" }]
tier     = "declared"
mode     = "break-glass"

[[rule]]
action   = "deploy"
resource = "vault/**"
need     = [{ from = "release" }]

[[rule]]
action   = "deploy"
resource = "staging/**"
need     = [{ from = "release" }]
tier     = "signed"

[[rule]]
action     = "deploy"
resource   = "night/**"
need       = [{ from = "release" }]
tier       = "signed"
unattended = true

[[rule]]
action = "login"
need   = [{ from = "@requester" }]
tier   = "declared"

[[rule]]
action        = "touchgate.trust.update"
need          = [{ from = "admins" }]
answer_within = "7d"
"#;

/// Files by their path below `fixtures/`.
pub(crate) type Tree = BTreeMap<String, Vec<u8>>;

/// The signer of one person: the subkey if there is one, else the primary key.
pub(crate) fn signer(name: &str) -> KeyPair {
    let packets = read(name);
    let key = packets.iter().rev().find_map(|packet| match packet {
        Packet::SecretKey(key) => Some(key.clone().role_into_unspecified()),
        Packet::SecretSubkey(key) => Some(key.clone().role_into_unspecified()),
        _ => None,
    });
    key.unwrap().into_keypair().unwrap()
}

/// The primary key of one person.
pub(crate) fn primary(name: &str) -> KeyPair {
    let packets = read(name);
    let Some(Packet::SecretKey(key)) = packets.first() else { panic!("{name}: no primary key") };
    key.clone().role_into_unspecified().into_keypair().unwrap()
}

fn read(name: &str) -> Vec<Packet> {
    let path = fixtures("signature/keys").join(format!("{name}.asc"));
    let pile = openpgp::PacketPile::from_file(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    pile.into_children().collect()
}

/// Makes the keys that are missing. Those that exist are never touched: every fixture stands on them.
pub(crate) fn make_missing_keys() {
    fs::create_dir_all(fixtures("signature/keys")).unwrap();
    for person in PEOPLE {
        let path = fixtures("signature/keys").join(format!("{}.asc", person.name));
        if !path.exists() {
            let file = armored(armor::Kind::SecretKey, &person.certificate());
            fs::write(path, file).unwrap();
        }
    }
}

/// fixtures/trust/team, made of the keys.
pub(crate) fn trust_directory() -> Tree {
    let mut tree = Tree::new();
    tree.insert("trust/team/policy.toml".into(), POLICY.into());
    for person in PEOPLE.iter().filter(|person| !person.serial.is_empty()) {
        let (name, serial) = (person.name, person.serial);
        let public: Vec<Packet> = read(name).into_iter().map(public).collect();
        let path = format!("trust/team/tokens/{}.asc", serial.replace(':', "-"));
        tree.insert(path, armored(armor::Kind::PublicKey, &public));
        let mut file = String::from("# Made for tests; the secret keys lie in fixtures/signature/keys.\n");
        let fingerprint = signer(name).public().fingerprint().to_hex();
        writeln!(file, "groups     = {:?}", person.groups).unwrap();
        writeln!(file, "identities = [\"github:{name}\", \"os:{name}@build1\"]\n").unwrap();
        writeln!(file, "[[token]]\nserial = \"{serial}\"\nkey    = \"{fingerprint}\"").unwrap();
        if person.declared {
            writeln!(file, "touch  = \"declared\"").unwrap();
        }
        tree.insert(format!("trust/team/people/{name}.toml"), file.into_bytes());
    }
    let sam = "# Asks, and holds no token.\nidentities = [\"github:sam\"]\n";
    tree.insert("trust/team/people/sam.toml".into(), sam.into());
    tree
}

fn public(packet: Packet) -> Packet {
    match packet {
        Packet::SecretKey(key) => Packet::PublicKey(key.take_secret().0),
        Packet::SecretSubkey(key) => Packet::PublicSubkey(key.take_secret().0),
        other => other,
    }
}

fn armored(kind: armor::Kind, packets: &[Packet]) -> Vec<u8> {
    let comment = [("Comment", "TEST KEY of Touchgate, secret half published: never enrol it")];
    let mut writer = armor::Writer::with_headers(Vec::new(), kind, comment).unwrap();
    for packet in packets {
        std::io::Write::write_all(&mut writer, &packet.to_vec().unwrap()).unwrap();
    }
    writer.finalize().unwrap()
}

fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

impl Algorithm {
    fn key<R: openpgp::packet::key::KeyRole>(self, made: u64) -> Key<SecretParts, R> {
        let key = match self {
            EdDsa => Key4::generate_ecc(true, Curve::Ed25519),
            Ed25519 => Key4::generate_ed25519(),
            P256 => Key4::generate_ecc(true, Curve::NistP256),
            P384 => Key4::generate_ecc(true, Curve::NistP384),
            P521 => Key4::generate_ecc(true, Curve::NistP521),
            Rsa(bits) => Key4::generate_rsa(bits),
        };
        let mut key: Key<SecretParts, R> = Key::V4(key.unwrap());
        key.set_creation_time(time(made)).unwrap();
        key
    }
}

impl Person {
    /// Primary key, user id, subkey, their signatures and revocations, secret halves included.
    fn certificate(&self) -> Vec<Packet> {
        let primary: Key<SecretParts, PrimaryRole> = self.primary.key(self.made);
        let mut signer = primary.clone().into_keypair().unwrap();
        let user = UserID::from(format!("{} (test key) <{}@touchgate.invalid>", self.name, self.name));
        let validity = self.expires.map(|days| Duration::from_secs(days * DAY));
        let builder = |typ| {
            let builder = SignatureBuilder::new(typ).set_hash_algo(self.hash);
            builder.set_signature_creation_time(time(self.made)).unwrap()
        };
        let mut flags = KeyFlags::empty().set_certification();
        if self.primary_signs {
            flags = flags.set_signing();
        }
        let binding = builder(SignatureType::PositiveCertification).set_key_flags(flags).unwrap();
        let whole = self.subkey.is_none() || self.primary_expires;
        let (own, inner) = if whole { (validity, None) } else { (None, validity) };
        let binding = binding.set_key_validity_period(own).unwrap();
        let binding = binding.sign_userid_binding(&mut signer, None, &user).unwrap();
        let mut packets: Vec<Packet> = vec![primary.clone().into(), user.into(), binding.into()];
        if let Some((algorithm, signs, signs_back)) = self.subkey {
            let subkey: Key<SecretParts, SubordinateRole> = algorithm.key(self.made);
            let flags = KeyFlags::empty();
            let flags = if signs { flags.set_signing() } else { flags.set_authentication() };
            let mut binding = builder(SignatureType::SubkeyBinding).set_key_flags(flags).unwrap();
            binding = binding.set_key_validity_period(inner).unwrap();
            if signs_back {
                let mut own = subkey.clone().into_keypair().unwrap();
                let back = builder(SignatureType::PrimaryKeyBinding);
                let back = back.sign_primary_key_binding(&mut own, &primary, &subkey).unwrap();
                binding = binding.set_embedded_signature(back).unwrap();
            }
            let binding = binding.sign_subkey_binding(&mut signer, None, &subkey).unwrap();
            packets.extend([subkey.into(), binding.into()]);
        }
        let cert = openpgp::Cert::from_packets(packets.clone().into_iter()).unwrap();
        // 2026-10-01: before any case is judged. A compromised key is revoked for all time.
        let when = time(1_790_812_800);
        match self.revoked {
            Revoked::No => {}
            Revoked::Certificate => {
                let revocation = CertRevocationBuilder::new()
                    .set_signature_creation_time(when)
                    .unwrap()
                    .set_reason_for_revocation(ReasonForRevocation::KeyCompromised, b"test")
                    .unwrap();
                packets.insert(1, revocation.build(&mut signer, &cert, None).unwrap().into());
            }
            Revoked::Subkey => {
                let subkey = cert.keys().subkeys().next().unwrap();
                let revocation = SubkeyRevocationBuilder::new()
                    .set_signature_creation_time(when)
                    .unwrap()
                    .set_reason_for_revocation(ReasonForRevocation::KeyRetired, b"test")
                    .unwrap();
                let revocation = revocation.build(&mut signer, &cert, subkey.key(), None).unwrap();
                packets.push(revocation.into());
            }
        }
        packets
    }
}
