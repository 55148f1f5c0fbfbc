//! This machine's own verifier at work: what `run` asks of it, and its errors in words.

use crate::challenge::Challenge;
use crate::cli::ask::randomness;
use crate::cli::audit::kept;
use crate::cli::report::Failure;
use crate::cli::{failure, local};
use crate::grant::{Grant, GrantRejection};
use crate::request::Request;
use crate::store::sqlite::Sqlite;
use crate::trust::Trust;
use crate::trust::manifest::Manifest;
use crate::unix_time::UnixTime;
use crate::verifier::{NotIssued, Verifier, VerifierError};
use crate::verify::Rejection;

/// Puts `trust` into force at this machine's verifier, and ends what ran out meanwhile.
///
/// # Errors
/// If the key for grants is not there or not in trust, or the store knows a later version.
pub(super) fn start(store: &Sqlite, trust: Trust, manifest: Manifest) -> Result<Verifier<'_>, Failure> {
    let signer = local::grant_signer(&trust)?;
    // Of a `run` that was killed nobody else writes that its time is over.
    let verifier = Verifier::new(store, trust, manifest, signer, UnixTime::now())?;
    kept::keep(store, verifier.trust())?;
    Ok(verifier)
}

/// Has a request issued and recorded.
///
/// # Errors
/// If trust does not admit it, or the verifier could not.
pub(super) fn issue(verifier: &Verifier<'_>, request: &Request) -> Result<Challenge, Failure> {
    // What fails once fails before anything is recorded.
    randomness()?;
    let fresh = || randomness().expect("the system gave random numbers a moment ago");
    verifier.issue(request, UnixTime::now(), fresh).map_err(|error| match error {
        NotIssued::NotAdmitted(why) => why.into(),
        NotIssued::TooLarge(why) => why.into(),
        NotIssued::TrustExpired { now, valid_until } => {
            failure::rejected(&Rejection::TrustExpired { now, valid_until }, "")
        }
        NotIssued::Verifier(error) => error.into(),
    })
}

/// Counts the use of a grant that a command is about to make.
///
/// # Errors
/// If it cannot be counted; then it must not be made.
pub(super) fn use_grant(verifier: &Verifier<'_>, grant: &Grant) -> Result<(), Failure> {
    let code = grant.id().short_code();
    verifier.use_grant(grant, UnixTime::now()).map_err(|error| match error {
        error @ GrantRejection::Uncounted { .. } => error.into(),
        error => Failure::failed("grant", format!("{code}: {error}")).hint("nothing was run; ask again"),
    })?;
    kept::keep(verifier.store(), verifier.trust())
}

impl From<VerifierError> for Failure {
    fn from(error: VerifierError) -> Self {
        use VerifierError as E;
        let message = error.to_string();
        let (code, hint) = match error {
            E::BadRecord(_) => ("bad-record", "the store was changed by something else; ask again"),
            E::Busy => ("busy", "nothing was granted; try again"),
            E::NoEvidence(_) => ("evidence", "nothing was granted"),
            E::NotOpened(_) => ("grant", "nothing was run; see that the keys are those of this trust"),
            E::SeenAt { .. } => ("witnesses", "nothing was run; set the witness's clock, then ask again"),
            E::Store(_) => ("store", "nothing was granted; mend what it names, or restore the file"),
            E::TakenBack(rejection) => return rejection.into(),
            E::Trust { .. } => ("trust-rollback", "use the newer version of trust"),
            E::TrustEnded { now, valid_until } => {
                return failure::rejected(&Rejection::TrustExpired { now, valid_until }, "");
            }
            E::Unknown(_) => ("unknown-request", "ask again"),
        };
        Self::failed(code, message).hint(hint)
    }
}
