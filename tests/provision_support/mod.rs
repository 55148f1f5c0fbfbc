//! A token to provision, somebody to escrow to, and what can be asked of the token afterwards.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sequoia_openpgp::Cert;
use sequoia_openpgp::cert::CertBuilder;
use sequoia_openpgp::serialize::SerializeInto;
use tempfile::TempDir;
use touchgate::card::provision::{self, Done, Job, Person, Profile, ProvisionError, Survey};
use touchgate::card::slot::Slot;
use touchgate::card::{
    Attendant, CardError, Ident, InProcess, Patience, Pin, PinEntry, PinRequest, Tape, TokenInfo, TouchNeed,
};
use touchgate::unix_time::UnixTime;
use virtual_openpgp_card::attestation::{Authority, ChainShape};
use virtual_openpgp_card::{Firmware, Personality, VirtualCard};

pub const PERSONALITIES: [Personality; 4] = [
    Personality::Yubikey(Firmware::V5_2_7),
    Personality::Yubikey(Firmware::V5_4_3),
    Personality::Yubikey(Firmware::V5_7_4),
    Personality::Plain,
];

/// Everything that a profile can say, made on the card.
pub fn everything(personality: Personality) -> String {
    // A plain card cannot set tries, and delivers three.
    let tries = match personality {
        Personality::Plain => "tries = { user = 3, resetting_code = 3, admin = 3 }",
        Personality::Yubikey(_) => "tries = { user = 5, resetting_code = 4, admin = 6 }",
    };
    format!(
        "[keys]\nsignature = {{ algorithm = \"ed25519\" }}\ndecryption = {{ algorithm = \"cv25519\", touch = \"on\" }}\n\
         authentication = {{ algorithm = \"p256\", touch = \"off\" }}\n\
         [pin]\nuser = \"random\"\nresetting_code = \"random\"\nkdf = true\n{tries}\n\
         [escrow]\nto = [\"security.asc\"]\n\
         [holder]\nname = \"Alice Example\"\nlogin = \"alice\"\nurl = \"https://example.org/alice.asc\"\nlanguage = \"en\"\n"
    )
}

/// The same, and its papers: certificate, revocation, attestations under the test roots, enrolment.
pub fn whole(personality: Personality) -> String {
    format!(
        "{}[certificate]\nexpires = \"2046-11-20T00:00:00Z\"\n[attestation]\nintermediates = [\"between.pem\"]\nroot = [\"roots.pem\"]\n",
        everything(personality)
    )
}

/// The roots of the test authority, and what stands below them.
fn anchors() -> [String; 2] {
    let authorities = [ChainShape::TwoBelowRoot, ChainShape::FourBelowRoot].map(Authority::new);
    let roots = authorities.iter().map(|authority| authority.root().pem()).collect();
    let between = authorities.iter().flat_map(Authority::intermediates).map(|it| it.pem()).collect();
    [roots, between]
}

/// A folder with a profile, the certificate that it escrows to, and a place for the token.
pub struct Desk {
    pub folder: TempDir,
    pub security: Cert,
    pub profile: Profile,
    pub person: Person,
}

impl Desk {
    pub fn new(profile: &str) -> Self {
        Self::with(profile, &security())
    }

    /// Making a certificate takes longer than everything else: tests that need many desks share one.
    pub fn with(profile: &str, security: &Cert) -> Self {
        // In memory where there is such a place: each run waits for the disk some fifty times.
        let memory = Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        std::fs::write(folder.path().join("security.asc"), security.armored().to_vec().unwrap()).unwrap();
        let [roots, between] = anchors();
        std::fs::write(folder.path().join("roots.pem"), roots).unwrap();
        std::fs::write(folder.path().join("between.pem"), between).unwrap();
        let profile = Profile::parse(profile, &folder.path().join("profile.toml")).unwrap();
        let user_id = profile.certificate.as_ref().is_some_and(|wish| wish.primary.is_none());
        let person = Person {
            name: profile.certificate.as_ref().map(|_| "alice".parse().unwrap()),
            user_id: user_id.then(|| "Alice <alice@example.org>".to_owned()),
            passphrase: None,
        };
        Self { folder, security: security.clone(), profile, person }
    }

