//! The second act: two people, one of whom asks; a grant, evidence, and a log that somebody tampers with.

use std::num::NonZeroUsize;
use std::path::Path;

use rusqlite::Connection;
use virtual_openpgp_card::Finger;

use super::member::Member;
use super::{FINGER, IMPATIENCE, PATIENCE, Story, TRUSTED, indented, random, run};
use crate::audit::review::{self, Review};
use crate::audit::{LogSigner, SignedCheckpoint};
use crate::challenge::Challenge;
use crate::cli::failure;
use crate::cli::report::Failure;
use crate::evidence::{self, Evidence};
use crate::grant::{Algorithm, Grant, GrantRejection, GrantSigner};
use crate::store::sqlite::Sqlite;
use crate::trust::manifest::Manifest;
use crate::trust::{Files, Trust};
use crate::unix_time::UnixTime;
use crate::verifier::{Answered, Granted, Verifier};

const AUDIENCE: &str = "demo.example";
/// Bob's token.
const BOBS: u32 = 87_654_321;

/// The keys of the verifier on stage.
struct Keys {
    log: LogSigner,
    grant: GrantSigner,
    /// To open the store once more.
    log_secret: zeroize::Zeroizing<Vec<u8>>,
}

impl Story {
    /// Alice asks, Bob approves, and what remains of it is shown and tampered with.
    pub(super) fn two_people(&mut self) -> Result<(), Failure> {
        let window = if self.terminal.is_some() { PATIENCE } else { IMPATIENCE };
        let mut bob = Member::new("bob", "Bob <bob@example.org>", Some(BOBS), window)?;
        let keys = Keys::new()?;
        let files = self.team(&bob, &keys)?;
        let manifest = Manifest::new(files);
        let trust = Trust::from_manifest(&manifest).map_err(|error| failed(&error))?;
        let (pin, log_key) = (trust.version, keys.log.key().clone());
        let path = self.directory.join("store.db");
        let Keys { log, grant, log_secret } = keys;
        let store = Sqlite::open(&path, log).map_err(|error| failed(&error))?;
        let verifier =
            Verifier::new(&store, trust, manifest, grant, UnixTime::now()).map_err(|error| failed(&error))?;
        self.tell(
            "\nOne person can be fooled. The team's rule wants somebody of the group release who is not the one who asks:\n\n    \
             need = [{ from = \"release\" }]\n\nAlice asks, and tries her own token first:\n",
        );
        let request = self.request()?;
        let mut seed = random::<42>()?;
        let challenge = verifier
            .issue(&request, UnixTime::now(), || {
                // One of them is enough: nobody else opens requests here.
                std::mem::replace(&mut seed, [0; 42])
            })
            .map_err(|error| failed(&error))?;
        self.alice_is_turned_away(&verifier, &challenge)?;
        let granted = self.bob_approves(&verifier, &mut bob, &challenge)?;
        self.use_once(&verifier, &granted.grant)?;
        let file = self.show_evidence(&challenge, &granted, pin)?;
        let kept = granted.receipt.checkpoint().clone();
        drop(verifier);
        drop(store);
        self.tamper(&path, &log_key, &log_secret, &kept, &file)
    }

    fn team(&self, bob: &Member, keys: &Keys) -> Result<Files, Failure> {
        let grant = keys.grant.key();
        let policy = format!(
            "audience    = \"{AUDIENCE}\"\nversion     = 1\nvalid_until = \"{}\"\nlog_key     = \"{}\"\n\n\
             [[grant_key]]\nkid = \"{}\"\nalg = \"{}\"\nkey = \"{}\"\n\n\
             [[rule]]\naction   = \"deploy\"\nresource = \"payments/*\"\nneed     = [{{ from = \"release\" }}]\ntier     = \"declared\"\n\n\
             [[rule]]\naction   = \"touchgate.trust.update\"\nneed     = [{{ from = \"admins\" }}]\ntier     = \"declared\"\n",
            UnixTime::now().plus(TRUSTED),
            keys.log.key(),
            grant.kid(),
            grant.algorithm().name(),
            grant.to_base64(),
        );
        let mut files = Files::from([("policy.toml".to_owned(), policy.into_bytes())]);
        files.extend(self.alice.files(&["release", "admins"])?);
        files.extend(bob.files(&["release"])?);
        Ok(files)
    }

    fn alice_is_turned_away(
        &mut self,
        verifier: &Verifier<'_>,
        challenge: &Challenge,
    ) -> Result<(), Failure> {
        let finger = if self.terminal.is_some() { Finger::Ask } else { Finger::Now };
        self.alice.card.set_finger(finger);
        let response = self.alice.sign(challenge, self.terminal.as_ref(), self.quiet, &self.cancel)?;
        match verifier.answer(&response, None, None, UnixTime::now()).map_err(|error| failed(&error))? {
            Answered::Rejected(rejection) if rejection.code() == "not-allowed" => {
                self.tell(&indented(&failure::rejected(&rejection, "").text()));
                Ok(())
            }
            other => Err(unexpected("the requester approved their own request", &other)),
        }
    }

