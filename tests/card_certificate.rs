//! Certificates that a card makes of its own keys, in process; gpg and sqv as second opinions.
#![cfg(feature = "virtual-card")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod card_support;

use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use card_support::*;
use sequoia_openpgp::cert::{Cert, CertBuilder};
use sequoia_openpgp::crypto::Password;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::serialize::{Serialize, SerializeInto};
use sequoia_openpgp::types::{HashAlgorithm, KeyFlags, RevocationStatus, SymmetricAlgorithm};
use touchgate::card::certificate::check::{Difference, Wanted, differences};
use touchgate::card::certificate::offline::{Locked, OfflineError, Primary};
use touchgate::card::certificate::{self, Act, CertificateError, Draft, Made, Settings};
use touchgate::card::{CardError, CardKeys, CardSigner, KeySlot, TouchNeed};
use touchgate::sign::{self, SignError};
use touchgate::unix_time::UnixTime;
use virtual_openpgp_card::{Algorithm, Builder, Finger, Slot, TouchPolicy, VirtualCard};

const USER_ID: &str = "Alice <alice@example.org>";

/// A card with a key in each slot.
fn full(signing: Algorithm, decrypting: Algorithm) -> VirtualCard {
    filled(VirtualCard::builder(), signing, decrypting)
}

fn filled(builder: Builder, signing: Algorithm, decrypting: Algorithm) -> VirtualCard {
    let card = card_with(builder.seed([7; 32]), signing);
    card.generate(Slot::Decryption, decrypting, CREATED + 1).unwrap();
    card.generate(Slot::Authentication, signing, CREATED + 2).unwrap();
    card
}

fn at(seconds: u32) -> UnixTime {
    UnixTime::from_seconds(seconds.into()).unwrap()
}

fn settings() -> Settings {
    Settings { expires: Some(at(CREATED + 300_000_000)), revocation: true, ..Settings::default() }
}

fn wanted() -> Wanted<'static> {
    Wanted { user_id: Some(USER_ID), expires: Some(settings().expires) }
}

fn keys(card: &VirtualCard) -> CardKeys {
    look(card).unwrap().keys(&patience()).unwrap()
}

/// The whole certificate, as provisioning makes it.
fn made(card: &VirtualCard, settings: &Settings) -> Made {
    let mut token = look(card).unwrap();
    let keys = keys(card);
    let mut person = Person::with_pins(&[PIN; 8]);
    let mut signer = CardSigner::new(&mut token, keys.signature.clone(), &mut person, patience()).unwrap();
    certificate::make(&keys, USER_ID, settings, &mut signer).unwrap()
}

fn ask(command: &mut Command) -> (bool, String) {
    let Output { status, stdout, stderr } =
        command.env("LC_ALL", "C").output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    (status.success(), text)
}

/// gpg with a home of its own and no card in sight.
struct Keyring(tempfile::TempDir);

impl Keyring {
    fn new() -> Self {
        Self(tempfile::Builder::new().prefix("tgk").tempdir_in("/tmp").unwrap())
    }

    fn gpg(&self, arguments: &[&str]) -> (bool, String) {
        ask(Command::new("gpg")
            .arg("--homedir")
            .arg(self.0.path())
            .args(["--batch", "--no-tty"])
            .args(arguments))
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    fn import(&self, bytes: &[u8]) -> String {
        let file = self.file("import", bytes);
        let (good, text) = self.gpg(&["--import", &file]);
        assert!(good, "{text}");
        text
    }

    /// What gpg says of the signatures in all certificates, machine-readable: `sig:!:` is a good one.
    fn signatures(&self) -> Vec<String> {
        let (good, text) = self.gpg(&["--with-colons", "--check-signatures"]);
        assert!(good, "{text}");
        let of = |line: &&str| line.starts_with("sig:") || line.starts_with("rev:");
        text.lines().filter(of).map(str::to_owned).collect()
    }

    fn validity(&self) -> String {
        self.gpg(&["--with-colons", "--list-keys"]).1
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.0.path()).args(["--kill", "all"]).status();
    }
}

