//! gpg makes what we take, and gpg, gpgv and sqv take what we make.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sequoia_openpgp as openpgp;

use openpgp::Packet;
use openpgp::packet::signature::SignatureBuilder;
use openpgp::packet::signature::subpacket::NotationDataFlags;
use openpgp::serialize::MarshalInto as _;
use openpgp::types::{HashAlgorithm, SignatureType};
use touchgate::response::{Response, armored};
use touchgate::statement::Statement;
use touchgate::trust::roster::read_certificate;
use touchgate::unix_time::UnixTime;
use touchgate::verify::{NOTATION_NAME, NOTATION_VALUE, OpenRequests, Verified, alone, response};

use crate::case::{cases, fixtures};
use crate::{people, response_of, team};

/// Ed25519, P-256, P-384, P-521, RSA of three sizes, and a subkey; alice may not approve, bob's key is as hers.
const SIGNERS: [&str; 8] = ["bob", "carol", "dave", "erin", "frank", "grace", "heidi", "uma"];

fn statement() -> Vec<u8> {
    let case = cases("signature").into_iter().find(|case| case.name == "good-ed25519").unwrap();
    response_of(&case).unwrap().statement
}

fn run(command: &mut Command) -> Output {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.env("LC_ALL", "C").output();
    output.unwrap_or_else(|error| {
        panic!("{name}: {error}; these tests need: apt-get install -y --no-install-recommends gnupg gpgv sqv")
    })
}

fn succeed(command: &mut Command) -> String {
    let output = run(command);
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

/// A GnuPG home of its own; its agent ends with it.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        // Short, for the agent's socket lies in it.
        let directory = tempfile::Builder::new().prefix("tg-verify-").tempdir_in("/tmp").unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Self(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn gpg(&self) -> Command {
        let mut gpg = Command::new("gpg");
        gpg.args(["--batch", "--no-tty", "--quiet", "--homedir"]).arg(self.0.path());
        gpg
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Ends the one agent whose socket lies in this home.
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.0.path()).args(["--kill", "all"]).output();
    }
}

#[test]
fn what_stock_gpg_signs_is_taken() {
    let home = Home::new();
    let file = home.write("statement", &statement());
    for name in SIGNERS {
        let key = fixtures("signature/keys").join(format!("{name}.asc"));
        succeed(home.gpg().arg("--import").arg(key));
        for armor in [false, true] {
            let signature = home.path(&format!("{name}-{armor}.sig"));
            let mut gpg = home.gpg();
            gpg.args(["--faked-system-time", "20261120T041130!", "--ignore-time-conflict"]);
            gpg.args(["--pinentry-mode", "loopback", "--passphrase", ""]);
            gpg.args(["--sig-notation", "statement@touchgate.invalid=v1"]);
            gpg.args(["-u", &format!("{name}@touchgate.invalid")]);
            if armor {
                gpg.arg("--armor");
            }
            succeed(gpg.arg("--output").arg(&signature).arg("--detach-sign").arg(&file));
            let answer = Response { statement: statement(), signature: fs::read(signature).unwrap() };
            let mut ledger = OpenRequests::default();
            ledger.open(Statement::parse(&answer.statement).unwrap().challenge);
            let now: UnixTime = "2026-11-20T04:12:00Z".parse().unwrap();
            match response(&answer, team(), &mut ledger, now) {
                Ok(Verified::Approved(approval)) => assert_eq!(approval.answer().person(), name),
                other => panic!("{name}, armor {armor}: {other:?}"),
            }
        }
    }
}

#[test]
fn what_gpg_signs_without_the_notation_is_not_taken() {
    let home = Home::new();
    let file = home.write("statement", &statement());
    succeed(home.gpg().arg("--import").arg(fixtures("signature/keys/bob.asc")));
    for (notation, code) in [
        (None, "notation-missing"),
        (Some("statement@touchgate.invalid=v2"), "notation-missing"),
        (Some("!statement@touchgate.invalid=v1"), "notation-missing"),
        (Some("!other@example.org=x"), "critical-subpacket"),
    ] {
        let signature = home.path("signature");
        let mut gpg = home.gpg();
        gpg.args(["--yes", "--faked-system-time", "20261120T041130!", "--pinentry-mode", "loopback"]);
        gpg.args(["--passphrase", ""]);
        if let Some(notation) = notation {
            gpg.args(["--sig-notation", notation]);
        }
        succeed(gpg.arg("--output").arg(&signature).arg("--detach-sign").arg(&file));
        let answer = Response { statement: statement(), signature: fs::read(signature).unwrap() };
        let now: UnixTime = "2026-11-20T04:12:00Z".parse().unwrap();
        let rejection = alone(&answer, team(), now).unwrap_err();
        assert_eq!(rejection.code(), code, "{notation:?}");
    }
}

