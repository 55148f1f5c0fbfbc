//! What is done to tokens elsewhere: each attempt, and the code that stops it.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use touchgate::grant::{Algorithm, GrantSigner, MAX_TOKEN};

use crate::world::{World, part, request};

const HEADER: &str = r#"{"alg":"ES256","kid":"es","typ":"touchgate-grant+jwt"}"#;

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Signs header and claims, whatever they are, with the key that the verifier really uses: most attempts here
/// are stopped by no signature.
struct Forge {
    world: World,
    claims: String,
    es: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Forge {
    fn new() -> Self {
        let world = World::new();
        let grant = world.grant(request("deploy", "payroll"), &world.es);
        let claims = String::from_utf8(part(grant.token(), 1)).unwrap();
        let es = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &world.es_secret).unwrap();
        let ed = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&world.ed_secret).unwrap();
        Self { world, claims, es, ed }
    }

    fn es(&self, signed: &str) -> Vec<u8> {
        self.es.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec()
    }

    fn parts(header: &str, claims: &str) -> String {
        format!("{}.{}", encode(header), encode(claims))
    }

    /// With a header, claims as they are.
    fn header(&self, header: &str) -> String {
        self.token(header, &self.claims)
    }

    /// With claims, the header as it is.
    fn claims(&self, from: &str, to: &str) -> String {
        assert!(self.claims.contains(from), "{from} in {}", self.claims);
        self.token(HEADER, &self.claims.replacen(from, to, 1))
    }

    fn token(&self, header: &str, claims: &str) -> String {
        let signed = Self::parts(header, claims);
        format!("{signed}.{}", encode(self.es(&signed)))
    }

    /// As it is, with another signature.
    fn signed(&self, signature: impl Fn(&[u8]) -> Vec<u8>) -> String {
        let signed = Self::parts(HEADER, &self.claims);
        format!("{signed}.{}", encode(signature(&self.es(&signed))))
    }
}

