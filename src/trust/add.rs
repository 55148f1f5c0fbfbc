//! Takes tokens into a directory of trust: edits people's files without losing what stands in them.
//!
//! Files go in, files come out; nothing is written here, and nothing comes out that does not load as a whole.

use sequoia_openpgp::Fingerprint;
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value, value};

use crate::enrolment::possession::Name;
use crate::request::Identity;
use crate::trust::{Files, Trust, TrustError};

/// One token, and whose it is. That its holder has it was seen before: [`crate::enrolment::Enrolment::verify`].
#[derive(Clone, Debug)]
pub struct Addition {
    /// Whose it is: the name of their file.
    pub person: Name,
    /// As printed on it, or maker:serial.
    pub serial: String,
    /// The key on it that signs.
    pub key: Fingerprint,
    /// Its certificate, armored.
    pub certificate: String,
    /// What it attests, in PEM with all that leads to the root, if that is to be kept.
    pub attestation: Option<String>,
    /// Whether an administrator says that this key needs a touch.
    pub declared: bool,
}

/// What a person is to have beside their tokens.
#[derive(Clone, Debug)]
pub struct Membership {
    /// Whose file.
    pub person: Name,
    /// Groups that they are to belong to.
    pub groups: Vec<String>,
    /// Names under which they may ask.
    pub identities: Vec<Identity>,
}

/// Why nothing was taken in.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// Somebody holds that token already.
    #[error("token {serial} is {holder}'s already")]
    Held {
        /// Which.
        serial: String,
        /// Whose.
        holder: String,
    },
    /// A person's file has another shape than it can be edited in.
    #[error("{path}: {what}")]
    Shape {
        /// Below the directory.
        path: String,
        /// What is in the way.
        what: &'static str,
    },
    /// The result would be no trust: a key, an identity or a serial twice, a certificate that is none.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

impl AddError {
    /// The stable name of this error, explained in `docs/trust.md`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Held { .. } => "held",
            Self::Shape { .. } => "malformed",
            Self::Trust(error) => error.code(),
        }
    }
}

/// The files with these tokens and memberships in them, and the trust that they make.
///
/// # Errors
/// Any [`AddError`]; also if the files were no trust before.
pub fn add(
    files: &Files,
    additions: &[Addition],
    memberships: &[Membership],
) -> Result<(Files, Trust), AddError> {
    let before = Trust::from_files(files)?;
    let mut after = files.clone();
    for addition in additions {
        let Addition { serial, .. } = addition;
        let mut people = before.roster.people().iter();
        if let Some(holder) = people.find(|person| person.tokens.iter().any(|token| token.serial == *serial))
        {
            return Err(AddError::Held { serial: serial.clone(), holder: holder.name.clone() });
        }
        let stem = format!("tokens/{}", serial.replace(':', "-"));
        after.insert(format!("{stem}.asc"), addition.certificate.clone().into_bytes());
        if let Some(attestation) = &addition.attestation {
            after.insert(format!("{stem}.attestation.pem"), attestation.clone().into_bytes());
        }
        edit(&mut after, &addition.person, |person| token(person, addition))?;
    }
    for Membership { person, groups, identities } in memberships {
        edit(&mut after, person, |document| {
            extend(document, "groups", groups.iter().map(String::as_str))?;
            extend(document, "identities", identities.iter().map(Identity::as_str))
        })?;
    }
    let trust = Trust::from_files(&after)?;
    Ok((after, trust))
}

/// Changes a person's file, which is made if there is none.
fn edit(
    files: &mut Files,
    person: &Name,
    change: impl FnOnce(&mut DocumentMut) -> Result<(), &'static str>,
) -> Result<(), AddError> {
    let path = format!("people/{person}.toml");
    let shape = |what| AddError::Shape { path: path.clone(), what };
    let mut document = match files.get(&path) {
        None => {
            let mut document = DocumentMut::new();
            document.insert("groups", value(Array::new()));
            document.insert("identities", value(Array::new()));
            document
        }
        Some(bytes) => {
            let text = std::str::from_utf8(bytes).map_err(|_| shape("not UTF-8"))?;
            text.parse().map_err(|_| shape("not TOML"))?
        }
    };
    change(&mut document).map_err(shape)?;
    files.insert(path, document.to_string().into_bytes());
    Ok(())
}

/// Adds what is not in the list yet.
fn extend<'a>(
    document: &mut DocumentMut,
    key: &str,
    words: impl Iterator<Item = &'a str>,
) -> Result<(), &'static str> {
    let item = document.entry(key).or_insert_with(|| value(Array::new()));
    let list = item.as_array_mut().ok_or("groups and identities are lists")?;
    for word in words {
        if !list.iter().any(|there| there.as_str() == Some(word)) {
            list.push(word);
        }
    }
    Ok(())
}

/// Adds a token in the form that the others have.
fn token(document: &mut DocumentMut, addition: &Addition) -> Result<(), &'static str> {
    let key = addition.key.to_hex();
    let mut lines = vec![("serial", addition.serial.as_str()), ("key", key.as_str())];
    if addition.declared {
        lines.push(("touch", "declared"));
    }
    let tokens = document.entry("token").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    match tokens {
        Item::ArrayOfTables(tables) => {
            let mut table = Table::new();
            for (name, text) in lines {
                table.insert(name, value(text));
            }
            tables.push(table);
        }
        Item::Value(Value::Array(list)) => {
            let mut table = InlineTable::new();
            for (name, text) in lines {
                table.insert(name, text.into());
            }
            list.push(Value::InlineTable(table));
        }
        _ => return Err("token is a list of tables"),
    }
    Ok(())
}
