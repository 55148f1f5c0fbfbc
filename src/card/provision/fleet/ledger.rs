//! `fleet.json`: whose each token is and how far it has come. Written before a token learns anything.

use std::fs::{DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::{Finished, Row, Trouble, folder};
use crate::card::error::CardError;
use crate::card::ident::Ident;
use crate::file;

const FILE: &str = "fleet.json";
const FORMAT: &str = "touchgate fleet v1";
/// A thousand people with long names and errors take half of it.
const MAX_FILE: u64 = 2 * 1024 * 1024;

/// Why a fleet ended before its last row.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// No reader can be looked into.
    #[error(transparent)]
    Card(#[from] CardError),
    /// A file could not be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It is not what such a file looks like.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
    },
    /// Others may write into the directory.
    #[error("{} can be changed by other users", path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
    },
    /// Another run has the directory.
    #[error("{} is in use by another run", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The table gives somebody another token than the one that is theirs.
    #[error("{name} has token {bound}, and line {line} of the table says {said}")]
    Bound {
        /// Who.
        name: String,
        /// Which token is theirs.
        bound: Ident,
        /// Where the table says otherwise.
        line: usize,
        /// What it says.
        said: Ident,
    },
    /// The table gives somebody a token that is somebody else's.
    #[error("token {serial} is {owner}'s, and line {line} of the table gives it to {name}")]
    Taken {
        /// Which token.
        serial: Ident,
        /// Whose it is.
        owner: String,
        /// Where the table says otherwise.
        line: usize,
        /// Who would get it.
        name: String,
    },
}

/// How far a row has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nobody plugged the token in.
    Absent,
    /// It was as it should be before.
    Already,
    /// Bound to a token, and not finished: the run was cut off.
    Begun,
    /// Provisioned.
    Done,
    /// It could not be done.
    Failed,
    /// Pulled half-way.
    Pulled,
    /// Several tokens could have been the one, and nobody said which.
    Several,
    /// Somebody stopped it.
    Stopped,
    /// Its turn has not come.
    Waiting,
}

impl State {
    /// Whether the token is as it should be.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Already | Self::Done)
    }

    /// Whether it only waits for its token.
    pub fn waits(self) -> bool {
        matches!(self, Self::Absent | Self::Waiting)
    }

    /// In a word or two.
    pub fn word(self) -> &'static str {
        match self {
            Self::Absent => "not there",
            Self::Already => "was provisioned",
            Self::Begun => "unfinished",
            Self::Done => "provisioned",
            Self::Failed => "FAILED",
            Self::Pulled => "PULLED half-way",
            Self::Several => "which token?",
            Self::Stopped => "stopped",
            Self::Waiting => "waiting",
        }
    }
}

/// One person and their token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Their name in trust.
    pub name: String,
    /// The user id in their certificate.
    pub user_id: String,
    /// Their token, once it is settled. Nobody else gets it.
    pub serial: Option<Ident>,
    /// How far it has come.
    pub state: State,
    /// Why it is not further, for machines.
    pub code: Option<String>,
    /// Why it is not further.
    pub message: Option<String>,
    /// Commands that changed something on it in the last run.
    pub writes: usize,
    /// The file that enrols it.
    pub enrolment: Option<PathBuf>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Book {
    format: String,
    people: Vec<Entry>,
}

/// The ledger of a fleet. While it is open no other process has it.
#[derive(Debug)]
pub struct Ledger {
    out: PathBuf,
    book: Book,
    _lock: File,
}

