//! A token proves what was set: old PINs fail, new ones work, a signature verifies.

use sequoia_openpgp::crypto;
use sequoia_openpgp::packet::Key;
use sequoia_openpgp::packet::key::{PublicParts, UnspecifiedRole};
use sequoia_openpgp::types::HashAlgorithm;
use zeroize::Zeroizing;

use super::certify::Bench;
use super::link::{Link, Presented, status};
use super::observe::Observed;
use super::{ProofError, ProvisionError};
use crate::card::order::{ADMIN, Order, USER};
use crate::card::pin::{Pin, Whose};
use crate::card::pin_rules::{FACTORY_ADMIN, FACTORY_USER};

/// Tries to have before one is spent: two are then left, whatever happens.
const ENOUGH: u8 = 3;

/// PINs that a token is thought to have.
#[derive(Clone, Debug)]
pub struct Pins {
    /// The user PIN.
    pub user: Pin,
    /// The admin PIN, if it is known.
    pub admin: Option<Pin>,
    /// The resetting code, if there is one and it is known.
    pub resetting_code: Option<Pin>,
}

/// New PINs must work and those of the factory must not. Each wrong one is followed by the right one, which
/// gives its try back. Two tries are left at any moment, and one only if a token that had two refuses the PIN that
/// it took as its new one.
pub(super) fn pins(link: &mut Link<'_>, observed: &Observed, pins: &Pins) -> Result<(), ProvisionError> {
    one(link, observed, ("user", USER, Whose::User), &pins.user, FACTORY_USER)?;
    if let Some(code) = &pins.resetting_code {
        let kdf = observed.derivation()?;
        let code = code.for_card(kdf.as_ref(), Whose::ResettingCode)?;
        let user = pins.user.for_card(kdf.as_ref(), Whose::User)?;
        // It sets the user PIN to what it is.
        let order = Order::new_user_pin_by_code(&code, &user);
        let (_, sw) = link.ask(order.name, &order.bytes)?;
        if sw != status::OK {
            return Err(ProofError::ResettingCodeRefused { sw }.into());
        }
    }
    if let Some(admin) = &pins.admin {
        one(link, observed, ("admin", ADMIN, Whose::Admin), admin, FACTORY_ADMIN)?;
    }
    Ok(())
}

fn one(
    link: &mut Link<'_>,
    observed: &Observed,
    (name, reference, whose): (&'static str, u8, Whose),
    new: &Pin,
    factory: &str,
) -> Result<(), ProvisionError> {
    let kdf = observed.derivation()?;
    let factory = Pin::new(Zeroizing::new(factory.as_bytes().to_vec()))?;
    let factory = factory.for_card(kdf.as_ref(), whose)?;
    let new = new.for_card(kdf.as_ref(), whose)?;
    let place = usize::from(reference == ADMIN) * 2;
    let left = |link: &mut Link<'_>| link.tries().map(|tries| tries.get(place).copied().unwrap_or_default());
    // The right one first: a proof that was cut off may have left a try short.
    if left(link)? < 2 {
        return Err(ProofError::TooFewTries { whose: name, left: left(link)? }.into());
    }
    if link.present(reference, new.clone())? != Presented::Right {
        // Perhaps the token never took it. To know is worth a try, if enough are there.
        let kept = left(link)? >= ENOUGH && link.present(reference, factory)? == Presented::Right;
        return Err(match kept {
            true => ProofError::FactoryPinAccepted { whose: name }.into(),
            false => ProofError::NewPinRefused { whose: name }.into(),
        });
    }
    let tries = left(link)?;
    if tries < ENOUGH {
        return Err(ProofError::TooFewTries { whose: name, left: tries }.into());
    }
    if link.present(reference, factory)? == Presented::Right {
        return Err(ProofError::FactoryPinAccepted { whose: name }.into());
    }
    if link.present(reference, new)? != Presented::Right {
        return Err(ProofError::NewPinRefused { whose: name }.into());
    }
    Ok(())
}

/// Has the token sign something fresh, with a touch where its policy wants one, and verifies that.
pub(super) fn signature(
    bench: &mut Bench<'_>,
    key: Key<PublicParts, UnspecifiedRole>,
) -> Result<(), ProvisionError> {
    let mut digest = [0u8; 64];
    crypto::random(&mut digest[..])
        .map_err(|error| ProvisionError::NoRandomness { why: error.to_string() })?;
    bench.signing(key, "prove its key", |signer| {
        Ok(signer.sign_digest(HashAlgorithm::SHA512, &digest).map(drop)?)
    })
}
