//! How strong the evidence of a touch is: the one place where that is decided.

use std::fmt;
use std::str::FromStr;

use crate::card::attestation::{AttestationError, Shortfall};
use crate::trust::roster::Token;

/// How strong the evidence of a touch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// An enrolled key signed.
    Signed,
    /// An administrator says that the key needs a touch.
    Declared,
    /// The token's attestation shows that no signature was possible without one.
    Attested,
}

impl Tier {
    /// Its name as an authentication context (RFC 9470).
    pub fn acr(self) -> &'static str {
        match self {
            Self::Signed => "urn:touchgate:signed",
            Self::Declared => "urn:touchgate:touch-declared",
            Self::Attested => "urn:touchgate:touch-attested",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signed => "signed",
            Self::Declared => "declared",
            Self::Attested => "attested",
        })
    }
}

impl FromStr for Tier {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Signed, Self::Declared, Self::Attested]
            .into_iter()
            .find(|tier| tier.to_string() == text)
            .ok_or(())
    }
}

/// Why a token's key is not attested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAttested {
    /// Its attestation is genuine and does not show what it should.
    FallsShort(Vec<Shortfall>),
    /// Its attestation is not believed.
    NotBelieved(AttestationError),
    /// Trust holds no attestation of it.
    NotRecorded,
}

impl fmt::Display for NotAttested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FallsShort(short) => {
                let short: Vec<String> = short.iter().map(ToString::to_string).collect();
                write!(f, "its attestation falls short: {}", short.join("; "))
            }
            Self::NotBelieved(error) => write!(f, "its attestation is not believed: {error}"),
            Self::NotRecorded => f.write_str("trust holds no attestation of it"),
        }
    }
}

/// The tier of a signature by the key that this roster entry names, and why it is not the strongest.
///
/// `attested` wants an attestation in the very version of trust that holds the entry (and that the statement
/// names, which was seen before): up to one of Yubico's roots, of this very key, on the token with this serial,
/// generated there, in its signature slot, touch fixed, by firmware that makes such keys well. Without all of
/// that the roster's own word counts.
pub fn tier(token: &Token) -> (Tier, Option<NotAttested>) {
    let reason = match &token.attestation {
        None => NotAttested::NotRecorded,
        Some(Err(error)) => NotAttested::NotBelieved(error.clone()),
        Some(Ok(attestation)) => {
            let said = attestation.statement();
            let mut short = attestation.shortfalls();
            if !token.key.is_attested_by(&said.key) {
                short.push(Shortfall::OtherKey);
            }
            // Decimal on both sides: an AID's digits are BCD, but the roster holds what is printed.
            if said.serial.to_string() != token.serial {
                short.push(Shortfall::OtherSerial { attested: said.serial, enrolled: token.serial.clone() });
            }
            if short.is_empty() {
                return (Tier::Attested, None);
            }
            NotAttested::FallsShort(short)
        }
    };
    (if token.touch_declared { Tier::Declared } else { Tier::Signed }, Some(reason))
}

// Here and not in `tests/`: only this crate can take the test authority for Yubico.
#[cfg(all(test, feature = "virtual-card"))]
mod tests;