/// sqv on a statement that this card signs.
fn sqv_accepts(card: &VirtualCard, cert: &Cert) {
    let keyring = Keyring::new();
    let mut token = look(card).unwrap();
    let key = sign::key_on_card(cert, &token).unwrap();
    let signature = sign_with(&mut token, &key, &mut Person::with_pins(&[PIN]), patience()).unwrap();
    let (cert, statement, signature) = (
        keyring.file("cert", &cert.armored().to_vec().unwrap()),
        keyring.file("statement", STATEMENT),
        keyring.file("signature", &signature),
    );
    let sqv = |statement: &str| ask(Command::new("sqv").args(["--keyring", &cert, &signature, statement]));
    let (good, text) = sqv(&statement);
    assert!(good, "{text}");
    let other = keyring.file("other", b"something else");
    assert!(!sqv(&other).0);
}

fn round(signing: Algorithm, decrypting: Algorithm) {
    let card = full(signing, decrypting);
    let Made { cert, revocation } = made(&card, &settings());
    let cert = Cert::from_bytes(&cert.to_vec().unwrap()).unwrap();
    assert_eq!(differences(&cert, &keys(&card), wanted(), now().into()), []);
    let on_card =
        [Slot::Signature, Slot::Decryption, Slot::Authentication].map(|slot| card.fingerprint(slot).unwrap());
    let in_cert: Vec<_> = cert.keys().map(|key| key.key().fingerprint().as_bytes().to_vec()).collect();
    assert!(in_cert.len() == 3 && on_card.iter().all(|one| in_cert.contains(&one.to_vec())));
    sqv_accepts(&card, &cert);

    let keyring = Keyring::new();
    keyring.import(&cert.armored().to_vec().unwrap());
    let signatures = keyring.signatures();
    assert_eq!(signatures.len(), 3, "{signatures:?}");
    assert!(signatures.iter().all(|line| line.starts_with("sig:!:")), "{signatures:?}");
    assert!(keyring.validity().starts_with("tru:"));
    assert!(!keyring.validity().contains("pub:r:"));
    keyring.import(revocation.unwrap().as_bytes());
    assert!(keyring.validity().contains("pub:r:"), "{}", keyring.validity());
}

#[test]
fn curve25519() {
    round(Algorithm::Ed25519, Algorithm::X25519);
}

#[test]
fn nist_curves() {
    for algorithm in [Algorithm::NistP256, Algorithm::NistP384, Algorithm::NistP521] {
        round(algorithm, algorithm);
    }
}

#[test]
fn rsa() {
    round(Algorithm::Rsa2048, Algorithm::Rsa2048);
}

#[test]
fn subkeys_on_other_curves() {
    round(Algorithm::Ed25519, Algorithm::BrainpoolP256r1);
    round(Algorithm::Ed25519, Algorithm::Secp256k1);
}

#[test]
fn the_same_card_and_settings_give_the_same_bytes() {
    let card = full(Algorithm::Ed25519, Algorithm::X25519);
    let bytes = |made: &Made| (made.cert.to_vec().unwrap(), made.revocation.clone());
    let first = made(&card, &settings());
    assert_eq!(bytes(&first), bytes(&made(&card, &settings())));
    let later = Settings { made: Some(at(CREATED + 3)), ..settings() };
    assert_ne!(bytes(&first).0, bytes(&made(&card, &later)).0);
    // Its signatures are as old as the youngest key, so that no clock is asked.
    let times: Vec<_> = first.cert.keys().flat_map(|key| key.self_signatures()).collect();
    assert!(!times.is_empty());
    for signature in times {
        assert_eq!(UnixTime::from(signature.signature_creation_time().unwrap()), at(CREATED + 2));
    }
}

