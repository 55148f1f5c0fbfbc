//! The parts of evidence as plain files, for tools that know nothing of it: gpg, openssl, sha256sum.

use std::fs;
use std::path::Path;

use crate::audit::note::Note;
use crate::cli::place::{unwritable, write_new};
use crate::cli::report::Failure;
use crate::evidence::{Carried, Evidence};
use crate::response::armored;
use crate::trust::is_path;

/// Writes the parts to `directory`, which must not exist: nothing is ever overwritten.
///
/// # Errors
/// If it exists or cannot be written, or if a file of trust has no such file's name.
pub(super) fn unpack(evidence: &Evidence, directory: &Path) -> Result<(), Failure> {
    let parts = parts(evidence)?;
    make(directory)?;
    for (name, bytes) in parts {
        let path = directory.join(&name);
        // Every name is made here, or was seen to be one of a file of trust: below the directory, without dots.
        if let Some(parent) = path.parent().filter(|parent| !parent.is_dir()) {
            fs::create_dir_all(parent).map_err(|error| unwritable(parent, &error))?;
        }
        write_new(&path, &bytes).map_err(|error| unwritable(&path, &error))?;
    }
    Ok(())
}

fn make(directory: &Path) -> Result<(), Failure> {
    fs::create_dir(directory).map_err(|error| unwritable(directory, &error))
}

/// Names below the directory, and what goes there.
fn parts(evidence: &Evidence) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut parts: Vec<(String, Vec<u8>)> = vec![("challenge".into(), evidence.challenge.to_text().into())];
    for (at, answer) in evidence.answers().iter().enumerate() {
        let (name, response) = (format!("answers/{}", at + 1), answer.response());
        parts.push((format!("{name}.asc"), armored(&response.signature).into()));
        parts.push((name.clone(), response.statement));
        parts.extend(answer.counter().map(|pem| (format!("{name}.counter.pem"), pem.into())));
    }
    carried("trust", &evidence.trust, &mut parts)?;
    if let Some(after) = &evidence.after {
        carried("after", after, &mut parts)?;
    }
    if let Some(decision) = evidence.decision {
        let outcome = serde_json::to_value(decision.outcome).ok();
        let word = outcome.as_ref().and_then(|word| word.as_str()).unwrap_or_default();
        parts.push(("decision".into(), format!("{word} {}\n", decision.at).into()));
    }
    parts.push(("digest".into(), format!("{}\n", hex(&evidence.digest())).into()));
    if let Some(grant) = &evidence.grant {
        parts.push(("grant.json".into(), format!("{}\n", serde_json::Value::Object(grant.clone())).into()));
    }
    if let Some(log) = &evidence.log {
        let text =
            Note::parse(log.checkpoint.as_bytes()).map(|note| note.text().to_owned()).unwrap_or_default();
        parts.push(("log/entry".into(), log.entry.clone().into()));
        parts.push(("log/index".into(), format!("{}\n", log.index).into()));
        parts.push(("log/proof".into(), lines(&log.proof.0).into()));
        parts.push(("log/checkpoint".into(), text.into()));
        parts.push(("log/checkpoint.note".into(), log.checkpoint.clone().into()));
    }
    Ok(parts)
}

/// The files of one version, and what proves each: where its line stands, how many there are, the hashes on the way.
fn carried(folder: &str, carried: &Carried, parts: &mut Vec<(String, Vec<u8>)>) -> Result<(), Failure> {
    parts.push((format!("{folder}.version"), format!("{}\n", carried.version).into()));
    for file in &carried.files {
        if !is_path(&file.path) {
            let message = format!("{:?} is not the name of a file of trust", file.path);
            return Err(
                Failure::failed("file-not-proved", message).hint("do not act on it: somebody made it up")
            );
        }
        let proof = format!("{} {}\n{}", file.index, carried.size, lines(&file.proof));
        parts.push((format!("{folder}/{}", file.path), file.bytes.clone()));
        parts.push((format!("{folder}.proofs/{}", file.path), proof.into()));
    }
    Ok(())
}

fn lines(hashes: &[crate::digest::Sha256Digest]) -> String {
    hashes.iter().map(|hash| hex(hash) + "\n").collect()
}

/// As sha256sum writes it.
fn hex(hash: &crate::digest::Sha256Digest) -> String {
    hash.to_string().trim_start_matches("sha256:").to_owned()
}
