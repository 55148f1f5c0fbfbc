//! The udev rules say what they mean, in the form that udev takes, about devices that the CCID driver knows.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

const RULES: &str = "udev/70-touchgate.rules";

/// `KEY`, operator, value.
type Term = (String, String, String);

/// The rules as udev reads them: a line each, terms between commas.
///
/// # Source
/// `udev(7)`, "Rules files".
fn rules(text: &str) -> Result<Vec<Vec<Term>>, String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split(", ").map(term).collect::<Result<_, _>>()).collect()
}

fn term(text: &str) -> Result<Term, String> {
    let wrong = || format!("not KEY, operator, \"value\": {text}");
    let (left, value) = text.split_once('"').ok_or_else(wrong)?;
    let value = value.strip_suffix('"').filter(|value| !value.contains('"')).ok_or_else(wrong)?;
    let key = left.trim_end_matches(['=', '!', '+']);
    let operator = &left[key.len()..];
    let fits = match key {
        "ACTION" | "SUBSYSTEM" | "ENV{DEVTYPE}" | "ENV{ID_USB_INTERFACES}" => {
            ["==", "!="].contains(&operator)
        }
        "ATTR{idVendor}" | "ATTR{idProduct}" => operator == "==" && value.split('|').all(number),
        "TAG" => operator == "+=" && value == "uaccess",
        "GOTO" | "LABEL" => operator == "=",
        _ => false,
    };
    if fits { Ok((key.into(), operator.into(), value.into())) } else { Err(wrong()) }
}

/// As sysfs shows them: four hexadecimal digits in lower case.
fn number(text: &str) -> bool {
    text.len() == 4 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn value<'a>(rule: &'a [Term], key: &str) -> Option<&'a str> {
    rule.iter().find(|(known, _, _)| known == key).map(|(_, _, value)| value.as_str())
}

/// Vendor and product of every device that a rule names.
fn devices(rules: &[Vec<Term>]) -> BTreeSet<(String, String)> {
    rules
        .iter()
        .filter_map(|rule| Some((value(rule, "ATTR{idVendor}")?, value(rule, "ATTR{idProduct}")?)))
        .flat_map(|(vendor, products)| products.split('|').map(|product| (vendor.into(), product.into())))
        .collect()
}

#[test]
fn every_line_is_a_rule_and_every_jump_lands() {
    let rules = rules(&fs::read_to_string(RULES).unwrap()).unwrap();
    let label = value(rules.last().unwrap(), "LABEL").unwrap();
    for rule in &rules {
        match value(rule, "GOTO") {
            Some(target) => assert_eq!(target, label),
            None => assert!(value(rule, "LABEL").is_some() || value(rule, "TAG").is_some(), "{rule:?}"),
        }
    }
    assert!(devices(&rules).len() > 10);
    // Where udev can check rules itself (systemd 254 and later), it has the last word.
    if Command::new("udevadm").args(["verify", "--help"]).output().is_ok_and(|said| said.status.success()) {
        let said = Command::new("udevadm").args(["verify", "--resolve-names=never", RULES]).output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    } else {
        println!("no `udevadm verify` here: checked by our own reading of udev(7) alone");
    }
}

#[test]
fn a_slip_in_a_line_is_noticed() {
    for slip in [
        r#"ATTR{idVendor}="1050", TAG+="uaccess""#,
        r#"ATTR{idVendor}=="1050" TAG+="uaccess""#,
        r#"ATTR{idVendor}=="0x1050", TAG+="uaccess""#,
        r#"ATTR{idVendor}=="20A0", TAG+="uaccess""#,
        r#"ATTR{idvendor}=="1050", TAG+="uaccess""#,
        r#"ATTR{idVendor}=="1050", TAG="uaccess""#,
        r#"ATTR{idVendor}=="1050", MODE="0666""#,
        r#"ATTR{idVendor}=="1050, TAG+="uaccess""#,
    ] {
        assert!(rules(slip).is_err(), "{slip}");
    }
}

#[test]
fn the_ccid_driver_knows_every_device() {
    let list = fs::read_to_string("/usr/lib/pcsc/drivers/ifd-ccid.bundle/Contents/Info.plist")
        .expect("libccid, which pcscd's package brings");
    let values = |key: &str| -> Vec<String> {
        let array =
            list.split_once(&format!("<key>{key}</key>")).unwrap().1.split_once("</array>").unwrap().0;
        let strings = array.split("<string>0x").skip(1);
        strings.map(|text| text.split_once('<').unwrap().0.to_ascii_lowercase()).collect()
    };
    let known: BTreeSet<(String, String)> =
        values("ifdVendorID").into_iter().zip(values("ifdProductID")).collect();
    // Built by others from Gnuk's source: in GnuPG's list only.
    let elsewhere = BTreeSet::from([("1209".to_owned(), "2440".to_owned())]);
    let ours = devices(&rules(&fs::read_to_string(RULES).unwrap()).unwrap());
    let unknown: BTreeSet<_> = ours.difference(&known).cloned().collect();
    assert_eq!(unknown, elsewhere);
}