#[test]
fn every_signature_needs_its_touch_and_a_missed_one_loses_none() {
    let builder = VirtualCard::builder().touch_window(Duration::from_millis(50));
    let card = filled(builder, Algorithm::Ed25519, Algorithm::X25519);
    card.set_touch_policy(Slot::Signature, TouchPolicy::Fixed);
    let keys = keys(&card);
    let mut draft = Draft::new(&keys, USER_ID, &settings()).unwrap();
    let acts = [
        Act::UserId,
        Act::Subkey(KeySlot::Decryption),
        Act::Subkey(KeySlot::Authentication),
        Act::Revocation,
    ];
    assert_eq!(draft.acts(), acts);
    let counter = card.signature_count();
    for (done, act) in (0..).zip(acts) {
        assert_eq!(draft.next(), Some(act));
        // The finger stays away once, at each of them.
        card.set_finger(Finger::Never);
        let mut token = look(&card).unwrap();
        let mut person = Person::with_pins(&[PIN]);
        let mut signer =
            CardSigner::new(&mut token, keys.signature.clone(), &mut person, patience()).unwrap();
        let missed = draft.sign(&mut signer).unwrap_err();
        drop(signer);
        assert!(matches!(missed, SignError::Card(CardError::NotTouched { .. })), "{missed}");
        assert_eq!((draft.next(), card.signature_count()), (Some(act), counter + done));
        card.set_finger(Finger::Now);
        let mut person = Person::with_pins(&[PIN]);
        let mut signer =
            CardSigner::new(&mut token, keys.signature.clone(), &mut person, patience()).unwrap();
        draft.sign(&mut signer).unwrap();
        drop(signer);
        assert_eq!(person.touches, [TouchNeed::Always]);
    }
    assert_eq!(draft.next(), None);
    assert_eq!(card.signature_count(), counter + 4);
    let made = draft.finish().unwrap();
    assert_eq!(differences(&made.cert, &keys, wanted(), now().into()), []);
}

#[test]
fn other_keys_signatures_make_no_certificate() {
    // A signer that is not the card's key: the library would not take what it binds.
    let card = full(Algorithm::Ed25519, Algorithm::X25519);
    let other = self::card(VirtualCard::builder().seed([9; 32]));
    let mut token = look(&other).unwrap();
    let key = key(&other);
    let mut person = Person::with_pins(&[PIN; 8]);
    let mut signer = CardSigner::new(&mut token, key, &mut person, patience()).unwrap();
    let made = certificate::make(&keys(&card), USER_ID, &settings(), &mut signer).unwrap();
    let found = differences(&made.cert, &keys(&card), wanted(), now().into());
    assert!(matches!(found.as_slice(), [Difference::Invalid { .. }]), "{found:?}");
}

/// PUT DATA of what other programs record, under the admin PIN.
fn record(card: &VirtualCard, slot: u8, fingerprint: &[u8], created: u32) {
    send(card, SELECT);
    send(card, &command([0x00, 0x20, 0x00, 0x83], b"12345678"));
    send(card, &command([0x00, 0xda, 0x00, 0xc7 + slot], fingerprint));
    send(card, &command([0x00, 0xda, 0x00, 0xce + slot], &created.to_be_bytes()));
    card.reset();
}

