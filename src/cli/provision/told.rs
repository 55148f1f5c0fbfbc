//! What a plan and its end are told as.

use std::path::Path;

use serde_json::{Value, json};

use crate::card::provision::{Done, Plan, Survey, Vouched};
use crate::card::{Ident, KeySlot};
use crate::cli::report::{Outcome, Report, exit, printable};
use crate::unix_time::UnixTime;

pub(super) fn describe(plan: &Plan) -> String {
    let mut text = String::new();
    for planned in &plan.steps {
        text.push_str(&format!("  {}\n      because {}\n", planned.step, planned.why));
    }
    for note in &plan.notes {
        text.push_str(&format!("  note: {note}\n"));
    }
    for problem in &plan.problems {
        text.push_str(&format!("  NOT POSSIBLE: {problem}\n"));
    }
    for slot in &plan.erases {
        text.push_str(&format!("  ERASES the {slot} key that is there\n"));
    }
    text
}

fn fields(ident: Ident, plan: &Plan) -> [(&'static str, Value); 5] {
    let steps: Vec<Value> =
        plan.steps.iter().map(|it| json!({ "step": it.step.to_string(), "why": it.why })).collect();
    let erases: Vec<&str> = plan.erases.iter().map(|slot| slot.word()).collect();
    [
        ("serial", json!(ident.to_string())),
        ("steps", json!(steps)),
        ("problems", json!(plan.problems)),
        ("notes", json!(plan.notes)),
        ("erases", json!(erases)),
    ]
}

pub(super) fn check(ident: Ident, survey: &Survey) -> Outcome {
    let plan = &survey.plan;
    let text = if plan.is_done() {
        let when = survey.record.as_ref().and_then(|record| UnixTime::from_seconds(record.finished));
        let when = when.map_or(String::new(), |when| format!("; it proved that on {when}"));
        format!("token {ident} is as the profile says{when}\n")
    } else {
        format!("token {ident} differs from the profile:\n{}", describe(plan))
    };
    let mut report = Report::done(text).with("differs", !plan.is_done());
    report.exit = if plan.is_done() { exit::YES } else { exit::NO };
    Ok(fields(ident, plan).into_iter().fold(report, |report, (name, value)| report.with(name, value)))
}

pub(super) fn dry_run(ident: Ident, survey: &Survey) -> Outcome {
    let plan = &survey.plan;
    let resumes = if survey.resumes { ", going on where an earlier run was cut off" } else { "" };
    let text = if plan.is_done() {
        format!("token {ident} is as the profile says: nothing would change\n")
    } else {
        format!("token {ident} would change{resumes}:\n{}", describe(plan))
    };
    let mut report = Report::done(text);
    report.exit = if plan.problems.is_empty() { exit::YES } else { exit::FAILED };
    Ok(fields(ident, plan).into_iter().fold(report, |report, (name, value)| report.with(name, value)))
}

fn files_by_name(done: &Done) -> [(&'static str, Option<&Path>); 4] {
    let files = &done.files;
    [
        ("certificate", files.certificate.as_deref()),
        ("revocation", files.revocation.as_deref()),
        ("report", files.report.as_deref()),
        ("enrolment", files.enrolment.as_deref()),
    ]
}

pub(super) fn report(done: &Done, directory: &Path) -> Report {
    let ident = done.observed.ident;
    let mut text = if done.steps.is_empty() {
        format!("token {ident} is as the profile says; nothing was changed\n")
    } else {
        format!("token {ident} is as the profile says, and proved it ({} changes sent)\n", done.writes)
    };
    let mut keys = serde_json::Map::new();
    for slot in KeySlot::ALL {
        let state = done.observed.slot(slot);
        if let Some(key) = state.key(slot) {
            let fingerprint = key.fingerprint().to_hex();
            text.push_str(&format!("  {:<15}{fingerprint}, touch {}\n", slot.word(), state.touch.word()));
            keys.insert(slot.word().to_owned(), json!(fingerprint));
        }
    }
    let files = &done.files;
    for attested in &files.attested {
        text.push_str(&format!("  attested       {} key, {}\n", attested.slot, attested.vouched));
    }
    for (what, file) in files_by_name(done) {
        if let Some(file) = file {
            text.push_str(&format!("  {what:<15}{}\n", printable(&file.display().to_string())));
        }
    }
    if let Some(escrow) = &done.escrow {
        text.push_str(&format!("  escrowed       {}\n", escrow.display()));
    }
    text.push_str(&format!("  record         {}\n", directory.display()));
    let steps: Vec<String> = done.steps.iter().map(|planned| planned.step.to_string()).collect();
    let attested: Vec<Value> = files
        .attested
        .iter()
        .map(|it| {
            let file = match &it.vouched {
                Vouched::Yubico(name) => json!({ "yubico": name }),
                Vouched::Configured(name) => json!({ "configured": name }),
                Vouched::Nobody => Value::Null,
            };
            json!({ "slot": it.slot.word(), "root": file, "falls_short": it.short })
        })
        .collect();
    let report = Report::done(text).with("attested", attested);
    let report = files_by_name(done)
        .into_iter()
        .fold(report, |report, (what, file)| report.with(what, file.map(|file| file.display().to_string())));
    report
        .with("serial", ident.to_string())
        .with("steps", steps)
        .with("writes", done.writes)
        .with("keys", Value::Object(keys))
        .with("escrow", done.escrow.as_ref().map(|path| path.display().to_string()))
        .with("directory", directory.display().to_string())
}