#[test]
fn every_attack_is_stopped_by_its_own_step() {
    let forge = Forge::new();
    let good = forge.header(HEADER);
    let [head, body, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let (other_secret, spki) = (
        GrantSigner::generate(Algorithm::Es256).unwrap(),
        STANDARD.decode(forge.world.es.key().to_base64()).unwrap(),
    );
    let other = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &other_secret).unwrap();
    let by_other = |header: &str| {
        let signed = Forge::parts(header, &forge.claims);
        let signature = other.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", encode(signature))
    };
    let hmac = |header: &str, secret: &[u8]| {
        let signed = Forge::parts(header, &forge.claims);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
        format!("{signed}.{}", encode(tag))
    };
    let by_ed = |header: &str| {
        let signed = Forge::parts(header, &forge.claims);
        format!("{signed}.{}", encode(forge.ed.sign(signed.as_bytes())))
    };
    let with = |member: &str| forge.header(&HEADER.replacen('{', &format!("{{{member},"), 1));
    let instead = |from: &str, to: &str| {
        assert!(HEADER.contains(from), "{from}");
        forge.header(&HEADER.replacen(from, to, 1))
    };
    let hs256 = HEADER.replace("ES256", "HS256");
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        forge.world.es.key().to_base64()
    );
    let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let jwk = r#""jwk":{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#;
    let reencoded = |part: &str| STANDARD.encode(URL_SAFE_NO_PAD.decode(part).unwrap());
    // 64 bytes end in a character of which four bits count.
    let loose = |part: &str| {
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let last = alphabet.find(part.chars().last().unwrap()).unwrap();
        format!("{}{}", &part[..part.len() - 1], &alphabet[last + 1..last + 2])
    };
    let zero = |range: std::ops::Range<usize>| {
        forge.signed(|signature| {
            let mut signature = signature.to_vec();
            signature[range.clone()].fill(0);
            signature
        })
    };
    // The order of P-256, which r and s must stay below (FIPS 186-5).
    let order = STANDARD.decode("/////wAAAAD//////////7zm+q2nF56E87nKwvxjJVE=").unwrap();
    let der = {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &forge.world.es_secret).unwrap();
        let signed = Forge::parts(HEADER, &forge.claims);
        let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", encode(signature))
    };
    let ed_header = r#"{"alg":"EdDSA","kid":"ed","typ":"touchgate-grant+jwt"}"#;
    let big = format!("\"sub\":\"github:{}\"", "a".repeat(MAX_TOKEN));

    #[rustfmt::skip]
    let attacks: Vec<(&str, String, &str)> = vec![
        // The algorithm.
        ("no algorithm, no signature", format!("{}.{body}.", encode(HEADER.replace("ES256", "none"))), "grant-algorithm"),
        ("no algorithm, the real signature", instead("ES256", "none"), "grant-algorithm"),
        ("NONE in another case", instead("ES256", "NoNe"), "grant-algorithm"),
        ("the public key as an HMAC secret", hmac(&hs256, &spki), "grant-algorithm"),
        ("its point as an HMAC secret", hmac(&hs256, &spki[26..]), "grant-algorithm"),
        ("its PEM as an HMAC secret", hmac(&hs256, pem.as_bytes()), "grant-algorithm"),
        ("an HMAC that calls itself ES256", hmac(HEADER, &spki), "grant-signature"),
        ("the other trusted key under this one's name", by_ed(&HEADER.replace("ES256", "EdDSA")), "grant-algorithm"),
        ("this key under the other one's name", instead("\"es\"", "\"ed\""), "grant-algorithm"),
        ("the other key, its own name, this algorithm", by_ed(&ed_header.replace("EdDSA", "ES256")), "grant-algorithm"),
        ("an algorithm in lower case", instead("ES256", "es256"), "grant-algorithm"),
        ("a relative of the algorithm", instead("ES256", "ES256K"), "grant-algorithm"),
        ("an algorithm that is no text", instead("\"ES256\"", "[\"ES256\"]"), "grant-header"),
        ("no member alg", instead("\"alg\":\"ES256\",", ""), "grant-header"),
        // The key.
        ("a key that trust does not list", instead("\"es\"", "\"other\""), "grant-key"),
        ("a key's name that is a path", instead("\"es\"", "\"../../dev/null\""), "grant-key"),
        ("a key's name that is a query", instead("\"es\"", "\"' UNION SELECT 'x\""), "grant-key"),
        ("an empty name", instead("\"es\"", "\"\""), "grant-key"),
        ("several names", instead("\"es\"", "[\"es\"]"), "grant-header"),
        ("no name", instead("\"kid\":\"es\",", ""), "grant-header"),
        ("a trusted name on another key", by_other(HEADER), "grant-signature"),
        ("a key in the header", with(jwk), "grant-key-in-header"),
        ("a key in the header that made the signature", by_other(&HEADER.replacen('{', &format!("{{{jwk},"), 1)), "grant-key-in-header"),
        ("an address of keys", with(r#""jku":"https://evil.example/keys""#), "grant-key-in-header"),
        ("an address of a certificate", with(r#""x5u":"https://evil.example/c.pem""#), "grant-key-in-header"),
        ("a certificate", with(r#""x5c":["MIIB"]"#), "grant-key-in-header"),
        ("a certificate's thumbprint", with(r#""x5t":"AAAA""#), "grant-key-in-header"),
        ("the same by SHA-256", with(r##""x5t#S256":"AAAA""##), "grant-key-in-header"),
        // The header.
        ("something that must be understood", with(r#""crit":["exp"]"#), "grant-critical"),
        ("nothing that must be understood", with(r#""crit":[]"#), "grant-critical"),
        ("claims that are not encoded", with(r#""b64":false,"crit":["b64"]"#), "grant-critical"),
        ("the same without saying so", with(r#""b64":false"#), "grant-header"),
        ("compressed claims", with(r#""zip":"DEF""#), "grant-header"),
        ("a token in a token", with(r#""cty":"JWT""#), "grant-header"),
        ("an unknown member", with(r#""x":1"#), "grant-header"),
        ("two algorithms, the second good", with(r#""alg":"none""#), "grant-header"),
        ("two names", with(r#""kid":"ed""#), "grant-header"),
        ("two types", with(r#""typ":"JWT""#), "grant-header"),
        ("two members under one escaped name", with(r#""\u0061lg":"none""#), "grant-header"),
        ("another type", instead("touchgate-grant+jwt", "JWT"), "grant-type"),
        ("an access token", instead("touchgate-grant+jwt", "at+jwt"), "grant-type"),
        ("the type in another case", instead("touchgate-grant+jwt", "Touchgate-Grant+JWT"), "grant-type"),
        ("the type as a media type", instead("touchgate-grant+jwt", "application/touchgate-grant+jwt"), "grant-type"),
        ("no type", instead(",\"typ\":\"touchgate-grant+jwt\"", ""), "grant-header"),
        ("a header that is no object", forge.header("[]"), "grant-header"),
        ("an empty header", forge.header(""), "grant-header"),
        ("something after the header", forge.header(&format!("{HEADER}{{}}")), "grant-header"),
        ("a header as deep as it can be", with(&format!("\"x\":{}", deep(600))), "grant-header"),
        ("a header that goes on and on", with(&format!("\"x\":\"{}\"", "x".repeat(4000))), "grant-header"),
        ("a header that is not UTF-8", format!("{}.{body}.{signature}", encode(b"{\"alg\":\"\xff\"}")), "grant-header"),
        // The form.
        ("nothing", String::new(), "grant-form"),
        ("two parts", format!("{head}.{body}"), "grant-form"),
        ("four parts", format!("{good}.{signature}"), "grant-form"),
        ("five, as of an encrypted token", format!("{head}..{body}.{body}.{signature}"), "grant-form"),
        ("a dot at the end", format!("{good}."), "grant-form"),
        ("a dot at the beginning", format!(".{good}"), "grant-form"),
        ("only dots", "..".into(), "grant-header"),
        ("the JSON form of a signed token", format!("{{\"payload\":\"{body}\",\"protected\":\"{head}\",\"signature\":\"{signature}\"}}"), "grant-form"),
        ("padding after the signature", format!("{good}=="), "grant-form"),
        ("padding after the header", format!("{head}=.{body}.{signature}"), "grant-form"),
        ("a line feed at the end", format!("{good}\n"), "grant-form"),
        ("a space at the end", format!("{good} "), "grant-form"),
        ("a space at the beginning", format!(" {good}"), "grant-form"),
        ("a line feed in the signature", format!("{head}.{body}.{}\n{}", &signature[..40], &signature[40..]), "grant-form"),
        ("a NUL at the end", format!("{good}\0"), "grant-form"),
        ("the signature in plain base64", format!("{head}.{body}.{}", reencoded(signature)), "grant-form"),
        ("bits that stand for nothing", format!("{head}.{body}.{}", loose(signature)), "grant-form"),
        ("the same in the header", format!("{}.{body}.{signature}", loose(&encode(format!("{HEADER} ")))), "grant-form"),
        ("too much of it", forge.claims("\"sub\":\"github:alice\"", &big), "grant-too-large"),
        // The signature.
        ("no signature", format!("{head}.{body}."), "grant-signature"),
        ("in DER", der, "grant-signature"),
        ("r is zero", zero(0..32), "grant-signature"),
        ("s is zero", zero(32..64), "grant-signature"),
        ("both are zero", zero(0..64), "grant-signature"),
        ("both are the order", forge.signed(|_| [order.clone(), order.clone()].concat()), "grant-signature"),
        ("one byte too few", forge.signed(|signature| signature[..63].to_vec()), "grant-signature"),
        ("one byte too many", forge.signed(|signature| [signature, &[0]].concat()), "grant-signature"),
        ("r and s in each other's place", forge.signed(|signature| [&signature[32..], &signature[..32]].concat()), "grant-signature"),
        ("of other claims", format!("{head}.{}.{signature}", encode(forge.claims.replace("payroll", "payments"))), "grant-signature"),
        ("of more uses", format!("{head}.{}.{signature}", encode(forge.claims.replace("\"uses\":3", "\"uses\":4"))), "grant-signature"),
        ("of another header", format!("{}.{body}.{signature}", encode(HEADER.replace(',', ", "))), "grant-signature"),
        // The claims, signed by the right key.
        ("another gate's", forge.claims("\"aud\":\"approve.example.com\"", "\"aud\":\"other.example.com\""), "grant-audience"),
        ("a gate below this one", forge.claims("\"aud\":\"approve.example.com\"", "\"aud\":\"eu.approve.example.com\""), "grant-audience"),
        ("this gate among others", forge.claims("\"aud\":\"approve.example.com\"", "\"aud\":[\"approve.example.com\",\"x\"]"), "grant-claims"),
        ("another verifier's", forge.claims("https://approve.example.com", "https://other.example.com"), "grant-issuer"),
        ("a verifier whose name begins alike", forge.claims("https://approve.example.com", "https://approve.example.com.evil.example"), "grant-issuer"),
        ("the end as a text", forge.claims("\"exp\":1795148520", "\"exp\":\"1795148520\""), "grant-claims"),
        ("the end with a fraction", forge.claims("\"exp\":1795148520", "\"exp\":1795148520.9"), "grant-claims"),
        ("the end beyond all numbers", forge.claims("\"exp\":1795148520", "\"exp\":1e400"), "grant-claims"),
        ("the end before 1970", forge.claims("\"exp\":1795148520", "\"exp\":-1"), "grant-claims"),
        ("no end", forge.claims("\"exp\":1795148520,", ""), "grant-claims"),
        ("two ends", forge.claims("\"exp\":", "\"exp\":1,\"exp\":"), "grant-claims"),
        ("the end before the beginning", forge.claims("\"nbf\":1795147920", "\"nbf\":1795148520"), "grant-claims"),
        ("made after it was valid", forge.claims("\"iat\":1795147920", "\"iat\":1795147921"), "grant-claims"),
        ("a use more, said twice", forge.claims("\"uses\":3", "\"uses\":3,\"uses\":4"), "grant-claims"),
        ("no uses", forge.claims("\"uses\":3", "\"uses\":0"), "grant-claims"),
        ("unlimited uses", forge.claims("\"uses\":3", "\"uses\":null"), "grant-claims"),
        ("more uses than there are numbers", forge.claims("\"uses\":3", "\"uses\":4294967296"), "grant-claims"),
        ("two resources", forge.claims("\"resource\":", "\"resource\":\"payments\",\"resource\":"), "grant-claims"),
        ("a resource for everything", forge.claims("\"resource\":\"payroll\"", "\"resource\":\"**\""), "grant-claims"),
        ("a resource that climbs", forge.claims("\"resource\":\"payroll\"", "\"resource\":\"payroll/../prod\""), "grant-claims"),
        ("one parameter twice", forge.claims("\"parameters\":{", "\"parameters\":{\"image\":\"x\","), "grant-claims"),
        ("one parameter twice, escaped", forge.claims("\"parameters\":{", "\"parameters\":{\"\\u0069mage\":\"x\","), "grant-claims"),
        ("a parameter that is no text", forge.claims("\"parameters\":{", "\"parameters\":{\"a\":{},"), "grant-claims"),
        ("a second authorization", forge.claims("\"touchgate\"}]", "\"touchgate\"},{\"type\":\"touchgate\"}]"), "grant-claims"),
        ("an authorization of another type", forge.claims("\"type\":\"touchgate\"", "\"type\":\"payment_initiation\""), "grant-claims"),
        ("no authorization", forge.claims("\"authorization_details\":[{", "\"authorization_details\":[],\"x\":[{"), "grant-claims"),
        ("a claim that nobody knows", forge.claims("{\"acr\"", "{\"admin\":true,\"acr\""), "grant-claims"),
        ("narrowed to something else", forge.claims("\"narrow\":true", "\"narrow\":true,\"narrowed_from\":\"payments\""), "grant-claims"),
        ("narrowed where it may not be", forge.claims("\"narrow\":true", "\"narrowed_from\":\"pay\""), "grant-claims"),
        ("bound to a key by another method", forge.claims("\"cnf\":{\"jkt\":", "\"cnf\":{\"x5t#S256\":"), "grant-claims"),
        ("bound to two keys", forge.claims("\"cnf\":{", "\"cnf\":{\"jkt\":\"AA\","), "grant-claims"),
        ("bound to nothing in particular", forge.claims("\"cnf\":{", "\"cnf\":null,\"cnf\":{"), "grant-claims"),
        ("an acr that nobody gave", forge.claims("touch-declared", "touch-proven"), "grant-claims"),
        ("claims as deep as they can be", forge.token(HEADER, &deep(5000)), "grant-claims"),
        ("a claim as deep as it can be", forge.claims("\"amr\":[", &format!("\"amr\":[{},", deep(3000))), "grant-claims"),
        ("claims that are a list", forge.token(HEADER, "[]"), "grant-claims"),
        ("no claims", forge.token(HEADER, ""), "grant-claims"),
        ("something after the claims", forge.token(HEADER, &format!("{}{{}}", forge.claims)), "grant-claims"),
        ("a byte order mark", forge.token(HEADER, &format!("\u{feff}{}", forge.claims)), "grant-claims"),
    ];
    let mut wrong = Vec::new();
    for (name, token, expected) in &attacks {
        let found = forge.world.gate(token).map(drop).map_err(|rejection| rejection.code());
        if found != Err(*expected) {
            wrong.push(format!("{name}: {found:?}, expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), attacks.len(), wrong.join("\n"));
    // Every one of them is a change of something that passes.
    assert!(forge.world.gate(&good).is_ok());
    assert!(forge.world.gate(&forge.token(HEADER, &forge.claims)).is_ok());
}

#[test]
fn what_the_standards_allow_to_differ_is_still_one_grant() {
    let forge = Forge::new();
    let order = STANDARD.decode("/////wAAAAD//////////7zm+q2nF56E87nKwvxjJVE=").unwrap();
    let accepted = [
        forge.header(HEADER),
        // Members in another order, with spaces.
        forge.header(r#"{ "typ":"touchgate-grant+jwt", "kid":"es", "alg":"ES256" }"#),
        // (r, n - s) holds wherever (r, s) does: ECDSA's own ambiguity.
        forge.signed(|signature| [&signature[..32], &subtract(&order, &signature[32..])].concat()),
    ];
    // Another text each, and the same name, by which uses are counted.
    let names: Vec<_> = accepted.iter().map(|token| forge.world.gate(token).unwrap().claims().jti).collect();
    assert!(names.iter().all(|name| *name == names[0]));
}

#[test]
fn eddsa_has_one_signature_only() {
    let forge = Forge::new();
    let header = r#"{"alg":"EdDSA","kid":"ed","typ":"touchgate-grant+jwt"}"#;
    let signed = Forge::parts(header, &forge.claims);
    let signature = forge.ed.sign(signed.as_bytes()).as_ref().to_vec();
    let token = |signature: &[u8]| format!("{signed}.{}", encode(signature));
    assert!(forge.world.gate(&token(&signature)).is_ok());
    // The order of Ed25519's group, little-endian (RFC 8032, section 5.1).
    let order = STANDARD.decode("7dP1XBpjEljWnPei3vneFAAAAAAAAAAAAAAAAAAAABA=").unwrap();
    let mut carry = 0;
    let larger: Vec<u8> = signature[32..]
        .iter()
        .zip(&order)
        .map(|(a, b)| {
            let sum = u16::from(*a) + u16::from(*b) + carry;
            carry = sum >> 8;
            u8::try_from(sum & 0xff).unwrap()
        })
        .collect();
    let twisted = [&signature[..32], &larger].concat();
    let rejection = forge.world.gate(&token(&twisted)).unwrap_err();
    assert_eq!(rejection.code(), "grant-signature");
}

/// Every bit of the token matters.
#[test]
fn no_byte_can_be_changed() {
    let forge = Forge::new();
    let good = forge.header(HEADER);
    for at in 0..good.len() {
        for byte in *b"A.b_" {
            let mut changed = good.clone().into_bytes();
            if changed[at] == byte {
                continue;
            }
            changed[at] = byte;
            let changed = String::from_utf8(changed).unwrap();
            assert!(forge.world.gate(&changed).is_err(), "{at}: {changed}");
        }
        assert!(forge.world.gate(&good[..at]).is_err(), "{at}");
    }
}

/// `a - b`, big-endian, where that is not negative.
fn subtract(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let mut difference: Vec<u8> = a
        .iter()
        .zip(b)
        .rev()
        .map(|(a, b)| {
            let value = i16::from(*a) - i16::from(*b) - borrow;
            borrow = i16::from(value < 0);
            u8::try_from(value.rem_euclid(256)).unwrap()
        })
        .collect();
    difference.reverse();
    difference
}
