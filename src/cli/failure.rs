//! Errors in words: the one place where facts from the library become messages, hints and exit codes.

use std::path::Path;

use crate::card::attestation::AttestationError;
use crate::card::certificate::CertificateError;
use crate::card::provision::ProvisionError;
use crate::card::{CardError, Holder, Ident};
use crate::challenge::TooLarge;
use crate::cli::report::{Failure, Verdict, exit};
use crate::enrolment::EnrolmentError;
use crate::sign::SignError;
use crate::statement::StatementError;
use crate::trust::NotAdmitted;
use crate::trust::quorum::NotMet;
use crate::verify::{CounterError, Rejection};

impl From<CardError> for Failure {
    fn from(error: CardError) -> Self {
        use CardError as E;
        let (code, exit, hint): (_, _, Option<String>) = match &error {
            E::Cancelled { waited } if waited.is_zero() => ("cancelled", exit::INTERRUPTED, Some("nothing was signed".into())),
            E::Cancelled { .. } => ("cancelled", exit::INTERRUPTED, Some("nothing was signed; if the token still blinks, do not touch it".into())),
            E::OutOfTime { .. } => ("out-of-time", exit::NOBODY, Some("ask again".into())),
            E::NotTouched { .. } => ("not-touched", exit::NOBODY, Some("run it again and touch the token while it blinks".into())),
            E::NoPcscd => ("no-pcscd", exit::CARD, Some("install and start it: `apt install pcscd`, then `systemctl start pcscd.socket`".into())),
            E::PcscdLost => ("pcscd-lost", exit::CARD, Some("start it again: `systemctl restart pcscd.socket`, then try again".into())),
            E::PcscdDenied => ("pcscd-denied", exit::CARD, Some("polkit decides who may use pcscd: put the rule of docs/contention.md into /etc/polkit-1/rules.d for this user, or start pcscd with --disable-polkit".into())),
            E::NoPcscSupport => ("no-pcsc-support", exit::CARD, Some("`make install` builds it with that".into())),
            E::Pcsc { .. } => ("pcsc", exit::CARD, Some("`touchgate doctor` names the first broken link".into())),
            E::Scdaemon { .. } => ("scdaemon", exit::CARD, Some("free the card with `gpgconf --kill gpg-agent`, then try again".into())),
            E::NoScdaemon { .. } => ("no-scdaemon", exit::CARD, Some("try `--card-path auto`".into())),
            E::NoReader => ("no-reader", exit::CARD, Some("plug the token in; `touchgate doctor` says what the system sees".into())),
            E::NoCard { .. } => ("no-card", exit::CARD, Some("put the card into the reader".into())),
            E::InUse { by, .. } => ("in-use", exit::CARD, Some(how_to_free(by))),
            E::NoApplication { .. } => ("no-application", exit::CARD, Some("on a YubiKey switch it on: `ykman config usb --enable OPENPGP`; if this is another kind of card, name the one to use with --card".into())),
            E::Unreadable { .. } => ("unreadable-card", exit::CARD, Some("pull the token and plug it in again".into())),
            E::Several { .. } => ("several-cards", exit::CARD, Some("say which: --card SERIAL".into())),
            E::NotFound { .. } => ("card-not-found", exit::CARD, Some("plug that token in, or name another with --card".into())),
            E::Removed => ("removed", exit::CARD, Some("nothing was signed; plug the token in and try again".into())),
            E::Changed { .. } => ("card-changed", exit::CARD, Some("leave the token in its place from the prompt to the touch".into())),
            E::WrongPin { tries_left } => ("wrong-pin", exit::CARD, wrong_pin(*tries_left)),
            E::PinBlocked => ("pin-blocked", exit::CARD, Some("set a new one with the resetting code or the admin PIN: `touchgate card pin unblock`".into())),
            E::PinTooShort { .. } => ("pin-too-short", exit::CARD, Some("it was not sent, so no try was lost".into())),
            E::PinTooLong { .. } => ("pin-too-long", exit::CARD, Some("it was not sent, so no try was lost".into())),
            E::NoPin { .. } => ("no-pin", exit::USAGE, Some("type it when you are asked at a terminal, or hand it over with --pin-fd N".into())),
            E::Kdf { .. } => ("kdf", exit::CARD, Some("no try was lost; plug the token in again, and if it stays so see `gpg --card-edit`, `kdf-setup`".into())),
            E::NoSignatureKey { .. } => ("no-signature-key", exit::CARD, Some("make one with `gpg --card-edit`: `admin`, `generate`".into())),
            E::UnsupportedAlgorithm { .. } => ("unsupported-algorithm", exit::FAILED, Some("Ed25519, NIST P-256/384/521 and RSA 2048/3072/4096 are supported".into())),
            E::FingerprintDiffers { .. } => ("fingerprint-differs", exit::FAILED, Some("something wrote another fingerprint or time to the card; make or import the key again with `gpg --card-edit`".into())),
            E::KeyMismatch { .. } => ("key-mismatch", exit::FAILED, Some("the certificate at hand is not this token's; export the right one, or use the right token with --card".into())),
            E::NotAttested { .. } => ("not-attested", exit::FAILED, Some("YubiKeys from firmware 5.2 on attest keys that were made on them; with another token, the roster's word is all there is (`touch = \"declared\"`)".into())),
            E::CertificateInTheWay { .. } => ("certificate-in-the-way", exit::FAILED, Some("keep a copy (`ykman openpgp certificates export`), then pass --overwrite".into())),
            E::Refused { sw: 0x6285, .. } => ("card-refused", exit::FAILED, Some("a reset of this token was cut off; `touchgate card reset` ends it".into())),
            E::Refused { .. } => ("card-refused", exit::FAILED, None),
            E::Malformed { .. } => ("malformed-answer", exit::FAILED, Some("pull the token and plug it in again; if it stays so, do not trust it".into())),
            E::Transport { .. } => ("transport", exit::CARD, Some("pull the token, plug it in and try again".into())),
            E::Fault => ("fault", exit::FAILED, Some("this is a bug in Touchgate; nothing was signed".into())),
        };
        let verdict = match exit {
            exit::INTERRUPTED => Verdict::Cancelled,
            exit::NOBODY => Verdict::Expired,
            _ => Verdict::Failed,
        };
        let failure = Self { verdict, hint, exit, ..Self::failed(code, error.to_string()) };
        match error {
            E::Several { list } => failure.with("cards", serials(&list)),
            E::NotFound { seen, .. } => failure.with("cards", serials(&seen)),
            _ => failure,
        }
    }
}