    fn bob_approves(
        &mut self,
        verifier: &Verifier<'_>,
        bob: &mut Member,
        challenge: &Challenge,
    ) -> Result<Granted, Failure> {
        self.tell("\nBob reads the same text, and touches his:\n");
        bob.card.set_finger(if self.terminal.is_some() { Finger::Ask } else { Finger::After(FINGER) });
        let response = bob.sign(challenge, self.terminal.as_ref(), self.quiet, &self.cancel)?;
        let code = challenge.id.short_code();
        self.keep(&format!("{code}.bob.approval"), &response.to_file())?;
        match verifier.answer(&response, None, None, UnixTime::now()).map_err(|error| failed(&error))? {
            Answered::Approved(approved) => {
                let granted = verifier.open(*approved, UnixTime::now()).map_err(|error| failed(&error))?;
                self.tell(&format!(
                    "approved: {code}, by bob; entry {} of the log has it, and only then the grant was signed",
                    granted.receipt.index()
                ));
                Ok(granted)
            }
            other => Err(unexpected("bob's approval did not suffice", &other)),
        }
    }

    fn use_once(&self, verifier: &Verifier<'_>, grant: &Grant) -> Result<(), Failure> {
        verifier.use_grant(grant, UnixTime::now()).map_err(|error| failed(&error))?;
        self.tell("\nThe command runs:\n");
        self.tell(&format!("    {}", run(&self.deploy, &self.place)?));
        self.tell("\n- Once more with the same grant:");
        match verifier.use_grant(grant, UnixTime::now()) {
            Err(error @ GrantRejection::Spent { .. }) => {
                self.tell(&format!("    error: {error}"));
                Ok(())
            }
            other => Err(Failure::failed("demo", format!("a grant for one use was used twice: {other:?}"))),
        }
    }

    /// Evidence, judged by the pin alone.
    fn show_evidence(
        &self,
        challenge: &Challenge,
        granted: &Granted,
        pin: crate::challenge::TrustVersion,
    ) -> Result<String, Failure> {
        let name = format!("{}.evidence.json", challenge.id.short_code());
        let json = granted.evidence.to_json();
        self.keep(&name, json.as_bytes())?;
        let evidence = Evidence::parse(json.as_bytes()).map_err(|error| failed(&error))?;
        let verdict = evidence::judge(&evidence, &evidence::Against::pin(pin), UnixTime::now())
            .map_err(|error| failed(&error))?;
        let checked: Vec<&str> = verdict.checked.iter().map(|checked| checked.code()).collect();
        self.tell(&format!(
            "\nAn auditor has the digest of the trust, and this file of {} bytes. It shows:\n\n    {}",
            json.len(),
            checked.join(", ")
        ));
        Ok(name)
    }

    /// Somebody with the disk in their hands makes the log say that alice approved.
    fn tamper(
        &self,
        path: &Path,
        key: &crate::audit::LogKey,
        secret: &[u8],
        kept: &SignedCheckpoint,
        evidence: &str,
    ) -> Result<(), Failure> {
        let review = |store: &Sqlite| -> Result<Review, Failure> {
            let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
            let against =
                review::Against { kept: std::slice::from_ref(kept), ..review::Against::key(key, threads) };
            review::review(store, &against, |_, _| {}).map_err(|error| failed(&error))
        };
        let open = || {
            let signer = LogSigner::from_pkcs8(AUDIENCE, secret).map_err(|error| failed(&error))?;
            Sqlite::open(path, signer).map_err(|error| failed(&error))
        };
        let before = review(&open()?)?;
        if let Some(finding) = before.findings.first() {
            return Err(Failure::failed("demo", format!("the log does not verify: {finding}")));
        }
        self.tell(&format!(
            "\nThe log has {} entries; every hash, signature and decision in it verifies again.\n\n\
             - Somebody with the disk in their hands writes alice where it says bob:",
            before.entries
        ));
        let db = Connection::open(path).map_err(|error| failed(&error))?;
        let changed = db
            .execute("UPDATE log SET line = replace(line, '\"person\":\"bob\"', '\"person\":\"alice\"')", [])
            .map_err(|error| failed(&error))?;
        drop(db);
        let said = match open().and_then(|store| review(&store)) {
            Ok(after) => after.findings.first().map(ToString::to_string),
            Err(failure) => Some(failure.message.clone()),
        };
        match said {
            Some(said) if changed > 0 => {
                self.tell(&format!("    error: {said}"));
                self.tell(&format!(
                    "\n  The evidence in {evidence} is as good as before: it carries its own proof."
                ));
                Ok(())
            }
            _ => Err(Failure::failed("demo", "a log that was tampered with verified")),
        }
    }
}

impl Keys {
    fn new() -> Result<Self, Failure> {
        let (log, log_secret) = LogSigner::generate(AUDIENCE).map_err(|error| failed(&error))?;
        let secret = GrantSigner::generate(Algorithm::Es256).map_err(|error| failed(&error))?;
        let grant = GrantSigner::from_pkcs8("1", &secret).map_err(|error| failed(&error))?;
        Ok(Self { log, grant, log_secret })
    }
}

fn failed(error: &dyn ToString) -> Failure {
    Failure::failed("demo", error.to_string())
}

fn unexpected(what: &str, found: &Answered) -> Failure {
    Failure::failed("demo", format!("{what}: {found:?}"))
}