#[test]
fn the_record_of_another_program_is_reproduced() {
    use sequoia_openpgp::crypto::mpi::PublicKey as Mpis;
    use sequoia_openpgp::packet::key::{Key4, PublicParts, UnspecifiedRole};
    let card = full(Algorithm::Ed25519, Algorithm::X25519);
    let before = keys(&card);
    let made_on = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    let Mpis::EdDSA { q, .. } = before.signature.mpis() else { panic!() };
    let Mpis::ECDH { q: u, .. } = before.decryption.as_ref().unwrap().mpis() else { panic!() };
    let (point, u) = (&q.value()[1..], &u.value()[1..]);
    type New = Key4<PublicParts, UnspecifiedRole>;
    let signing = New::import_public_ed25519(point, made_on).unwrap();
    record(&card, 0, signing.fingerprint().as_bytes(), 1_600_000_000);
    // Each hash and cipher that an ECDH key may name, and the form of RFC 9580.
    let mut forms = vec![New::import_public_x25519(u, made_on).unwrap()];
    for hash in [HashAlgorithm::SHA256, HashAlgorithm::SHA384, HashAlgorithm::SHA512] {
        for cipher in [SymmetricAlgorithm::AES128, SymmetricAlgorithm::AES192, SymmetricAlgorithm::AES256] {
            forms.push(New::import_public_cv25519(u, hash, cipher, made_on).unwrap());
        }
    }
    for form in forms {
        record(&card, 1, form.fingerprint().as_bytes(), 1_600_000_000);
        let read = keys(&card);
        assert_eq!(read.signature.fingerprint(), signing.fingerprint());
        assert_eq!(read.decryption.unwrap().fingerprint(), form.fingerprint());
    }
    // With all of it the certificate is made, and right.
    let made = made(&card, &settings());
    assert_eq!(differences(&made.cert, &keys(&card), wanted(), now().into()), []);
    // What no form of the key can have is not made up.
    record(&card, 1, &[0xab; 20], 1_600_000_000);
    let error = look(&card).unwrap().keys(&patience()).unwrap_err();
    assert!(
        matches!(&error, CardError::FingerprintDiffers { slot: KeySlot::Decryption, recorded, .. } if recorded == &"ab".repeat(20)),
        "{error}"
    );
    record(&card, 0, signing.fingerprint().as_bytes(), 1_600_000_001);
    let error = look(&card).unwrap().signature_key(&patience()).unwrap_err();
    assert!(matches!(error, CardError::FingerprintDiffers { slot: KeySlot::Signature, .. }), "{error}");
}

#[test]
fn a_card_without_keys_or_with_the_signature_key_alone() {
    let empty = VirtualCard::builder().build();
    let error = look(&empty).unwrap().keys(&patience()).unwrap_err();
    assert!(matches!(error, CardError::NoSignatureKey { .. }), "{error}");
    let card = card(VirtualCard::builder());
    let keys = keys(&card);
    assert_eq!(keys.all().count(), 1);
    let draft = Draft::new(&keys, USER_ID, &Settings::default()).unwrap();
    assert_eq!(draft.acts(), [Act::UserId]);
}

#[test]
fn settings_that_cannot_be_are_refused_before_any_touch() {
    let card = full(Algorithm::Ed25519, Algorithm::X25519);
    let keys = keys(&card);
    let draft = |user_id: &str, made: Option<u32>, expires: Option<u32>| {
        let settings = Settings { made: made.map(at), expires: expires.map(at), revocation: false };
        Draft::new(&keys, user_id, &settings).map(|draft| draft.acts().len())
    };
    assert_eq!(draft("A", Some(CREATED + 2), Some(CREATED + 3)).unwrap(), 3);
    for user_id in ["", "a\nb", "\u{7f}", "\u{85}", &"a".repeat(257)] {
        assert!(matches!(draft(user_id, None, None), Err(CertificateError::UserId)), "{user_id:?}");
    }
    assert!(matches!(draft("A", None, Some(CREATED + 2)), Err(CertificateError::Lifetime { .. })));
    let early = draft("A", Some(CREATED + 1), None);
    assert!(
        matches!(early, Err(CertificateError::MadeBeforeKey { slot: KeySlot::Authentication, .. })),
        "{early:?}"
    );
}