fn serials(cards: &[Ident]) -> Vec<String> {
    cards.iter().map(Ident::to_string).collect()
}

fn wrong_pin(tries_left: Option<u8>) -> Option<String> {
    Some(match tries_left {
        Some(0) => {
            "the PIN is blocked now; set a new one with the resetting code or the admin PIN: `touchgate card pin unblock`"
                .into()
        }
        Some(1) => "one more wrong PIN blocks the token".into(),
        _ => "this is the card's user PIN, not a passphrase and not the admin PIN".into(),
    })
}

/// The one command that frees the card, and what it costs.
fn how_to_free(holder: &Holder) -> String {
    match holder {
        Holder::Scdaemon(processes) => {
            let one = processes.first();
            let by = one.and_then(|process| process.other_user).map(|user| format!("sudo -u '#{user}' "));
            let home = one.and_then(|process| process.gnupg_home.as_ref());
            let home = home.map(|home| format!("--homedir {} ", quoted(home)));
            format!(
                "free it with `{}gpgconf {}--kill gpg-agent` (passphrases that gpg-agent remembers are asked for again){}",
                by.unwrap_or_default(),
                home.as_deref().unwrap_or_default(),
                // Through an agent that serves another home or person there is no way for us.
                if home.is_some() { "" } else { "; without --card-path direct commands go through it where they can" },
            )
        }
        Holder::Programs(processes) => match processes.as_slice() {
            [one] if one.name == YUBIKEY_AGENT => {
                format!("`kill -HUP {}` has it let go of the token (ssh asks for the PIN again)", one.pid)
            }
            [one] => format!("end that program, or if it hangs: `kill {}` (it loses what it has not saved)", one.pid),
            _ => "end those programs one by one: one of them holds it, the others only look".into(),
        },
        Holder::Unknown => "close the program that uses the token (a browser, ykman, another user's gpg), then try again; as root `touchgate doctor` can name it".into(),
    }
}

/// Lets go on SIGHUP, by its README ("Conflicts with gpg-agent and Yubikey Manager").
const YUBIKEY_AGENT: &str = "yubikey-agent";

/// A path for a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

