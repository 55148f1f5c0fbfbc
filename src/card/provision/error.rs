//! Why a token was not provisioned.

use std::io;
use std::path::PathBuf;

use super::algorithm::KeySlot;
use super::profile::ProfileError;
use crate::card::certificate::CertificateError;
use crate::card::error::CardError;
use crate::card::ident::Ident;
use crate::enrolment::EnrolmentError;
use crate::sign::SignError;

/// Why a run ended. Whatever it was, another run goes on from there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProvisionError {
    /// The card or the way to it.
    #[error(transparent)]
    Card(#[from] CardError),
    /// The profile cannot be used.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The token cannot become what the profile says. Nothing was changed.
    #[error("token {ident} cannot become what the profile says: {}", problems.join("; "))]
    Impossible {
        /// The token.
        ident: Ident,
        /// Each reason.
        problems: Vec<String>,
    },
    /// Keys would be erased and nobody typed the serial back. Nothing was changed.
    #[error("the {} of token {ident} would be erased", keys(slots))]
    Erases {
        /// The token.
        ident: Ident,
        /// Whose keys.
        slots: Vec<KeySlot>,
    },
    /// The admin PIN is needed and nobody gave it. Nothing was changed.
    #[error("the admin PIN of token {ident} is needed")]
    AdminPinNeeded {
        /// The token.
        ident: Ident,
    },
    /// None of the admin PINs that the token could have is the right one.
    #[error("the admin PIN of token {ident} is none that is known here, {left} tries left")]
    AdminPinUnknown {
        /// The token.
        ident: Ident,
        /// Tries left for it.
        left: u8,
    },
    /// One try is left for the admin PIN, and nothing proves which one it is. It was left alone.
    #[error("one try is left for the admin PIN of token {ident}, and nothing proves which one it is")]
    LastTry {
        /// The token.
        ident: Ident,
    },
    /// The admin PIN has no tries left.
    #[error("the admin PIN of token {ident} is blocked")]
    AdminPinBlocked {
        /// The token.
        ident: Ident,
    },
    /// The user PIN is needed, a new one or the present one, and nobody gave it.
    #[error("{} user PIN of token {ident} is needed", if *new { "a new" } else { "the present" })]
    UserPinNeeded {
        /// The token.
        ident: Ident,
        /// Whether it is to be set.
        new: bool,
    },
    /// A PIN that must not be.
    #[error("this user PIN is refused: {why}")]
    BadPin {
        /// Why.
        why: String,
    },
    /// A key file cannot be used.
    #[error("{}: {why}", file.display())]
    Import {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// A certificate beside attestations cannot be used.
    #[error("{}: {why}", file.display())]
    Anchor {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// The primary key that is kept elsewhere cannot be used.
    #[error("{}: {why}", file.display())]
    Primary {
        /// Its file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// The certificate cannot be made.
    #[error(transparent)]
    Certificate(CertificateError),
    /// The token's enrolment would not pass.
    #[error("the enrolment would not pass: {0}")]
    Enrolment(#[from] EnrolmentError),
    /// Something could not be signed, and not for a reason of the card's.
    #[error(transparent)]
    Sign(SignError),
    /// Secrets could not be encrypted. The card has learned nothing.
    #[error("{}secrets cannot be escrowed: {why}", file.as_ref().map(|file| format!("{}: ", file.display())).unwrap_or_default())]
    Escrow {
        /// The certificate's file.
        file: Option<PathBuf>,
        /// Why.
        why: String,
    },
    /// A file could not be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file of an earlier run is not what such a file looks like.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
    },
    /// A directory holds what belongs to another token.
    #[error("{} belongs to token {theirs}, not to {ours}", path.display())]
    OtherToken {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        theirs: String,
        /// Whose it should be.
        ours: String,
    },
    /// Others may write into the directory.
    #[error("{} can be changed by other users", path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
    },
    /// Another run has the directory.
    #[error("{} is in use by another run", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The system has no random bytes.
    #[error("no random bytes: {why}")]
    NoRandomness {
        /// The system's words.
        why: String,
    },
    /// Everything was sent and the token is still not as the profile says.
    #[error("the token took every change and is still not as the profile says: {}", left.join("; "))]
    NotConverged {
        /// What would still be done.
        left: Vec<String>,
    },
    /// The token did not prove what was set.
    #[error("the token failed its proof: {0}")]
    Proof(#[from] ProofError),
}

impl From<SignError> for ProvisionError {
    fn from(error: SignError) -> Self {
        match error {
            SignError::Card(error) => Self::Card(error),
            other => Self::Sign(other),
        }
    }
}

impl From<CertificateError> for ProvisionError {
    fn from(error: CertificateError) -> Self {
        match error {
            CertificateError::Sign(error) => error.into(),
            other => Self::Certificate(other),
        }
    }
}

/// What a token did in its proof that it must not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The PIN of the factory opens it.
    #[error("the {whose} PIN of the factory still opens it")]
    FactoryPinAccepted {
        /// `user` or `admin`.
        whose: &'static str,
    },
    /// The new PIN does not open it.
    #[error("the new {whose} PIN does not open it")]
    NewPinRefused {
        /// `user` or `admin`.
        whose: &'static str,
    },
    /// Too few tries are left to spend one on the proof.
    #[error("{left} tries are left for the {whose} PIN, three are needed to prove that the old one fails")]
    TooFewTries {
        /// `user` or `admin`.
        whose: &'static str,
        /// Tries left.
        left: u8,
    },
    /// The resetting code does nothing.
    #[error("the new resetting code does not work: status {sw:04x}")]
    ResettingCodeRefused {
        /// SW1-SW2.
        sw: u16,
    },
    /// The attestation is not true of the key, or is not to be believed.
    #[error("the attestation of its {slot} key is not good: {why}")]
    Attestation {
        /// The slot.
        slot: KeySlot,
        /// Why.
        why: String,
    },
    /// No attestation came.
    #[error("the token gave no attestation of its {slot} key")]
    NoAttestation {
        /// The slot.
        slot: KeySlot,
    },
}

fn keys(slots: &[KeySlot]) -> String {
    let names: Vec<&str> = slots.iter().map(|slot| slot.word()).collect();
    format!("{} {}", names.join(" and "), if slots.len() == 1 { "key" } else { "keys" })
}
