//! The counter beside an approval: where it lies, how it is made, what it says in words.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::card::attestation::{MAX_FILE, Root};
use crate::card::{Attestable, KeptPin, KeySlot, Patience, Token};
use crate::cli::authorities::{self, Authorities};
use crate::cli::report::{Failure, printable};
use crate::cli::work::{self, Desk};
use crate::cli::{place, read_input};
use crate::unix_time::UnixTime;
use crate::verify::{Advance, Counted, Presented, Rejection};

/// The place of the counter of an answer that is named without its ending: `HJ5C9.counter.pem`.
pub(super) fn beside(name: &Path) -> PathBuf {
    let mut counter = name.as_os_str().to_owned();
    counter.push(".counter.pem");
    counter.into()
}

/// An attestation that the token will make once it has signed.
pub(super) struct Planned {
    attestable: Attestable,
    authorities: Authorities,
}

impl Planned {
    /// Finds out before anybody is asked whether it can be made.
    ///
    /// # Errors
    /// As [`Token::attestable`]; whatever lies among the intermediates and is none.
    pub(super) fn new(token: &Token, authorities: Authorities, patience: &Patience) -> Result<Self, Failure> {
        // Nothing but an earlier attestation is overwritten: that would be asked for with `card attest --overwrite`.
        let attestable = token.attestable(KeySlot::Signature, false, patience)?;
        Ok(Self { attestable, authorities })
    }

    /// Makes it, with the PIN that was kept.
    ///
    /// # Errors
    /// Every outcome of the card.
    pub(super) fn make(
        self,
        desk: &mut Desk,
        token: &mut Token,
        kept: &mut KeptPin,
        patience: &Patience,
    ) -> Result<Made, Failure> {
        let made = work::attest_now(desk, token, self.attestable, kept, patience)?;
        let judged = self.authorities.judge(&made);
        let pem = authorities::to_file(&made, judged.as_ref().ok());
        Ok(Made { pem, authorities: self.authorities })
    }
}

/// One that was made. Whether it is believed is the verifier's part.
pub(super) struct Made {
    /// As it goes into its file.
    pub pem: String,
    authorities: Authorities,
}

impl Made {
    /// For the verifier in this process.
    ///
    /// # Errors
    /// If it is no attestation at all.
    pub(super) fn presented(&self) -> Result<Presented, Rejection> {
        present(self.pem.as_bytes(), &self.authorities)
    }
}

/// Reads the counter that came with an answer.
///
/// # Errors
/// If it cannot be read; a rejection if there are no certificates in it.
pub(super) fn read(path: &Path, authorities: &Authorities) -> Result<Presented, Failure> {
    let bytes = read_input(path, MAX_FILE)?;
    if bytes.len() > MAX_FILE {
        return Err(place::unreadable(path, &std::io::ErrorKind::FileTooLarge.into()));
    }
    let name = path.display().to_string();
    present(&bytes, authorities).map_err(|rejection| super::failure::rejected(&rejection, &name))
}

fn present(bytes: &[u8], authorities: &Authorities) -> Result<Presented, Rejection> {
    Ok(Presented::read(bytes, &authorities.intermediates, &authorities.roots)?)
}

/// What it says of the signatures up to the one made at `at`, in one line.
pub(super) fn text(counted: &Counted, at: UnixTime) -> String {
    let plural = |number: u64| match number {
        1 => "1 signature".to_owned(),
        more => format!("{more} signatures"),
    };
    let says = match counted.advance {
        Advance::Behind { by } => format!(
            "covers {} fewer than were seen here: answers came in another order, or it is older than this one",
            plural(by)
        ),
        Advance::First { since_enrolment: Some(since) } => {
            format!("the first of this key here; {} since it was enrolled", plural(since.into()))
        }
        Advance::First { since_enrolment: None } => {
            "the first of this key here, nothing to compare it with".to_owned()
        }
        Advance::Gap { unseen, since } => {
            format!("{} by this key that nobody here saw between {since} and {at}", plural(unseen))
        }
        Advance::Seen => "every signature since the last one was seen here".to_owned(),
    };
    let weaker = match &counted.root {
        Root::Yubico(_) => String::new(),
        Root::Configured { name } => format!(" (on the word of {}, not Yubico's)", printable(name)),
    };
    format!("{}, {says}{weaker}", counted.signatures)
}

/// The same for machines.
pub(super) fn fields(counted: &Counted) -> Value {
    let (advance, unseen, since, enrolled) = match counted.advance {
        Advance::Behind { .. } => ("behind", None, None, None),
        Advance::First { since_enrolment } => ("first", None, None, since_enrolment),
        Advance::Gap { unseen, since } => ("gap", Some(unseen), Some(since.to_string()), None),
        Advance::Seen => ("seen", Some(0), None, None),
    };
    let behind = if let Advance::Behind { by } = counted.advance { Some(by) } else { None };
    json!({
        "signatures": counted.signatures,
        "advance": advance,
        "unseen": unseen,
        "since": since,
        "behind": behind,
        "since_enrolment": enrolled,
        "root": counted.root.name(),
        "root_is": if matches!(counted.root, Root::Yubico(_)) { "yubico" } else { "configured" },
    })
}