impl Ledger {
    /// Opens the ledger in `out`, which is made if it is not there.
    ///
    /// # Errors
    /// [`FleetError`] about the file.
    pub fn open(out: &Path) -> Result<Self, FleetError> {
        let failed = |error: io::Error| at(out, error);
        DirBuilder::new().recursive(true).mode(0o700).create(out).map_err(failed)?;
        let directory = File::open(out).map_err(failed)?;
        let found = directory.metadata().map_err(failed)?;
        if found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o022 != 0 {
            return Err(FleetError::Unsafe { path: out.to_owned() });
        }
        flock(&directory, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| FleetError::Locked { path: out.to_owned() })?;
        let path = out.join(FILE);
        let damaged = || FleetError::Damaged { path: path.clone() };
        let book = match File::open(&path) {
            Ok(file) => {
                let mut bytes = Vec::new();
                file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| at(&path, error))?;
                if bytes.len() as u64 > MAX_FILE {
                    return Err(damaged());
                }
                let book: Book = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
                if book.format != FORMAT {
                    return Err(damaged());
                }
                book
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Book { format: FORMAT.to_owned(), people: Vec::new() }
            }
            Err(error) => return Err(at(&path, error)),
        };
        Ok(Self { out: out.to_owned(), book, _lock: directory })
    }

    /// Where the folders of the tokens are.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// The file.
    pub fn file(&self) -> PathBuf {
        self.out.join(FILE)
    }

    /// What became of the rows of the table, in its order.
    pub fn entries<'a>(&'a self, rows: &'a [Row]) -> impl Iterator<Item = &'a Entry> {
        rows.iter().filter_map(|row| self.find(row))
    }

    fn find(&self, row: &Row) -> Option<&Entry> {
        let name = row.name.to_string();
        self.book.people.iter().find(|entry| entry.name == name)
    }

    pub(super) fn entry(&self, row: &Row) -> Result<&Entry, FleetError> {
        self.find(row).ok_or_else(|| FleetError::Damaged { path: self.file() })
    }

    /// Takes in everybody in the table. Who is in the ledger keeps their token.
    pub(super) fn admit(&mut self, rows: &[Row]) -> Result<(), FleetError> {
        for row in rows {
            let name = row.name.to_string();
            let owner = |serial: Ident| {
                self.book.people.iter().find(|entry| entry.serial == Some(serial) && entry.name != name)
            };
            if let Some((serial, owner)) = row.serial.and_then(|serial| Some((serial, owner(serial)?))) {
                let owner = owner.name.clone();
                return Err(FleetError::Taken { serial, owner, line: row.line, name });
            }
            match self.book.people.iter_mut().find(|entry| entry.name == name) {
                Some(entry) => {
                    if let (Some(bound), Some(said)) = (entry.serial, row.serial)
                        && bound != said
                    {
                        return Err(FleetError::Bound { name, bound, line: row.line, said });
                    }
                    entry.user_id.clone_from(&row.user_id);
                    if entry.serial.is_none() {
                        entry.state = State::Waiting;
                    }
                }
                None => self.book.people.push(Entry {
                    name,
                    user_id: row.user_id.clone(),
                    serial: None,
                    state: State::Waiting,
                    code: None,
                    message: None,
                    writes: 0,
                    enrolment: None,
                }),
            }
        }
        self.save()
    }

    /// Whether a token is somebody's.
    pub(super) fn is_bound(&self, ident: Ident) -> bool {
        self.book.people.iter().any(|entry| entry.serial == Some(ident))
    }

    /// Whether a token has a folder here in which nothing enrols it for this row: it was provisioned, or begun,
    /// for somebody else.
    pub(super) fn is_anothers(&self, ident: Ident, row: &Row) -> bool {
        let folder = folder(&self.out, ident);
        let known = ["provisioned.json", "pending.json"].iter().any(|name| folder.join(name).exists());
        known && !folder.join(format!("{}.enrol", row.name)).exists()
    }

    /// This token is theirs, from now on.
    pub(super) fn bind(&mut self, row: &Row, ident: Ident) -> Result<(), FleetError> {
        self.change(row, |entry| {
            entry.serial = Some(ident);
            entry.state = State::Begun;
            (entry.code, entry.message) = (None, None);
        })
    }

    pub(super) fn finish(&mut self, row: &Row, finished: &Finished) -> Result<(), FleetError> {
        self.change(row, |entry| {
            entry.state = if finished.already { State::Already } else { State::Done };
            (entry.code, entry.message) = (None, None);
            entry.writes = finished.writes;
            entry.enrolment.clone_from(&finished.enrolment);
        })
    }

    pub(super) fn note(
        &mut self,
        row: &Row,
        state: State,
        trouble: Option<&Trouble>,
    ) -> Result<(), FleetError> {
        self.change(row, |entry| {
            // A token that is not there today is no worse, and no better, than it was.
            if state != State::Absent || entry.state == State::Waiting {
                entry.state = state;
                entry.code = trouble.map(|trouble| trouble.code.clone());
                entry.message = trouble.map(|trouble| trouble.message.clone());
            }
        })
    }

    fn change(&mut self, row: &Row, change: impl FnOnce(&mut Entry)) -> Result<(), FleetError> {
        let name = row.name.to_string();
        if let Some(entry) = self.book.people.iter_mut().find(|entry| entry.name == name) {
            change(entry);
        }
        self.save()
    }

    /// Whole or not at all, and on the disk when this returns.
    fn save(&self) -> Result<(), FleetError> {
        let path = self.file();
        let written = || -> io::Result<()> {
            let mut bytes = serde_json::to_vec_pretty(&self.book)?;
            bytes.push(b'\n');
            file::replace_alone(&path, &bytes, 0o644)
        };
        written().map_err(|error| at(&path, error))
    }
}

fn at(path: &Path, error: io::Error) -> FleetError {
    FleetError::File { path: path.to_owned(), error }
}
