//! Every way in which talking to a card can end without a signature, each its own fact.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::ident::Ident;
use super::key_slot::KeySlot;

/// Why there is no signature. A variant is a fact; what to do about it is the caller's to say.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// The caller's cancel flag was raised. The card is freed when its last exchange ends.
    #[error("cancelled{}", if waited.is_zero() { String::new() } else { format!(" after {} s", waited.as_secs()) })]
    Cancelled {
        /// How long the card had been waited for; zero if it was not asked for anything.
        waited: Duration,
    },
    /// The time that the caller allowed ran out.
    #[error("out of time after {} s, {doing}", waited.as_secs())]
    OutOfTime {
        /// How long this step had lasted.
        waited: Duration,
        /// What was under way.
        doing: Doing,
    },

    // The way to the card.
    /// No PC/SC service answers.
    #[error("the smart card service pcscd is not running")]
    NoPcscd,
    /// The PC/SC service went away in mid-work.
    #[error("the smart card service pcscd stopped while the card was in use")]
    PcscdLost,
    /// The PC/SC service answers and will not serve this user.
    #[error("the smart card service pcscd denies this user access")]
    PcscdDenied,
    /// This program was built without PC/SC support.
    #[error("built without PC/SC support")]
    NoPcscSupport,
    /// The PC/SC service gave an error that has no variant of its own.
    #[error("PC/SC: {message}")]
    Pcsc {
        /// The service's own words.
        message: String,
    },
    /// gpg's agent or its scdaemon did not do what it was asked.
    #[error("scdaemon: {message}")]
    Scdaemon {
        /// What went wrong, in its words where it gave any.
        message: String,
    },
    /// There is no running scdaemon to go through.
    #[error("no running scdaemon to go through: {why}")]
    NoScdaemon {
        /// What was looked for and not found.
        why: String,
    },
    /// No reader is connected.
    #[error("no card reader is connected")]
    NoReader,
    /// Readers are there, cards are not.
    #[error("no card in {}", list(readers))]
    NoCard {
        /// The readers that were looked into.
        readers: Vec<String>,
    },
    /// Somebody else holds the card, and it cannot be shared.
    #[error("the card in {reader} is in use by {by}")]
    InUse {
        /// The reader's name.
        reader: String,
        /// Who holds it, as far as the system tells.
        by: Holder,
    },
    /// A card answers, and has no OpenPGP application or has it switched off.
    #[error("the card in {reader} has no OpenPGP application")]
    NoApplication {
        /// The reader's name.
        reader: String,
    },
    /// A card is there and could not be read.
    #[error("the card in {reader} could not be read: {why}")]
    Unreadable {
        /// The reader's name.
        reader: String,
        /// What stood in the way.
        why: String,
    },

    // Which card.
    /// More than one card, and none was named.
    #[error("{} cards are connected: {}", list.len(), list.iter().map(Ident::to_string).collect::<Vec<_>>().join(", "))]
    Several {
        /// The cards to choose from.
        list: Vec<Ident>,
    },
    /// The card that was named is not among those connected.
    #[error("card {wanted} is not connected, only {}", if seen.is_empty() { "none".to_owned() } else { seen.iter().map(Ident::to_string).collect::<Vec<_>>().join(", ") })]
    NotFound {
        /// The card that was named.
        wanted: Ident,
        /// The cards that are there.
        seen: Vec<Ident>,
    },
    /// The card was pulled, or the reader with it.
    #[error("the card was removed")]
    Removed,
    /// Between showing the prompt and signing, the card was pulled and put back, or another put in.
    #[error("the card is not the one that was looked at before: {before} then, {now} now")]
    Changed {
        /// What was there when the prompt was shown.
        before: String,
        /// What is there now.
        now: String,
    },

    // The PIN.
    /// The PIN was wrong.
    #[error("wrong PIN{}", match tries_left { Some(1) => ", 1 try left".to_owned(), Some(n) => format!(", {n} tries left"), None => String::new() })]
    WrongPin {
        /// Tries left before the PIN is blocked; `None` if the card could not be asked any more.
        tries_left: Option<u8>,
    },
    /// No tries are left.
    #[error("the PIN is blocked")]
    PinBlocked,
    /// Shorter than any card accepts. It was not sent.
    #[error("the PIN has {length} bytes, {min} are the least")]
    PinTooShort {
        /// Bytes given.
        length: usize,
        /// The least number of bytes.
        min: usize,
    },
    /// Longer than this card accepts. It was not sent.
    #[error("the PIN has {length} bytes, {max} are the most")]
    PinTooLong {
        /// Bytes given.
        length: usize,
        /// The card's limit in bytes.
        max: usize,
    },
    /// No PIN could be had.
    #[error("no PIN: {why}")]
    NoPin {
        /// Why there is none.
        why: String,
    },
    /// The card's PIN derivation (KDF object) could not be read or is of an unknown kind. No try was spent.
    #[error("the card's PIN derivation is unusable: {why}")]
    Kdf {
        /// What is wrong with it.
        why: String,
    },

    // The touch.
    /// The card asked for a touch and none came.
    #[error("the token was not touched within {} s", waited.as_secs())]
    NotTouched {
        /// How long the card waited, measured here.
        waited: Duration,
    },

    // The key.
    /// The signature slot is empty.
    #[error("card {ident} has no signature key")]
    NoSignatureKey {
        /// The card.
        ident: Ident,
    },
    /// The key's algorithm is none that we sign with.
    #[error("the card's signature key uses {algorithm}, which is not supported")]
    UnsupportedAlgorithm {
        /// The algorithm, in the card's or certificate's words.
        algorithm: String,
    },
    /// The signature that the card made is not one by the key it was asked for.
    #[error("the card's signature does not verify with key {expected}: it holds {on_card}")]
    KeyMismatch {
        /// Fingerprint of the key that the certificate names.
        expected: String,
        /// Fingerprint that the card claims for its signature key.
        on_card: String,
    },
    /// The fingerprint that the card records is none that this key, made when the card says, can have.
    #[error("the card's {slot} key is not the one that it records: {own}, not {recorded}")]
    FingerprintDiffers {
        /// The slot.
        slot: KeySlot,
        /// What the card records (DO C5).
        recorded: String,
        /// What the key has, in its usual form, with the recorded time (DO CD).
        own: String,
    },

    /// The card does not attest this key.
    #[error("card {ident} does not attest its {slot} key: {why}")]
    NotAttested {
        /// The card.
        ident: Ident,
        /// Which key.
        slot: KeySlot,
        /// What stands in the way.
        why: &'static str,
    },
    /// Attesting would overwrite something else than an earlier attestation.
    #[error(
        "card {ident} keeps a certificate of {length} bytes for its {slot} key, which attesting overwrites"
    )]
    CertificateInTheWay {
        /// The card.
        ident: Ident,
        /// Which key.
        slot: KeySlot,
        /// How large it is.
        length: usize,
    },

    // The card misbehaves.
    /// The card answered with a status word that has no meaning here.
    #[error("the card refused {command}: status {sw:04x}")]
    Refused {
        /// The command, by its name in the specification.
        command: &'static str,
        /// The status bytes SW1-SW2; 0 if they are not known.
        sw: u16,
    },
    /// The card's answer is not what the specification demands.
    #[error("the card's answer to {command} is malformed: {why}")]
    Malformed {
        /// The command, by its name in the specification.
        command: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The exchange with the card failed and the card is still there.
    #[error("the exchange with the card failed: {message}")]
    Transport {
        /// The words of the layer below.
        message: String,
    },
    /// The code that talks to the card panicked. The card is freed; nothing was signed.
    #[error("a fault in the card code ended the exchange")]
    Fault,
}

