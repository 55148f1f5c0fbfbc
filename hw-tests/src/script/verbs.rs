//! The verbs of commands.

use virtual_openpgp_card::{Slot, TouchPolicy};

use super::words::{Reason, Words, unhex};
use super::{Command, Password, Pin, Presented, Reference};

/// Objects of the attestation key: attributes, fingerprints, date, touch policy, and its certificate.
const ATTESTATION_OBJECTS: [u16; 6] = [0xDA, 0xDB, 0xDC, 0xDD, 0xD9, 0xFC];

/// CLA, INS, P1 and P2, in bytes. Less does not reach a card: readers refuse it, and the virtual reader takes a single
/// byte for an order to itself.
const SHORTEST_COMMAND: usize = 4;

/// What harms the attestation key cannot be made good.
pub(super) const THE_ATTESTATION_KEY: Reason =
    Reason::CannotBeUndone { what: "the attestation key and its objects" };

pub(super) fn command(words: &mut Words) -> Result<Command, Reason> {
    let verb = words.word("verb")?;
    Ok(match verb.as_str() {
        "activate" => Command::Activate,
        "algorithm" => Command::Algorithm(slot(words)?, words.read("algorithm")?),
        "attest" => Command::Attest(slot(words)?),
        "authenticate" => Command::Authenticate(words.text()?.into_bytes()),
        "challenge" => Command::Challenge(words.length()?),
        "change" => {
            let password = if words.take("pw3") {
                Password::Pw3
            } else {
                words.expect("pw1")?;
                Password::Pw1
            };
            Command::Change { password, old: pin(words)?, new: new(words)? }
        }
        "code" => Command::Code(words.value()?),
        "decipher" => {
            let text = words.text()?.into_bytes();
            let slot = if words.take("for") { slot(words)? } else { Slot::Decryption };
            Command::Decipher { text, slot }
        }
        "generate" => Command::Generate(slot(words)?),
        "get" if words.take("next") => Command::GetNext(tag(words)?),
        "get" => Command::Get(tag(words)?),
        "import" => Command::Import(slot(words)?, words.read("algorithm")?),
        "kdf" if words.take("off") => Command::Kdf(false),
        "kdf" => {
            words.expect("on")?;
            Command::Kdf(true)
        }
        "public" => Command::Public(slot(words)?),
        "put" => {
            let tag = tag(words)?;
            if ATTESTATION_OBJECTS.contains(&tag) {
                return Err(THE_ATTESTATION_KEY);
            }
            Command::Put(tag, words.value()?)
        }
        "raw" => {
            let bytes = words.value()?;
            if bytes.len() < SHORTEST_COMMAND {
                return Err(Reason::Missing { what: "a header of four bytes" });
            }
            harmless(&bytes)?;
            Command::Raw(bytes)
        }
        "retries" => Command::Retries(three(words)?),
        "select" if words.take("data") => Command::SelectData(slot(words)?),
        "select" => Command::Select,
        "sign" => Command::Sign(words.text()?.into_bytes()),
        "terminate" => Command::Terminate,
        "uif" => {
            if words.take("attestation") {
                let policy = policy(words)?;
                // The factory reset of the suite sets others back to off.
                if matches!(policy, TouchPolicy::Fixed | TouchPolicy::CachedFixed) {
                    return Err(THE_ATTESTATION_KEY);
                }
                return Ok(Command::Uif(Slot::Attestation, policy));
            }
            Command::Uif(slot(words)?, policy(words)?)
        }
        "unblock" => {
            words.expect("by")?;
            if words.take("pw3") {
                Command::UnblockByPw3 { new: new(words)? }
            } else {
                words.expect("code")?;
                Command::UnblockByCode { code: pin(words)?, new: new(words)? }
            }
        }
        "verify" => {
            let reference = if words.take("pw1-sign") {
                Reference::Pw1Sign
            } else if words.take("pw3") {
                Reference::Pw3
            } else {
                words.expect("pw1")?;
                Reference::Pw1
            };
            Command::Verify(reference, presented(words)?)
        }
        "version" => Command::Version,
        _ => return Err(Reason::Unknown { what: "verb", word: verb }),
    })
}

/// Raw bytes could write what no reset brings back: what looks like it is refused.
fn harmless(bytes: &[u8]) -> Result<(), Reason> {
    let harmful = match bytes {
        [_, 0xDA, p1, p2, _, ..] => ATTESTATION_OBJECTS.contains(&u16::from_be_bytes([*p1, *p2])),
        // Import of a key, and making one: a reference to key 81 anywhere.
        [_, 0xDB | 0x47, ..] => bytes.windows(3).any(|window| window == [0x84, 0x01, 0x81]),
        _ => false,
    };
    if harmful { Err(THE_ATTESTATION_KEY) } else { Ok(()) }
}

fn presented(words: &mut Words) -> Result<Presented, Reason> {
    if words.take("status") {
        return Ok(Presented::Status);
    }
    if words.take("forget") {
        return Ok(Presented::Forget);
    }
    if words.take("right") {
        return Ok(Presented::Pin(Pin::Right));
    }
    if words.take("wrong") {
        return Ok(Presented::Pin(Pin::Wrong));
    }
    words.value().map(Presented::Bytes)
}

fn pin(words: &mut Words) -> Result<Pin, Reason> {
    if words.take("right") {
        return Ok(Pin::Right);
    }
    words.expect("wrong")?;
    Ok(Pin::Wrong)
}

fn new(words: &mut Words) -> Result<Vec<u8>, Reason> {
    words.expect("to")?;
    words.value()
}

pub(super) fn three<T: std::str::FromStr>(words: &mut Words) -> Result<[T; 3], Reason> {
    Ok([words.read("number")?, words.read("number")?, words.read("number")?])
}

fn tag(words: &mut Words) -> Result<u16, Reason> {
    let word = words.word("tag")?;
    parse_tag(&word).ok_or(Reason::Unknown { what: "tag", word })
}

pub(super) fn parse_tag(word: &str) -> Option<u16> {
    match *unhex(word)?.as_slice() {
        [tag] => Some(u16::from(tag)),
        [high, low] => Some(u16::from_be_bytes([high, low])),
        _ => None,
    }
}

/// One of the three keys that belong to the person.
pub(super) fn slot(words: &mut Words) -> Result<Slot, Reason> {
    let word = words.word("slot")?;
    match word.as_str() {
        "signature" => Ok(Slot::Signature),
        "decryption" => Ok(Slot::Decryption),
        "authentication" => Ok(Slot::Authentication),
        _ => Err(Reason::Unknown { what: "slot", word }),
    }
}

pub(super) fn policy(words: &mut Words) -> Result<TouchPolicy, Reason> {
    let word = words.word("touch policy")?;
    Ok(match word.as_str() {
        "off" => TouchPolicy::Off,
        "on" => TouchPolicy::On,
        "fixed" => TouchPolicy::Fixed,
        "cached" => TouchPolicy::Cached,
        "cached-fixed" => TouchPolicy::CachedFixed,
        _ => return Err(Reason::Unknown { what: "touch policy", word }),
    })
}
