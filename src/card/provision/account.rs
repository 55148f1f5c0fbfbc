//! The report of a provisioned token: what is known of it, for whoever keeps trust.

use serde_json::{Value, json};

use super::ProvisionError;
use super::algorithm::{KeyAlgorithm, KeySlot};
use super::anchors::{Attested, Vouched};
use super::journal::Pending;
use super::observe::{Observed, Origin};
use super::papers::Papers;
use crate::unix_time::UnixTime;

/// What the report says that it is.
const FORMAT: &str = "touchgate provisioning report v1";

/// The report as JSON. It holds no secret, and what it says nobody signs but the token.
pub(super) fn report(
    papers: &Papers<'_>,
    observed: &Observed,
    attested: &[Attested],
    pending: &Pending,
    now: UnixTime,
) -> Result<String, ProvisionError> {
    let memory = &pending.memory;
    let keys: serde_json::Map<String, Value> = KeySlot::ALL
        .into_iter()
        .filter_map(|slot| Some((slot.word().to_owned(), key(observed, slot, attested)?)))
        .collect();
    let certificate = papers.certificate()?.map(|cert| {
        json!({
            "fingerprint": cert.fingerprint().to_hex(),
            "user_ids": cert.userids().map(|id| String::from_utf8_lossy(id.userid().value()).into_owned()).collect::<Vec<_>>(),
            "expires": papers.expires().map(|time| time.to_string()),
        })
    });
    let firmware = observed.firmware.map(|[major, minor, patch]| format!("{major}.{minor}.{patch}"));
    let report = json!({
        "format": FORMAT,
        "made": now.to_string(),
        "serial": observed.ident.to_string(),
        "firmware": firmware,
        "profile": papers.profile.file_digest().to_string(),
        "pin": {
            "factory_pins_refused": memory.user_set && memory.admin_set,
            "for_each_signature": observed.pin_for_each_signature,
            "derived": observed.kdf_on(),
            "resetting_code": memory.code_set,
            "tries": memory.tries,
            "escrowed": !papers.profile.escrow.to.is_empty(),
        },
        "keys": keys,
        "certificate": certificate,
    });
    let mut text = serde_json::to_string_pretty(&report).unwrap_or_default();
    text.push('\n');
    Ok(text)
}

fn key(observed: &Observed, slot: KeySlot, attested: &[Attested]) -> Option<Value> {
    let state = observed.slot(slot);
    let key = state.key(slot)?;
    let origin = match state.origin {
        Origin::Absent => return None,
        Origin::Generated => "made on the token",
        Origin::Imported => "imported",
        Origin::Unknown => "not said",
    };
    let attestation = attested.iter().find(|one| one.slot == slot).map(|one| {
        let root = match &one.vouched {
            Vouched::Yubico(name) => json!({ "yubico": name }),
            Vouched::Configured(name) => json!({ "configured": name }),
            Vouched::Nobody => Value::Null,
        };
        json!({ "root": root, "falls_short": one.short })
    });
    Some(json!({
        "fingerprint": key.fingerprint().to_hex(),
        "algorithm": state.algorithm.map(KeyAlgorithm::word),
        "origin": origin,
        "touch": state.touch.word(),
        "attestation": attestation,
    }))
}
