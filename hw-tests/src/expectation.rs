//! Whether an answer is the one that a script expects.

use crate::apdu::Response;
use crate::runner::{Why, hex};
use crate::script::{Answer, Data};
use crate::tlv::find_path;

/// Status first, then data.
pub(crate) fn check_answer(response: &Response, answer: &Answer) -> Result<(), Why> {
    if !answer.status.is_met_by(response.status) {
        return Err(Why::Status { found: response.status, expected: answer.status.to_string() });
    }
    let data = response.data.as_slice();
    let (met, expected) = match &answer.data {
        Data::Any => (true, String::new()),
        Data::Exactly(value) => (data == value, hex(value)),
        Data::Has(path, value) => {
            // The outermost tag may be there or not.
            let inner = path.get(1..).filter(|rest| !rest.is_empty());
            let found = find_path(data, path).or_else(|| inner.and_then(|rest| find_path(data, rest)));
            let met = match value {
                Some(value) => found == Some(value.as_slice()),
                None => found.is_some(),
            };
            let path: Vec<String> = path.iter().map(|tag| format!("{tag:02X}")).collect();
            (met, format!("{} {}", path.join("/"), value.as_deref().map(hex).unwrap_or_default()))
        }
        Data::Length(length) => (data.len() == *length, format!("{length} bytes")),
        Data::Starts(value) => (data.starts_with(value), format!("{}…", hex(value))),
    };
    if met { Ok(()) } else { Err(Why::Data { found: hex(data), expected }) }
}
