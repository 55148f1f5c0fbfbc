//! The example of `docs/grants.md` is a real one, and its commands are.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use touchgate::digest::Sha256Digest;
use touchgate::grant::{Claims, GrantKey, GrantKeys, check};
use touchgate::unix_time::UnixTime;

use crate::world::{AUDIENCE, part};

fn document() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/grants.md")).unwrap()
}

/// The blocks of one language.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    document.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_example_is_a_grant() {
    let document = document();
    let value = |name: &str| {
        let policy = &blocks(&document, "toml")[0];
        let line = policy.lines().find_map(|line| line.strip_prefix(&format!("{name} = "))).unwrap();
        line.trim_matches('"').to_owned()
    };
    let key = GrantKey::parse(&value("kid"), &value("alg"), &value("key")).unwrap();
    let token: String = blocks(&document, "text")[0].split_whitespace().collect();
    let [header, claims] = &blocks(&document, "json")[..] else { panic!("not two blocks of JSON") };
    assert_eq!(part(&token, 0), header.trim_end().as_bytes());
    let shown = Claims::parse(claims.as_bytes()).unwrap();
    assert_eq!(part(&token, 1), shown.to_json().as_bytes());
    let keys = GrantKeys::new(vec![key]).unwrap();
    let gate = AUDIENCE.parse().unwrap();
    let at = |seconds: u64| {
        let presenter = shown.cnf.unwrap().jkt;
        check(&token, &keys, &gate, UnixTime::from_seconds(seconds).unwrap(), Some(&presenter))
    };
    assert_eq!(at(1_795_147_920).unwrap().claims(), &shown);
    assert_eq!(at(1_795_148_820).unwrap_err().code(), "grant-expired");
    let jkt: Value = serde_json::from_str(claims).unwrap();
    let jkt = URL_SAFE_NO_PAD.decode(jkt["cnf"]["jkt"].as_str().unwrap()).unwrap();
    assert_eq!(Sha256Digest::from(<[u8; 32]>::try_from(jkt).unwrap()), shown.cnf.unwrap().jkt);
}

/// Every claim of the largest grant stands in the table.
#[test]
fn every_claim_is_explained() {
    let document = document();
    let world = crate::world::World::new();
    let mut request = crate::world::request("deploy", "payroll");
    request.via = Some("github:repo/acme".parse().unwrap());
    let claims = world.sealed(request).claims().to_map();
    for (name, value) in &claims {
        assert!(document.contains(&format!("`{name}")), "{name}");
        for inner in value.as_object().into_iter().flat_map(|object| object.keys()) {
            assert!(document.contains(&format!("`{name}.{inner}`")), "{name}.{inner}");
        }
    }
}
