//! Keys have one form, one algorithm and one name.

use super::*;

fn signer(algorithm: Algorithm) -> GrantSigner {
    GrantSigner::from_pkcs8("1", &GrantSigner::generate(algorithm).unwrap()).unwrap()
}

#[test]
fn what_is_signed_verifies_under_what_trust_lists() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
        let signer = signer(algorithm);
        assert_eq!(signer.key().algorithm(), algorithm);
        let listed = GrantKey::parse("1", algorithm.name(), &signer.key().to_base64()).unwrap();
        let mut signature = signer.sign(b"message").unwrap();
        assert_eq!(signature.len(), 64);
        assert!(listed.verifies(b"message", &signature));
        assert!(!listed.verifies(b"Message", &signature));
        signature[63] ^= 1;
        assert!(!listed.verifies(b"message", &signature));
    }
}

#[test]
fn a_key_has_one_algorithm_one_form_and_one_name() {
    let (ed, es) = (signer(Algorithm::EdDsa), signer(Algorithm::Es256));
    let (ed, es) = (ed.key().to_base64(), es.key().to_base64());
    for (kid, alg, key) in [
        ("1", "ES256", ed.as_str()),
        ("1", "EdDSA", es.as_str()),
        ("1", "HS256", es.as_str()),
        ("1", "none", es.as_str()),
        ("1", "es256", es.as_str()),
        ("", "ES256", es.as_str()),
        ("a b", "ES256", es.as_str()),
        ("1", "ES256", &format!("{es}\n")),
        ("1", "ES256", es.trim_end_matches('=')),
        ("1", "ES256", &es.replacen("MFk", "MFo", 1)),
        ("1", "EdDSA", &STANDARD.encode([ED25519_PREFIX, &[0; 32]].concat())),
        // A point that is not on the curve.
        ("1", "ES256", &STANDARD.encode([P256_PREFIX, &[4], &[7; 64]].concat())),
    ] {
        assert!(GrantKey::parse(kid, alg, key).is_err(), "{kid} {alg} {key}");
    }
    let key = |kid: &str, alg: &str, key: &str| GrantKey::parse(kid, alg, key).unwrap();
    assert!(GrantKeys::new(vec![key("1", "EdDSA", &ed), key("2", "ES256", &es)]).is_ok());
    assert!(GrantKeys::new(vec![key("1", "EdDSA", &ed), key("1", "ES256", &es)]).is_err());
    assert!(GrantKeys::new(vec![key("1", "ES256", &es), key("2", "ES256", &es)]).is_err());
}

#[test]
fn a_private_key_is_its_owners_alone_and_listed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys/grant.pk8");
    let pkcs8 = GrantSigner::generate(Algorithm::Es256).unwrap();
    write_private(&path, &pkcs8).unwrap();
    assert!(matches!(write_private(&path, &pkcs8), Err(GrantKeyError::Unreadable { .. })));
    let key = GrantSigner::from_pkcs8("prod-2026", &pkcs8).unwrap().key().clone();
    let keys = GrantKeys::new(vec![key]).unwrap();
    assert_eq!(GrantSigner::load(&path, &keys).unwrap().key().kid(), "prod-2026");
    assert!(matches!(GrantSigner::load(&path, &GrantKeys::default()), Err(GrantKeyError::NotInTrust)));
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o640);
    std::fs::set_permissions(&path, open).unwrap();
    assert!(matches!(GrantSigner::load(&path, &keys), Err(GrantKeyError::Unsafe { .. })));
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(matches!(GrantSigner::load(&link, &keys), Err(GrantKeyError::Unreadable { .. })));
}