#[test]
fn every_difference_is_seen() {
    let card = full(Algorithm::Ed25519, Algorithm::X25519);
    let keys = keys(&card);
    let Made { cert, revocation } = made(&card, &settings());
    let found = |cert: &Cert, wanted: Wanted<'_>, time: UnixTime| differences(cert, &keys, wanted, time);
    let today: UnixTime = now().into();
    assert_eq!(found(&cert, wanted(), today), []);
    // Whatever else is in it.
    assert_eq!(found(&cert, Wanted { expires: None, ..wanted() }, today), []);
    let other = Wanted { user_id: Some("Bob"), ..wanted() };
    assert_eq!(found(&cert, other, today), [Difference::UserId { found: USER_ID.into() }]);
    let other = Wanted { expires: Some(None), ..wanted() };
    let expiry = |slot| Difference::Expiry { slot, found: settings().expires };
    let all = [KeySlot::Signature, KeySlot::Decryption, KeySlot::Authentication];
    assert_eq!(found(&cert, other, today), all.map(expiry));
    assert!(found(&cert, Wanted { user_id: None, ..wanted() }, today).contains(&Difference::PrimaryKey));
    assert!(found(&cert, wanted(), at(CREATED + 300_000_000)).contains(&Difference::Expired));
    let early = found(&cert, wanted(), at(CREATED));
    assert!(matches!(early.as_slice(), [Difference::Invalid { .. }]), "{early:?}");
    let revoked = cert.clone().insert_packets(revocation_packets(&revocation.unwrap())).unwrap().0;
    assert_eq!(found(&revoked, wanted(), today), [Difference::Revoked]);
    // A key that came onto the card later, and one made in place of another.
    let only = self::card(VirtualCard::builder().seed([7; 32]));
    let lone = made_with_one_key(&only);
    let missing = differences(&lone, &keys, Wanted { expires: None, ..wanted() }, today);
    assert_eq!(missing, [Difference::Key(KeySlot::Decryption), Difference::Key(KeySlot::Authentication)]);
    card.generate(Slot::Decryption, Algorithm::X25519, CREATED + 9).unwrap();
    let replaced = differences(&cert, &self::keys(&card), wanted(), today);
    assert_eq!(replaced, [Difference::Key(KeySlot::Decryption)]);
}

fn made_with_one_key(card: &VirtualCard) -> Cert {
    made(card, &Settings::default()).cert
}

fn revocation_packets(block: &str) -> Vec<sequoia_openpgp::Packet> {
    sequoia_openpgp::PacketPile::from_bytes(block).unwrap().into_children().collect()
}

/// Somebody's key that is kept in a safe.
fn offline_key(passphrase: Option<&str>) -> Vec<u8> {
    offline_key_of(CREATED - 1000, passphrase)
}

fn offline_key_of(created: u32, passphrase: Option<&str>) -> Vec<u8> {
    let builder = CertBuilder::new()
        .add_userid(USER_ID)
        .set_creation_time(SystemTime::UNIX_EPOCH + Duration::from_secs(created.into()))
        .set_primary_key_flags(KeyFlags::empty().set_certification())
        .set_password(passphrase.map(Password::from));
    let (cert, _) = builder.generate().unwrap();
    let mut bytes = Vec::new();
    cert.as_tsk().armored().serialize(&mut bytes).unwrap();
    bytes
}

fn unlocked(file: &[u8], passphrase: &str) -> Primary {
    Locked::read(file, now().into()).unwrap().unlock(&Password::from(passphrase)).unwrap()
}

fn added(card: &VirtualCard, primary: &mut Primary, settings: &Settings) -> Made {
    let mut token = look(card).unwrap();
    let keys = keys(card);
    let mut person = Person::with_pins(&[PIN]);
    let mut signer = CardSigner::new(&mut token, keys.signature.clone(), &mut person, patience()).unwrap();
    primary.add(&keys, settings, &mut signer).unwrap()
}