    pub fn place(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    pub fn job(&self, card: &VirtualCard) -> Job {
        Job {
            ident: ident(card),
            profile: self.profile.clone(),
            directory: self.place(),
            admin_pin: None,
            user_pin: None,
            erase: None,
            person: self.person.clone(),
            intermediates: Vec::new(),
            progress: Arc::new(|_| {}),
        }
    }

    pub fn run(&self, card: &VirtualCard) -> Result<Done, ProvisionError> {
        run(card, &self.job(card))
    }

    pub fn survey(&self, card: &VirtualCard) -> Survey {
        provision::survey(
            &slot(card),
            &self.profile,
            &self.person,
            &self.place(),
            &Tape::default(),
            &patience(),
        )
        .unwrap()
    }
}

pub fn run(card: &VirtualCard, job: &Job) -> Result<Done, ProvisionError> {
    provision::provision(&slot(card), job, &mut Finger, &Tape::default(), &patience())
}

pub fn finish(done: Done) {
    done.finish(UnixTime::now()).unwrap();
}

pub fn security() -> Cert {
    CertBuilder::general_purpose(Some("Security <security@example.org>")).generate().unwrap().0
}

pub fn slot(card: &VirtualCard) -> Arc<dyn Slot> {
    Arc::new(InProcess::virtual_card(card))
}

pub fn ident(card: &VirtualCard) -> Ident {
    match card.personality() {
        Personality::Plain => format!("000f:{:08x}", card.serial()).parse().unwrap(),
        Personality::Yubikey(_) => card.serial().to_string().parse().unwrap(),
    }
}

/// Long enough that no test ends by it.
pub fn patience() -> Patience {
    Patience::lasting(Duration::from_secs(600))
}

pub fn pin(text: &str) -> Pin {
    Pin::new(text.as_bytes().to_vec().into()).unwrap()
}

/// Somebody who touches, as the card's finger does, and is never asked for a PIN.
pub struct Finger;

impl Attendant for Finger {
    fn pin(&mut self, _: &PinRequest<'_>) -> Result<Option<PinEntry>, CardError> {
        panic!("provisioning knows the PIN")
    }

    fn touch_needed(&mut self, _: &TokenInfo, _: TouchNeed) {}

    fn not_touched(&mut self, _: Duration) -> bool {
        false
    }
}

/// What was escrowed, by name, read with the key of whoever it was escrowed to.
pub fn escrowed(file: &Path, security: &Cert) -> Vec<(String, String)> {
    let text = escrowed_text(file, security);
    let value = |line: &str| {
        let (name, value) = line.split_once(" = ")?;
        Some((name.to_owned(), value.trim_matches('"').to_owned()))
    };
    text.lines().filter_map(value).collect()
}

/// The text of what was escrowed.
pub fn escrowed_text(file: &Path, security: &Cert) -> String {
    use std::io::Read;

    use sequoia_openpgp::crypto::SessionKey;
    use sequoia_openpgp::packet::{PKESK, SKESK};
    use sequoia_openpgp::parse::Parse;
    use sequoia_openpgp::parse::stream::{
        DecryptionHelper, DecryptorBuilder, MessageStructure, VerificationHelper,
    };
    use sequoia_openpgp::policy::StandardPolicy;
    use sequoia_openpgp::types::SymmetricAlgorithm;

    struct Helper(Cert);

    impl VerificationHelper for Helper {
        fn get_certs(&mut self, _: &[sequoia_openpgp::KeyHandle]) -> sequoia_openpgp::Result<Vec<Cert>> {
            Ok(Vec::new())
        }

        fn check(&mut self, _: MessageStructure<'_>) -> sequoia_openpgp::Result<()> {
            Ok(())
        }
    }

    impl DecryptionHelper for Helper {
        fn decrypt(
            &mut self,
            pkesks: &[PKESK],
            _: &[SKESK],
            cipher: Option<SymmetricAlgorithm>,
            decrypt: &mut dyn FnMut(Option<SymmetricAlgorithm>, &SessionKey) -> bool,
        ) -> sequoia_openpgp::Result<Option<Cert>> {
            for key in self.0.keys().unencrypted_secret() {
                let mut pair = key.key().clone().into_keypair()?;
                for pkesk in pkesks {
                    if pkesk.decrypt(&mut pair, cipher).is_some_and(|(cipher, key)| decrypt(cipher, &key)) {
                        return Ok(None);
                    }
                }
            }
            Ok(None)
        }
    }

    let policy = StandardPolicy::new();
    let mut text = String::new();
    DecryptorBuilder::from_file(file)
        .unwrap()
        .with_policy(&policy, None, Helper(security.clone()))
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    text
}

/// The PINs that a provisioned token should have: what was told and what was escrowed.
pub struct Secrets {
    pub user: String,
    pub admin: String,
    pub code: Option<String>,
}

impl Secrets {
    pub fn of(done: &Done, security: &Cert) -> Self {
        let mut known: Vec<(String, String)> =
            done.tell.iter().map(|told| (told.what.to_owned(), told.secret.to_string())).collect();
        if let Some(file) = &done.escrow {
            known.extend(
                escrowed(file, security)
                    .into_iter()
                    .map(|(name, value)| (name.replace('_', " ").replace("pin", "PIN"), value)),
            );
        }
        let get = |what: &str| known.iter().find(|(name, _)| name == what).map(|(_, value)| value.clone());
        Self { user: get("user PIN").unwrap(), admin: get("admin PIN").unwrap(), code: get("resetting code") }
    }

    /// The token takes these PINs, and not those of the factory.
    pub fn assert_work(&self, card: &VirtualCard) {
        let pins = provision::Pins {
            user: pin(&self.user),
            admin: Some(pin(&self.admin)),
            resetting_code: self.code.as_deref().map(pin),
        };
        provision::prove_pins(&slot(card), &pins, &Tape::default(), &patience()).unwrap();
    }
}
