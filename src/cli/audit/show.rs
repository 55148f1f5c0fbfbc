//! `audit show`: one entry, or everything about one request.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::Common;
use crate::cli::audit::Log;
use crate::cli::audit::find::Named;
use crate::cli::report::{Failure, Outcome, Report, printable};

const EXAMPLE: &str = "\
Example:
  touchgate audit show 17          one entry, by its number
  touchgate audit show HJ5C9       everything about a request";

// Arguments of `audit show`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(in crate::cli) struct Arguments {
    /// An entry's number, a request, or its last five characters
    #[arg(value_name = "ENTRY|REQUEST")]
    name: String,
}

/// Prints it.
pub(super) fn show(common: &Common, arguments: &Arguments) -> Outcome {
    let log = Log::open(common)?;
    let indices = match log.find(&arguments.name)? {
        Named::Entry(index) => vec![index],
        Named::Request(_, positions) => positions.into_iter().map(|position| position.0).collect(),
    };
    let mut text = String::new();
    let mut entries = Vec::new();
    for index in indices {
        let (_, entry) = log.line(index)?;
        let value = serde_json::to_value(&entry)
            .map_err(|error| Failure::failed("log-entry", format!("entry {index}: {error}")))?;
        text.push_str(&page(index, &value));
        entries.push(json!({ "index": index, "entry": value }));
    }
    Ok(Report::done(text).with("entries", entries))
}

/// A member a line; texts of several lines below their name.
fn page(index: u64, entry: &Value) -> String {
    let mut page = format!("entry {index}\n");
    let Some(members) = entry.as_object() else { return page };
    for (name, value) in members {
        let text = match value {
            Value::String(text) => text.trim_end().to_owned(),
            Value::Object(_) | Value::Array(_) => serde_json::to_string_pretty(value).unwrap_or_default(),
            other => other.to_string(),
        };
        match text.lines().collect::<Vec<_>>().as_slice() {
            [one] => page.push_str(&format!("  {name:<11} {}\n", printable(one))),
            lines => {
                page.push_str(&format!("  {name}\n"));
                lines.iter().for_each(|line| page.push_str(&format!("    {}\n", printable(line))));
            }
        }
    }
    page
}
