//! Evidence: judged by pins alone, with whatever else is held against it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::audit::LogProof;
use crate::audit::entry;
use crate::challenge::TrustVersion;
use crate::cli::Common;
use crate::cli::pinned::{self, Pin};
use crate::cli::place;
use crate::cli::read_input;
use crate::cli::report::{Failure, Outcome, Report, Verdict, exit, printable};
use crate::cli::verify::{Arguments, unpack, words};
use crate::evidence::{Against, Evidence, EvidenceError, MAX_EVIDENCE, Time, judge};
use crate::request::Mode;
use crate::statement::Decision;
use crate::trust::Trust;
use crate::trust::chain;
use crate::trust::debt::Debt;
use crate::trust::quorum::Circumstances;
use crate::unix_time::UnixTime;
use crate::{evidence, verify};

/// The most files that are read of a directory of updates.
const MAX_UPDATES: usize = 10_000;
/// The most bytes in the log's proof: an entry, a checkpoint and a few hashes.
const MAX_LOG_PROOF: usize = 256 << 10;

/// Whether a file is evidence, by how it begins. Nothing else that is judged is JSON.
pub(super) fn is(bytes: &[u8]) -> bool {
    bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

/// What evidence is held against.
pub(super) struct Held<'a> {
    pins: Vec<Pin>,
    /// Signed updates by the version that they go on from.
    updates: BTreeMap<u64, Vec<Evidence>>,
    next: Option<LogProof>,
    newest: Option<Trust>,
    /// Decisions among the files that left debts.
    broken: Vec<Evidence>,
    unpack: Option<&'a Path>,
    now: UnixTime,
}

impl<'a> Held<'a> {
    pub(super) fn new(
        common: &Common,
        arguments: &'a Arguments,
        files: &[(&Path, Vec<u8>)],
    ) -> Result<Self, Failure> {
        let pins = place::pins()?;
        if pins.is_empty() && !common.unpinned {
            return Err(Failure::failed("no-trust-pin", "nothing says which trust to believe").hint(
                "pin the version whose digest you have from its administrators: `touchgate trust pin 'N sha256:…'`; or pass --unpinned for this once",
            ));
        }
        let all: Vec<Evidence> = files.iter().filter_map(|(_, bytes)| Evidence::parse(bytes).ok()).collect();
        let newest = all.iter().map(|one| one.trust.version.number).max();
        let mut held = Self {
            pins,
            updates: BTreeMap::new(),
            next: None,
            newest: None,
            broken: all
                .iter()
                .filter(|one| one.challenge.request.mode == Mode::BreakGlass)
                .cloned()
                .collect(),
            unpack: arguments.unpack.as_deref(),
            now: UnixTime::now(),
        };
        // What is judged may itself lead to what else is judged.
        all.into_iter().for_each(|one| held.add_update(one));
        for path in &arguments.updates {
            held.read_updates(path)?;
        }
        // The way on from a pin also lies beside the trust that is here, if any is.
        let ahead = held.pins.iter().any(|pin| newest > Some(pin.version.number));
        if let Some(versions) = pinned::directory(common.trust.as_deref()).ok().filter(|_| ahead) {
            let versions = versions.join("versions");
            if versions.is_dir() {
                held.read_updates(&versions)?;
            }
        }
        if let Some(path) = &arguments.next {
            let bytes = read_input(path, MAX_LOG_PROOF)?;
            let bad = |error: serde_json::Error| {
                Failure::failed("log-proof", format!("{}: {error}", path.display()))
                    .hint("give the log's proof as `touchgate audit prove` wrote it")
            };
            held.next = Some(serde_json::from_slice(&bytes).map_err(bad)?);
        }
        if arguments.later {
            held.newest = Some(place::trust(common.trust.as_deref(), common.unpinned)?.trust);
        }
        Ok(held)
    }

    fn add_update(&mut self, update: Evidence) {
        if update.after.is_some() {
            self.updates.entry(update.trust.version.number).or_default().push(update);
        }
    }