impl From<ProvisionError> for Failure {
    fn from(error: ProvisionError) -> Self {
        use ProvisionError as E;
        let message = error.to_string();
        let (code, exit, hint): (_, _, Option<&str>) = match error {
            E::Card(error) => {
                let mut failure = Self::from(error);
                if failure.exit == exit::INTERRUPTED
                    || failure.code == "removed"
                    || failure.code == "transport"
                {
                    failure.hint = Some("run the same command again: it goes on from there".into());
                }
                return failure;
            }
            E::Profile(_) => (
                "bad-profile",
                exit::USAGE,
                Some("docs/provisioning.md has every line that a profile can hold"),
            ),
            E::Impossible { .. } => (
                "cannot-become",
                exit::FAILED,
                Some("nothing was changed; write a profile for this kind of token"),
            ),
            E::Erases { .. } => (
                "would-erase",
                exit::FAILED,
                Some("nothing was changed; if those keys may go, say --erase SERIAL with the token's number"),
            ),
            E::AdminPinNeeded { .. } => (
                "no-admin-pin",
                exit::USAGE,
                Some(
                    "type it when you are asked at a terminal, or hand it over with --admin-pin-fd N; it is in the token's escrow file",
                ),
            ),
            E::AdminPinUnknown { .. } => (
                "wrong-admin-pin",
                exit::CARD,
                Some("hand the right one over with --admin-pin-fd N; none that was wrong is tried again"),
            ),
            E::LastTry { .. } => (
                "last-try",
                exit::CARD,
                Some(
                    "hand the right one over with --admin-pin-fd N after somebody presented it elsewhere, or reset the token",
                ),
            ),
            E::AdminPinBlocked { .. } => (
                "admin-pin-blocked",
                exit::CARD,
                Some("the token works on, but its settings stay as they are until it is reset"),
            ),
            E::UserPinNeeded { .. } => (
                "no-pin",
                exit::USAGE,
                Some("type it when you are asked at a terminal, or hand it over with --pin-fd N"),
            ),
            E::BadPin { .. } => (
                "bad-pin",
                exit::USAGE,
                Some("choose another; six digits that are nobody's birthday will do"),
            ),
            E::Anchor { .. } => ("bad-certificates", exit::FAILED, Some("give certificates, in PEM or DER")),
            E::Primary { .. } => (
                "bad-primary-key",
                exit::FAILED,
                Some(
                    "it is what `gpg --export-secret-keys` writes, with the secret half of the primary key in it",
                ),
            ),
            E::Certificate(_) => ("no-certificate", exit::FAILED, Some("mend [certificate] in the profile")),
            E::Enrolment(_) => ("bad-enrolment", exit::FAILED, Some("do not hand this token out")),
            E::Import { .. } => ("bad-key-file", exit::FAILED, None),
            E::Escrow { .. } => (
                "no-escrow",
                exit::FAILED,
                Some(
                    "the token has learned nothing new; name certificates with an encryption key that is good now",
                ),
            ),
            E::File { .. } => (
                "write",
                exit::FAILED,
                Some("check the path and who may write there, then run the same command again"),
            ),
            E::Damaged { .. } => (
                "damaged",
                exit::FAILED,
                Some(
                    "it may hold the token's only PINs: keep it, and restore it from a copy if there is one",
                ),
            ),
            E::OtherToken { .. } => ("other-token", exit::FAILED, Some("name another place with --out")),
            E::Unsafe { .. } => {
                ("unsafe-permissions", exit::FAILED, Some("chmod go-w it, and see that it is yours"))
            }
            E::Locked { .. } => ("locked", exit::FAILED, Some("wait for the other run to end")),
            E::NotConverged { .. } => (
                "not-converged",
                exit::FAILED,
                Some("run the same command again; if it stays so, do not hand this token out"),
            ),
            E::Proof(_) => ("not-proved", exit::NO, Some("do not hand this token out")),
            _ => ("failed", exit::FAILED, None),
        };
        Self { hint: hint.map(str::to_owned), exit, ..Self::failed(code, message) }
    }
}

impl From<SignError> for Failure {
    fn from(error: SignError) -> Self {
        match error {
            SignError::Card(error) => error.into(),
            SignError::OpenPgp { message } => Self::failed("openpgp", message),
        }
    }
}

impl From<CertificateError> for Failure {
    fn from(error: CertificateError) -> Self {
        let message = error.to_string();
        match error {
            CertificateError::Sign(error) => error.into(),
            CertificateError::UserId => Self::usage(message),
            CertificateError::Lifetime { .. }
            | CertificateError::MadeBeforeKey { .. }
            | CertificateError::MadeBeforePrimary { .. } => Self::usage(message)
                .hint("keys have the time at which the token says they were made; choose a later one"),
        }
    }
}

impl From<EnrolmentError> for Failure {
    fn from(error: EnrolmentError) -> Self {
        match error {
            EnrolmentError::Signature(rejection) => rejected(&rejection, ""),
            error => Self::failed(error.code(), error.to_string()),
        }
    }
}

impl From<StatementError> for Failure {
    fn from(error: StatementError) -> Self {
        rejected(&Rejection::from(error), "")
    }
}

