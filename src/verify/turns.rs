//! When the validity of a certificate can change: the moments that stand in it.

use std::time::SystemTime;

use openpgp::Cert;
use openpgp::Packet;
use openpgp::packet::Signature;
use sequoia_openpgp as openpgp;

use crate::unix_time::UnixTime;

/// The seconds at which sequoia's policy may begin to say something else of a certificate and of its key that was made
/// at `created`, sorted. It compares the moment that it is asked about with nothing but when keys and signatures were
/// made and when they end, so that between two of these it says the same of each.
pub(super) fn turns(cert: &Cert, created: SystemTime) -> Box<[u64]> {
    let keys = [cert.primary_key().key().creation_time(), created];
    let mut turns = keys.to_vec();
    let mut note = |signature: &Signature| {
        turns.extend(signature.signature_creation_time());
        turns.extend(signature.signature_expiration_time());
        turns.extend(
            signature.key_validity_period().into_iter().flat_map(|lasts| keys.map(|key| key + lasts)),
        );
    };
    for packet in cert.clone().into_packets() {
        if let Packet::Signature(signature) = packet {
            signature.embedded_signatures().for_each(&mut note);
            note(&signature);
        }
    }
    let mut turns: Vec<u64> = turns.into_iter().map(|turn| UnixTime::from(turn).seconds()).collect();
    turns.sort_unstable();
    turns.dedup();
    turns.into()
}

/// Which span between two turns a second lies in; none if it is itself one.
pub(super) fn span(turns: &[u64], second: u64) -> Option<u64> {
    turns.binary_search(&second).err().map(|span| span as u64)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use openpgp::cert::CertBuilder;
    use openpgp::crypto::KeyPair;
    use openpgp::packet::signature::SignatureBuilder;
    use openpgp::policy::StandardPolicy;
    use openpgp::types::{KeyFlags, ReasonForRevocation, SignatureType};

    use super::*;
    use crate::verify::SigningKey;

    const DAY: u64 = 24 * 3600;

    /// Renewed, expired in between, and revoked in the end: by its subkey, then as a whole.
    fn certificate(start: SystemTime) -> Cert {
        let day = |day: u64| start + Duration::from_secs(day * DAY);
        let policy = &StandardPolicy::new();
        let (cert, _) = CertBuilder::new()
            .set_creation_time(start)
            .set_validity_period(Duration::from_secs(90 * DAY))
            .add_userid("alice")
            .add_subkey(KeyFlags::empty().set_signing(), Duration::from_secs(20 * DAY), None)
            .generate()
            .unwrap();
        let mut primary =
            cert.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
        let subkey = cert.keys().subkeys().next().unwrap().key().clone();
        let mut signer = subkey.clone().parts_into_secret().unwrap().into_keypair().unwrap();
        let bind = |primary: &mut KeyPair, signer: &mut KeyPair, made: u64, until: u64, ends: Option<u64>| {
            let mut backed = SignatureBuilder::new(SignatureType::PrimaryKeyBinding)
                .set_signature_creation_time(day(made))
                .unwrap();
            if let Some(ends) = ends {
                backed =
                    backed.set_signature_validity_period(Duration::from_secs((ends - made) * DAY)).unwrap();
            }
            let backed = backed.sign_primary_key_binding(signer, cert.primary_key().key(), &subkey).unwrap();
            let binding = SignatureBuilder::new(SignatureType::SubkeyBinding)
                .set_signature_creation_time(day(made))
                .unwrap()
                .set_key_flags(KeyFlags::empty().set_signing())
                .unwrap()
                .set_key_validity_period(Duration::from_secs(until * DAY))
                .unwrap()
                .set_embedded_signature(backed)
                .unwrap();
            Packet::from(subkey.bind(primary, &cert, binding).unwrap())
        };
        let renewed = bind(&mut primary, &mut signer, 25, 80, None);
        // The subkey's own word for it ends before the binding does.
        let again = bind(&mut primary, &mut signer, 30, 80, Some(40));
        let revoked = openpgp::cert::SubkeyRevocationBuilder::new()
            .set_reason_for_revocation(ReasonForRevocation::KeySuperseded, b"")
            .unwrap()
            .set_signature_creation_time(day(60))
            .unwrap()
            .build(&mut primary, &cert, &subkey, None)
            .unwrap();
        let whole = openpgp::cert::CertRevocationBuilder::new()
            .set_reason_for_revocation(ReasonForRevocation::KeyRetired, b"")
            .unwrap()
            .set_signature_creation_time(day(70))
            .unwrap()
            .build(&mut primary, &cert, None)
            .unwrap();
        let packets = vec![renewed, again, revoked.into(), whole.into()];
        let cert = cert.insert_packets(packets).unwrap().0.strip_secret_key_material();
        assert!(cert.with_policy(policy, day(1)).is_ok());
        cert
    }

    /// What was found valid is asked about again and again, in one order and the other; nothing that is kept of it ever
    /// says yes where the policy does not.
    #[test]
    fn nothing_is_valid_for_longer_than_it_was() {
        let start = UnixTime::from_seconds(UnixTime::now().seconds() - 300 * DAY).unwrap();
        let cert = certificate(start.into());
        let fingerprint = cert.keys().subkeys().next().unwrap().key().fingerprint();
        let kept = SigningKey::new(cert.clone(), &fingerprint).unwrap();
        let at = |second: u64| UnixTime::from_seconds(second).unwrap();
        let created = cert.keys().subkeys().next().unwrap().key().creation_time();
        let near = turns(&cert, created).into_iter().flat_map(|turn| turn - 2..turn + 3);
        let mut seconds: Vec<u64> = near.chain((0..100).map(|day| start.seconds() + day * DAY + 7)).collect();
        seconds.sort_unstable();
        let backwards: Vec<u64> = seconds.iter().rev().copied().collect();
        let mut said = std::collections::BTreeSet::new();
        for second in [seconds, backwards].concat() {
            let fresh = SigningKey::new(cert.clone(), &fingerprint).unwrap().check_valid(at(second));
            said.insert(fresh.as_ref().map_err(|rejection| rejection.code()).err().unwrap_or("valid"));
            assert_eq!(kept.check_valid(at(second)), fresh, "{}", at(second));
        }
        assert!(said.len() >= 4, "{said:?}");
    }
}