    /// A file, or every N.json of a directory.
    fn read_updates(&mut self, path: &Path) -> Result<(), Failure> {
        let unreadable = |error| place::unreadable(path, &error);
        let mut paths = Vec::new();
        if path.is_dir() {
            for entry in fs::read_dir(path).map_err(unreadable)?.take(MAX_UPDATES) {
                let entry = entry.map_err(unreadable)?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let number =
                    name.strip_suffix(".json").filter(|stem| stem.bytes().all(|b| b.is_ascii_digit()));
                // Not what a symbolic link names: a directory of trust holds none.
                if number.is_some() && entry.file_type().map_err(unreadable)?.is_file() {
                    paths.push(entry.path());
                }
            }
        } else {
            paths.push(path.to_owned());
        }
        for path in paths {
            let bytes = read_input(&path, MAX_EVIDENCE)?;
            let update =
                Evidence::parse(&bytes).map_err(|error| rejected(&error, &path.display().to_string()))?;
            self.add_update(update);
        }
        Ok(())
    }

    /// Judges one file.
    pub(super) fn judge(&self, path: &Path, bytes: &[u8]) -> Outcome {
        let name = printable(&path.display().to_string());
        let evidence = Evidence::parse(bytes).map_err(|error| rejected(&error, &name))?;
        if let Some(directory) = self.unpack {
            unpack::unpack(&evidence, directory)?;
        }
        let debts = self.debts(&evidence);
        let pinned = self.check_pins(&evidence, &name)?;
        let against = Against {
            pin: evidence.trust.version,
            next: self.next.as_ref(),
            newest: self.newest.as_ref(),
            circumstances: Circumstances { debts: &debts, ..Circumstances::default() },
        };
        let verdict = judge(&evidence, &against, self.now).map_err(|error| rejected(&error, &name))?;
        let report = report(&name, &evidence, &verdict, pinned);
        Ok(match self.unpack {
            Some(directory) => report.with("unpacked", directory.display().to_string()),
            None => report,
        })
    }

    /// Sees that every pin leads to the version that evidence was decided under; says whether there is one.
    fn check_pins(&self, evidence: &Evidence, name: &str) -> Result<bool, Failure> {
        let found = evidence.trust.version;
        for Pin { version, path } in &self.pins {
            let reached = self.follow(*version, found.number, name)?;
            if reached != found {
                let error = EvidenceError::OtherVersion { found, pinned: reached };
                return Err(rejected(&error, name).fact("pin", path.display().to_string()));
            }
        }
        Ok(!self.pins.is_empty())
    }

    /// Follows signed updates from a pin as far as that version, or as far as they lead.
    fn follow(&self, pin: TrustVersion, number: u64, name: &str) -> Result<TrustVersion, Failure> {
        let mut last = pin;
        while last.number < number {
            let updates = self.updates.get(&last.number).into_iter().flatten();
            let Some(next) = updates.into_iter().find(|update| update.trust.version == last) else { break };
            last = *chain::judge(&last, next, self.now)
                .map_err(|error| rejected(&EvidenceError::Update(Box::new(error)), name))?
                .to();
        }
        Ok(last)
    }

    /// The debts that evidence of a countersignature settles, if what left them is among the files and holds.
    fn debts(&self, evidence: &Evidence) -> Vec<Debt> {
        let request = &evidence.challenge.request;
        let debt = |broken: &Evidence| {
            let verdict = judge(broken, &Against::pin(broken.trust.version), self.now).ok()?;
            self.check_pins(broken, "").ok()?;
            let signers = verdict.answers.iter().map(|answer| answer.person().to_owned());
            Debt::new(broken.challenge.clone(), signers).filter(|debt| debt.is_settled_by(request))
        };
        if crate::trust::debt::is_countersign(request) {
            self.broken.iter().filter_map(debt).collect()
        } else {
            Vec::new()
        }
    }
}

/// Why evidence shows nothing, with the next step.
fn rejected(error: &EvidenceError, name: &str) -> Failure {
    let code = error.code();
    let failure = Failure::failed(code, format!("{name}: {error}"));
    // What cannot be told here is no answer about the evidence.
    let unknown = matches!(error, EvidenceError::OtherVersion { .. });
    let failure = match unknown {
        true => failure,
        false => Failure { verdict: Verdict::Rejected, exit: exit::NO, ..failure },
    };
    let failure = match error {
        EvidenceError::OtherVersion { found, pinned } => {
            failure.fact("pinned", pinned.to_string()).fact("decided", found.to_string())
        }
        _ => failure,
    };
    match code {
        "pin-older" => failure.hint("give the signed updates in between: --updates trust/versions"),
        "pin-newer" => failure.hint(
            "a pin never goes back by itself: where older decisions are audited, pin that version by the digest that its administrators kept (`touchgate trust pin`)",
        ),
        "trust-pin-differs" => failure.hint("it was decided under other trust than the one that is believed here; ask the administrators which is theirs"),
        "evidence-malformed" | "evidence-too-large" | "evidence-too-many" => {
            failure.hint("fetch the file again, whole and unchanged")
        }
        "quorum-not-met" if matches!(error, EvidenceError::NotMet(crate::trust::quorum::NotMet::NotAdmitted(crate::trust::NotAdmitted::NoDebt { .. }))) => {
            failure.hint("give the evidence of the break-glass request along with it")
        }
        "undecided" => failure.hint("wait until it is decided; what is collected so far shows nothing"),
        _ => failure.hint("do not act on it: it is not what was decided"),
    }
}