#[test]
fn under_an_offline_primary_key() {
    let policy = StandardPolicy::new();
    for (signing, decrypting) in
        [(Algorithm::Ed25519, Algorithm::X25519), (Algorithm::NistP256, Algorithm::NistP256)]
    {
        let card = full(signing, decrypting);
        let before = card.signature_count();
        let mut primary = unlocked(&offline_key(Some("correct horse")), "correct horse");
        let Made { cert, revocation } = added(&card, &mut primary, &settings());
        assert_eq!(card.signature_count(), before + 1, "the card signs once");
        assert!(!cert.is_tsk());
        let wanted = Wanted { user_id: None, ..wanted() };
        assert_eq!(differences(&cert, &keys(&card), wanted, now().into()), []);
        sqv_accepts(&card, &cert);
        let keyring = Keyring::new();
        keyring.import(&cert.armored().to_vec().unwrap());
        let signatures = keyring.signatures();
        assert_eq!(signatures.iter().filter(|line| line.contains(":18x:")).count(), 3, "{signatures:?}");
        assert!(signatures.iter().all(|line| line.starts_with("sig:!:")), "{signatures:?}");
        // The revocation is of the subkeys alone.
        let revoked = cert.insert_packets(revocation_packets(&revocation.unwrap())).unwrap().0;
        let valid = revoked.with_policy(&policy, now()).unwrap();
        assert_eq!(valid.revocation_status(), RevocationStatus::NotAsFarAsWeKnow);
        assert_eq!(valid.keys().subkeys().revoked(true).count(), 3);
        let found = differences(&revoked, &keys(&card), wanted, now().into());
        assert_eq!(found.len(), 3, "{found:?}");
    }
}

#[test]
fn a_primary_key_younger_than_the_card() {
    let card = full(Algorithm::Ed25519, Algorithm::X25519);
    let mut primary = unlocked(&offline_key_of(CREATED + 5000, None), "");
    let made = added(&card, &mut primary, &settings());
    let wanted = Wanted { user_id: None, ..wanted() };
    assert_eq!(differences(&made.cert, &keys(&card), wanted, now().into()), []);
    let mut token = look(&card).unwrap();
    let mut person = Person::with_pins(&[PIN]);
    let mut signer = CardSigner::new(&mut token, key(&card), &mut person, patience()).unwrap();
    let early = Settings { made: Some(at(CREATED + 4999)), ..settings() };
    let error = primary.add(&keys(&card), &early, &mut signer).unwrap_err();
    assert!(matches!(error, CertificateError::MadeBeforePrimary { .. }), "{error}");
}

#[test]
fn a_signing_subkey_without_the_cards_consent_is_none() {
    // The back signature made by another card: what somebody would do who claims a key that is not theirs.
    let card = full(Algorithm::Ed25519, Algorithm::X25519);
    let other = self::card(VirtualCard::builder().seed([9; 32]));
    let mut primary = unlocked(&offline_key(None), "");
    let mut token = look(&other).unwrap();
    let key = key(&other);
    let mut person = Person::with_pins(&[PIN]);
    let mut signer = CardSigner::new(&mut token, key, &mut person, patience()).unwrap();
    let made = primary.add(&keys(&card), &settings(), &mut signer).unwrap();
    let found = differences(&made.cert, &keys(&card), Wanted { user_id: None, ..wanted() }, now().into());
    assert!(found.contains(&Difference::Key(KeySlot::Signature)), "{found:?}");
}

#[test]
fn offline_keys_that_cannot_sign() {
    let time: UnixTime = now().into();
    let file = offline_key(Some("correct horse"));
    let locked = Locked::read(&file, time).unwrap();
    assert!(locked.needs_passphrase());
    let wrong = locked.unlock(&Password::from("wrong horse")).unwrap_err();
    assert!(matches!(wrong, OfflineError::Passphrase(_)), "{wrong}");
    assert!(!format!("{wrong:?} {wrong}").contains("horse"));
    assert!(!Locked::read(&offline_key(None), time).unwrap().needs_passphrase());
    let public = Cert::from_bytes(&file).unwrap().strip_secret_key_material().armored().to_vec().unwrap();
    assert!(matches!(Locked::read(&public, time), Err(OfflineError::NotSecret(_))));
    assert!(matches!(Locked::read(b"no key", time), Err(OfflineError::NotAKey { .. })));
    assert!(matches!(Locked::read(&vec![b' '; (1 << 20) + 1], time), Err(OfflineError::TooLarge)));
    // Not yet made at that time.
    assert!(matches!(Locked::read(&file, at(CREATED - 2000)), Err(OfflineError::NotAKey { .. })));
}