impl From<TooLarge> for Failure {
    fn from(error: TooLarge) -> Self {
        Self::failed("too-large", error.to_string()).hint("name large things by digest: --with NAME=sha256:…")
    }
}

impl From<NotAdmitted> for Failure {
    fn from(error: NotAdmitted) -> Self {
        rejected(&Rejection::from(error), "")
    }
}

impl From<NotMet> for Failure {
    fn from(error: NotMet) -> Self {
        let code = match error {
            NotMet::Debt { request, .. } => return NotAdmitted::Debt { request }.into(),
            NotMet::Expired { .. } => "expired",
            NotMet::Never { .. } | NotMet::Open { .. } => "quorum",
            NotMet::NotAdmitted(error) => return error.into(),
            NotMet::OtherTrust { .. } => "trust-version",
            NotMet::TrustExpired { .. } => "trust-expired",
        };
        Self::failed(code, error.to_string()).hint("ask again")
    }
}

/// A rejection, of `what`: the request's short code, or a file.
pub(super) fn rejected(rejection: &Rejection, what: &str) -> Failure {
    let message = if what.is_empty() { rejection.to_string() } else { format!("{what}: {rejection}") };
    let mut failure =
        Failure { verdict: Verdict::Rejected, exit: exit::NO, ..Failure::failed(rejection.code(), message) };
    match rejection {
        Rejection::Altered { asked, signed } => {
            failure = failure.fact("asked", asked.as_str()).fact("signed", signed.as_str());
        }
        Rejection::TrustVersion { signed, current } => {
            failure.message = format!("{what}: made under another version of trust than the one in force");
            failure = failure.fact("signed", signed.to_string()).fact("in force", current.to_string());
        }
        _ => {}
    }
    failure.hint = hint(rejection).map(str::to_owned);
    failure
}

fn hint(rejection: &Rejection) -> Option<&'static str> {
    use Rejection as R;
    Some(match rejection {
        R::Altered { .. } => "the approver's machine changed the request; do not retry there",
        R::BadSignature => {
            "the file was changed after signing, or another key made it; ask for a new approval"
        }
        R::CertificateExpired => "extend it with `gpg --quick-set-expire`, export it again and update trust",
        R::CertificateRevoked => "this key must not be used any more; enrol another token",
        R::Counter(CounterError::NotBelieved(AttestationError::UnknownIssuer)) => {
            "put Yubico's intermediates (developers.yubico.com/PKI) into ~/.config/touchgate/attestation.intermediates, or name them with --intermediates"
        }
        R::Counter(CounterError::WentBack { .. }) => {
            "hand in an attestation made now: `touchgate card attest`; if it is lower still, stop trusting the token"
        }
        R::Counter(CounterError::BeforeSignature { .. }) => {
            "attest after signing: `touchgate approve --with-counter`, or `touchgate card attest`"
        }
        R::Counter(_) => "give the counter that was made with this very approval",
        R::CreationTime { .. } => "set the clock of the machine that signed",
        R::Expired { .. } => "ask again",
        R::NotYetValid { .. } => "set this machine's clock",
        R::NotAdmitted(NotAdmitted::Debt { .. }) => {
            "ask two others to countersign it: `touchgate run touchgate.countersign RESOURCE --with action=… --with request=… -- true`"
        }
        R::NotAdmitted(NotAdmitted::NoDebt { .. }) => {
            "name the break-glass request and what it did: --with request=… --with action=…"
        }
        R::NotAdmitted(NotAdmitted::NoReason) => "say why with --reason",
        R::NotAdmitted(NotAdmitted::NoRule { .. }) => "add a rule to policy.toml, or check the spelling",
        R::NotAdmitted(NotAdmitted::NotPinned { .. }) => "give it by digest: --with NAME=sha256:…",
        R::NotAdmitted(NotAdmitted::UnknownRequester { .. }) => {
            "add this identity to that person's file under people/"
        }
        R::NotationMissing => {
            "sign with `touchgate approve`, or gpg with --sig-notation statement@touchgate.invalid=v1"
        }
        R::Replayed { .. } => "an answer counts once; nothing more is needed",
        R::Tier { .. } => {
            "put the attestation (`touchgate card attest`) beside the certificate in trust, or turn the touch policy on and say so in the roster, or lower the rule's tier"
        }
        R::TrustExpired { .. } => "renew valid_until in policy.toml and pin the new version",
        R::TrustVersion { .. } => "ask again under the version in force",
        R::UnknownSigner { .. } => "enrol that token, or sign with one that is enrolled",
        R::WrongAudience { .. } => "this approval is for another verifier",
        _ => return None,
    })
}