/// A signature as our own client has sequoia make it: the same subpackets, and sequoia's salt.
fn signed_by_sequoia(name: &str, statement: &[u8]) -> Vec<u8> {
    let mut key = people::signer(name);
    let created: UnixTime = "2026-11-20T04:11:30Z".parse().unwrap();
    let signature = SignatureBuilder::new(SignatureType::Binary)
        .set_hash_algo(HashAlgorithm::SHA512)
        .set_signature_creation_time(created)
        .unwrap()
        .set_issuer_fingerprint(key.public().fingerprint())
        .unwrap()
        .add_notation(NOTATION_NAME, NOTATION_VALUE, NotationDataFlags::empty().set_human_readable(), false)
        .unwrap()
        .sign_message(&mut key, statement)
        .unwrap();
    Packet::from(signature).to_vec().unwrap()
}

/// The certificate of `name`, binary.
fn certificate(name: &str) -> Vec<u8> {
    let key = fs::read(fixtures("signature/keys").join(format!("{name}.asc"))).unwrap();
    read_certificate(&key).unwrap().to_vec().unwrap()
}

#[test]
fn what_we_make_is_taken_by_gpg_gpgv_and_sqv() {
    let home = Home::new();
    let file = home.write("statement", &statement());
    for name in SIGNERS {
        let packet = signed_by_sequoia(name, &statement());
        let answer = Response { statement: statement(), signature: packet.clone() };
        let now: UnixTime = "2026-11-20T04:12:00Z".parse().unwrap();
        assert!(alone(&answer, team(), now).is_ok(), "{name}");
        let keyring = home.write(&format!("{name}.pgp"), &certificate(name));
        succeed(home.gpg().arg("--import").arg(&keyring));
        for (form, bytes) in [("binary", packet.clone()), ("armored", armored(&packet).into_bytes())] {
            let signature = home.write(&format!("{name}.{form}"), &bytes);
            let status = succeed(
                home.gpg()
                    .args(["--status-fd", "1", "--trust-model", "always"])
                    .arg("--verify")
                    .args([&signature, &file]),
            );
            assert!(status.contains("[GNUPG:] GOODSIG") && status.contains("[GNUPG:] VALIDSIG"), "{status}");
            assert!(status.contains("[GNUPG:] NOTATION_NAME statement@touchgate.invalid"), "{status}");
            let gpgv = |file: &Path| {
                run(Command::new("gpgv").arg("--keyring").arg(&keyring).args([&signature, file]))
            };
            let sqv = |file: &Path| {
                run(Command::new("sqv").arg("--keyring").arg(&keyring).args([&signature, file]))
            };
            for (tool, output) in [("gpgv", gpgv(&file)), ("sqv", sqv(&file))] {
                let text = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{tool}, {name}, {form}: {text}");
            }
            // And they check something: the refusal has another signature.
            let refused = home.write("other", &other_decision());
            for (tool, output) in [("gpgv", gpgv(&refused)), ("sqv", sqv(&refused))] {
                assert!(!output.status.success(), "{tool} takes anything");
            }
        }
    }
}

fn other_decision() -> Vec<u8> {
    String::from_utf8(statement()).unwrap().replace("v1 approve", "v1 refuse").into_bytes()
}

/// Every good case, made byte by byte, is good to gpgv as well, where its key and hash allow.
#[test]
fn the_good_cases_are_good_to_gpgv() {
    let home = Home::new();
    let mut checked = 0;
    for case in cases("signature") {
        let expected = case.header("expect");
        let Some((_, person)) = expected.split_once(' ').filter(|_| expected.starts_with("approved ")) else {
            continue;
        };
        let (name, _) = person.split_once(' ').unwrap();
        // GnuPG 2.2 has no algorithm 27, reads past armor that
        // has neither padding nor CRC, and judges expiry by today's clock.
        let beyond_gpgv = [
            "good-armor-no-crc",
            "good-own-expiry-open",
            "good-own-expiry-critical",
            "good-certificate-expired-later",
        ];
        let skipped = name == "tina" || beyond_gpgv.contains(&&case.name[..]);
        if skipped || !case.name.starts_with("good-") {
            continue;
        }
        let answer = response_of(&case).unwrap();
        let keyring = home.write(&format!("{name}.pgp"), &certificate(name));
        let file = home.write("statement", &answer.statement);
        let signature = home.write("signature", &answer.signature);
        let output = run(Command::new("gpgv").arg("--keyring").arg(&keyring).args([&signature, &file]));
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {text}", case.name);
        checked += 1;
    }
    assert!(checked >= 20, "{checked} cases only");
}
