//! Taking a token in keeps what stands in a person's file, in whatever style it is written.

use touchgate::trust::Files;
use touchgate::trust::add::{AddError, Addition, Membership, add};

use crate::{files, load};

const TINA: &str = "people/tina.toml";
const KEYS: &str = "tokens/000f-00c0ffe1.asc";

/// The team without Tina's token, and her token.
fn without_token() -> (Files, Addition) {
    let mut all = files(&[]);
    let key = load(&all).roster.people().iter().find(|person| person.name == "tina").unwrap().tokens[0]
        .key
        .fingerprint()
        .clone();
    let certificate = String::from_utf8(all.remove(KEYS).unwrap()).unwrap();
    let text = String::from_utf8(all[TINA].clone()).unwrap();
    all.insert(TINA.to_owned(), text.as_bytes()[..text.find("[[token]]").unwrap()].to_vec());
    let (person, serial) = ("tina".parse().unwrap(), "000f:00c0ffe1".to_owned());
    (all, Addition { person, serial, key, certificate, attestation: None, declared: true })
}

fn text(files: &Files, path: &str) -> String {
    String::from_utf8(files[path].clone()).unwrap()
}

#[test]
fn a_token_comes_back_as_it_was() {
    let (before, addition) = without_token();
    let (after, trust) = add(&before, &[addition], &[]).unwrap();
    assert!(after.contains_key(KEYS));
    assert!(text(&after, TINA).starts_with(&text(&before, TINA)), "{}", text(&after, TINA));
    let (was, is) = (load(&files(&[])), trust);
    let token = |trust: &touchgate::trust::Trust| {
        let tina = trust.roster.people().iter().find(|person| person.name == "tina").unwrap();
        (
            tina.tokens[0].serial.clone(),
            tina.tokens[0].key.fingerprint().clone(),
            tina.tokens[0].touch_declared,
        )
    };
    assert_eq!(token(&was), token(&is));
    let others = |files: &Files| files.iter().filter(|(path, _)| *path != TINA && *path != KEYS).count();
    assert_eq!(others(&before), others(&after));
}

#[test]
fn every_style_of_a_file_is_kept() {
    for style in [
        "groups = [\"release\"] # why\nidentities = [\n    \"github:tina\", # work\n]\n",
        "identities = [\"github:tina\"]\ntoken = []\n",
        "# nothing but a name\nidentities=[]",
        "identities = []\r\ngroups = []\r\n",
    ] {
        let (mut before, addition) = without_token();
        before.insert(TINA.to_owned(), style.as_bytes().to_vec());
        let membership = Membership {
            person: "tina".parse().unwrap(),
            groups: vec!["security".to_owned(), "release".to_owned()],
            identities: vec!["github:tina".parse().unwrap()],
        };
        let (after, trust) =
            add(&before, &[addition], &[membership]).unwrap_or_else(|error| panic!("{style}: {error}"));
        let tina = trust.roster.people().iter().find(|person| person.name == "tina").unwrap();
        assert_eq!(tina.tokens.len(), 1, "{style}");
        assert!(tina.groups.contains(&"security".to_owned()) && tina.groups.contains(&"release".to_owned()));
        assert_eq!(tina.identities.len(), 1, "{style}");
        for comment in
            ["# why", "# work", "# nothing but a name"].iter().filter(|comment| style.contains(*comment))
        {
            assert!(text(&after, TINA).contains(comment), "{}", text(&after, TINA));
        }
    }
}

#[test]
fn nothing_comes_out_that_does_not_load() {
    let (before, addition) = without_token();
    let code = |addition: Addition, membership: &[Membership]| {
        add(&before, &[addition], membership).map(|_| ()).unwrap_err().code()
    };
    let held = Addition { serial: "1001".to_owned(), ..addition.clone() };
    assert_eq!(code(held, &[]), "held");
    let other_key =
        Addition { key: "A4A914437386C5FF97BD66BDE16F6FDD2DA17C12".parse().unwrap(), ..addition.clone() };
    assert_eq!(code(other_key, &[]), "bad-certificate");
    let no_certificate = Addition { certificate: "no".to_owned(), ..addition.clone() };
    assert_eq!(code(no_certificate, &[]), "bad-certificate");
    // Alice's key under another number, for somebody else.
    let alice = Addition {
        key: "A4A914437386C5FF97BD66BDE16F6FDD2DA17C12".parse().unwrap(),
        certificate: text(&before, "tokens/1001.asc"),
        ..addition.clone()
    };
    assert_eq!(code(alice, &[]), "duplicate");
    let whose = Membership {
        person: "tina".parse().unwrap(),
        groups: Vec::new(),
        identities: vec!["github:alice".parse().unwrap()],
    };
    assert_eq!(code(addition.clone(), std::slice::from_ref(&whose)), "duplicate");
    assert!(matches!(add(&Files::new(), &[addition], &[]), Err(AddError::Trust(_))));
}