/// What was under way when the time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Waiting for the card: somebody else may be using it.
    Connecting,
    /// Waiting for the touch.
    Touch,
    /// Waiting for the PIN at the reader's own keys.
    Pinpad,
    /// Waiting for the card's answer.
    Signing,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "waiting for the card to be free",
            Self::Touch => "waiting for the touch",
            Self::Pinpad => "waiting for the PIN at the reader",
            Self::Signing => "waiting for the card's answer",
        })
    }
}

/// Who holds a card that we cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// gpg's scdaemon, which keeps a card until it ends.
    Scdaemon(Vec<Process>),
    /// Programs with an open connection to the card service. One of them holds the card.
    Programs(Vec<Process>),
    /// The system does not say.
    Unknown,
}

/// A process, as the system names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// The program's name as the kernel keeps it, 15 bytes at most.
    pub name: String,
    /// The number of the user it belongs to, unless that is us.
    pub other_user: Option<u32>,
    /// The GnuPG home that it serves, of scdaemon, unless gpg would take that one by itself here.
    pub gnupg_home: Option<PathBuf>,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Scdaemon(processes) | Self::Programs(processes)) = self else {
            return f.write_str("another program");
        };
        match processes.as_slice() {
            [] => f.write_str("scdaemon"),
            [one] => write!(f, "{one}"),
            many => {
                write!(f, "one of {}", many.iter().map(Process::to_string).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "any reader".to_owned() } else { names.join(", ") }
}