/// What was found, and what could not be.
fn report(name: &str, evidence: &Evidence, found: &evidence::Verdict, pinned: bool) -> Report {
    let request = &evidence.challenge.request;
    let (verdict, word, exit) = match found.outcome {
        entry::Outcome::Approved => (Verdict::Approved, "approved", exit::YES),
        _ => (Verdict::Refused, "refused", exit::NO),
    };
    let mut text = format!(
        "{word}: {name}: {} on {}, for {}\n  decided  {}, {}\n  evidence {} ({})\n",
        request.action,
        request.resource,
        request.requester,
        found.at,
        on_whose_word(&found.time),
        found.tier,
        found.tier.acr()
    );
    for answer in &found.answers {
        text.push_str(&format!("  {}\n", said(answer)));
    }
    for later in &found.later {
        text.push_str(&format!("  since then: {}\n", printable(&later.to_string())));
    }
    let list = |words: Vec<&str>| words.join("\n    ");
    let checked = found.checked.iter().map(|checked| words::checked(*checked));
    let unchecked = found.unchecked.iter().map(|unchecked| words::unchecked(*unchecked));
    text.push_str(&format!("  checked:\n    {}\n", list(checked.collect())));
    text.push_str(&format!("  not checked:\n    {}\n", list(unchecked.collect())));
    if !pinned {
        text.push_str("  not pinned: the trust is whatever the file says\n");
    }
    let report = Report { exit, ..Report::decided(verdict, text) };
    let report = if verdict == Verdict::Refused { report.with("code", "refused") } else { report };
    let people = found.answers.iter().map(|answer| {
        json!({
            "person": answer.person(),
            "decision": answer.decision().word(),
            "serial": answer.serial(),
            "key": answer.key().to_hex(),
            "acr": answer.tier().acr(),
            "signed_at": answer.signed_at(),
        })
    });
    let time = match &found.time {
        Time::OnItsWord => json!({ "word": "verifier" }),
        Time::Witnessed { at, by } => json!({ "word": "witness", "by": by, "seen_at": at }),
    };
    let later = found.later.iter().map(|later| {
        json!({ "person": later.person, "key": later.key, "trust": later.version, "code": later.what.code() })
    });
    let codes = |codes: Vec<&str>| json!(codes);
    report
        .with("file", name)
        .with("request", evidence.challenge.id.to_string())
        .with("action", request.action.to_string())
        .with("resource", request.resource.to_string())
        .with("requester", request.requester.to_string())
        .with("trust", evidence.trust.version.to_string())
        .with("decided_at", found.at.to_string())
        .with("time", time)
        .with("acr", found.tier.acr())
        .with("answers", people.collect::<Vec<_>>())
        .with("digest", found.digest.to_string())
        .with("log_index", found.receipt.as_ref().map(crate::audit::Receipt::index))
        .with("later", later.collect::<Vec<_>>())
        .with("checked", codes(found.checked.iter().map(|checked| checked.code()).collect()))
        .with("unchecked", codes(found.unchecked.iter().map(|unchecked| unchecked.code()).collect()))
        .with("pinned", pinned)
}

fn on_whose_word(time: &Time) -> String {
    match time {
        Time::OnItsWord => "on the verifier's word".into(),
        Time::Witnessed { at, by } => format!("seen by {} at {at}", printable(by)),
    }
}

fn said(answer: &verify::Answer) -> String {
    let (word, because) = match answer.decision() {
        Decision::Approve => ("approved", None),
        Decision::Refuse { because } => ("refused", because.as_ref()),
    };
    let because = because.map(|because| format!(": {because}")).unwrap_or_default();
    let (person, key, serial) = (answer.person(), answer.key().to_hex(), answer.serial());
    format!("{word} by {person}, {} by key {key} on token {serial}{because}", answer.signed_at())
}
