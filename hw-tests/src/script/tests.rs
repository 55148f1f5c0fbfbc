//! What parses, and what does not.

use super::verbs::THE_ATTESTATION_KEY;
use super::*;

const HEADER: &str = "# It shows something.\nsource: nowhere\n\n";

fn parse(steps: &str) -> Result<Script, Reason> {
    Script::parse("test", &format!("{HEADER}{steps}")).map_err(|bad| bad.reason)
}

#[test]
fn the_example_of_the_documentation_parses() {
    let module = include_str!("../script.rs");
    let example: Vec<&str> = module
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .skip_while(|line| !line.contains("```text"))
        .skip(1)
        .take_while(|line| !line.contains("```"))
        .map(str::trim)
        .collect();
    let script = Script::parse("example", &example.join("\n")).unwrap();
    assert_eq!(script.title, "A wrong PIN costs a try, the right one gives all of them back.");
    assert_eq!(script.steps.len(), 5);
    assert_eq!(script.steps.last().map(|step| step.line), Some(8));
}

#[test]
fn what_is_not_understood_to_the_end_is_refused() {
    for (line, message) in [
        ("select", "-> is missing"),
        ("select ->", "status is missing"),
        ("select -> 90", r#""90" is no status"#),
        ("select -> 9000 empty 00", r#""00" is left over"#),
        ("select -> 9000 | plain", "status is missing"),
        ("select -> 9000 | sometimes 6A82", "a condition is missing"),
        ("choose -> 9000", r#""choose" is no verb"#),
        ("get 1 -> 9000", r#""1" is no tag"#),
        ("get 6E -> 9000 has 73/C -> 1", r#""73/C" is no tag"#),
        ("put 5B -> 9000", r#""->" is no value"#),
        ("put 5B \"Ada -> 9000", "a closing quote is missing"),
        ("verify pw2 right -> 9000", r#""pw2" is no pw1"#),
        ("change pw1 right -> 9000", r#""->" is no to"#),
        ("generate thumb -> 9000", r#""thumb" is no slot"#),
        ("algorithm signature rsa1024 -> 9000", r#""rsa1024" is no algorithm"#),
        ("sometimes: select -> 9000", r#""sometimes:" is no verb"#),
        ("from 5.6: select -> 9000", r#""5.6:" is no firmware and a colon"#),
        ("raw 00CA00 -> 6700", "a header of four bytes is missing"),
        ("touch -> 9000", r#""->" is left over"#),
        ("wait 3", r#""3" is no time such as 15s"#),
        ("counter is -> 3", r#""->" is no counter"#),
        ("challenge 5000 -> 9000", r#""5000" is no length"#),
    ] {
        assert_eq!(parse(line).map(|_| ()).unwrap_err().to_string(), message, "{line}");
    }
}

#[test]
fn a_script_without_its_header_or_steps_is_refused() {
    for (text, message) in [
        ("", "a first line `# What it shows.` is missing"),
        ("# Shows.\n\nselect -> 9000\n", "`source:` is missing"),
        ("# Shows.\nsource: nowhere\n", "a step is missing"),
        ("# Shows.\nsource: nowhere\nonly: cards\n", "a condition is missing"),
        ("# Shows.\nsource: nowhere\nauthor: nobody\n", r#""author" is no header"#),
        ("# Shows.\nsource: nowhere\nrecorded: 5\n", r#""5" is no card"#),
    ] {
        let bad = Script::parse("test", text).map(|_| ()).unwrap_err();
        assert_eq!(bad.reason.to_string(), message, "{text}");
    }
}

#[test]
fn nothing_waits_for_long() {
    assert!(parse("wait 15s\nwait 5s").is_ok());
    assert_eq!(parse("wait 15s\nwait 6s").map(|_| ()), Err(Reason::TooLong { seconds: 21, most: 20 }));
}

#[test]
fn the_attestation_key_stays_what_it_is() {
    for line in [
        "put FC empty -> 9000",
        "put DA 010800001100 -> 9000",
        "put D9 0220 -> 9000",
        "uif attestation fixed -> 9000",
        "uif attestation cached-fixed -> 9000",
        "raw 00DA00FC0100 -> 9000",
        "raw 10DA00D9020220 -> 9000",
        "raw 00478000000005B60384018100 -> 9000",
        "raw 00DB3FFF084D06B603840181FF -> 9000",
    ] {
        assert_eq!(parse(line).map(|_| ()), Err(THE_ATTESTATION_KEY), "{line}");
    }
    assert!(parse("uif attestation on -> 9000").is_ok());
    assert!(parse("generate attestation -> 9000").is_err());
    assert!(parse("import attestation p256 -> 9000").is_err());
}

#[test]
fn exceptions_go_before_the_usual_answer() {
    let script = parse("verify pw1 wrong -> 6982 | plain 63C2 | before 5.0.0 63Cx empty").unwrap();
    let Action::Command { expect, .. } = &script.steps[0].action else { panic!("{script:?}") };
    let of = |card| expect.of(card).status.to_string();
    assert_eq!(of(Personality::default()), "6982");
    assert_eq!(of(Personality::Plain), "63C2");
    let old = Personality::Yubikey("4.3.5".parse().unwrap());
    assert_eq!(of(old), "63Cx");
    assert!(expect.of(old).status.is_met_by(0x63C7));
    assert!(!expect.of(old).status.is_met_by(0x63D7));
}
