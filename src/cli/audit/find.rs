//! Which entry is meant: by its place in the log, by the request that it is about, or by that one's short code.

use crate::audit::Entry;
use crate::challenge::RequestId;
use crate::cli::audit::{Log, entry};
use crate::cli::local;
use crate::cli::report::{Failure, printable};
use crate::store::{Position, Store as _};

/// Characters of a short code.
const CODE: usize = 5;

/// What was named.
pub(super) enum Named {
    /// One entry.
    Entry(u64),
    /// Everything about a request.
    Request(RequestId, Vec<Position>),
}

impl Log {
    /// Finds what is meant. A short code means the newest request of that code.
    ///
    /// # Errors
    /// If there is no such thing.
    pub(super) fn find(&self, name: &str) -> Result<Named, Failure> {
        let failed = |error| local::store_failed(&error);
        if let Ok(id) = name.parse::<RequestId>() {
            let positions = self.store.about(&id).map_err(failed)?;
            return if positions.is_empty() { Err(unknown(name)) } else { Ok(Named::Request(id, positions)) };
        }
        let upper = name.to_ascii_uppercase();
        if let Ok(index) = name.parse::<u64>()
            && name.len() != CODE
        {
            let size = self.store.checkpoint().map_err(failed)?.checkpoint().size;
            return if index < size { Ok(Named::Entry(index)) } else { Err(unknown(name)) };
        }
        if name.len() != CODE {
            return Err(unknown(name));
        }
        let mut found = None;
        self.read(0, |_, _, entry| {
            if let Entry::Asked { .. } = entry
                && let Some(id) = entry.request()
                && id.short_code() == upper
            {
                found = Some(id);
            }
            Ok(true)
        })?;
        match (found, name.parse::<u64>()) {
            (Some(id), _) => {
                let positions = self.store.about(&id).map_err(failed)?;
                Ok(Named::Request(id, positions))
            }
            (None, Ok(index)) if self.line(index).is_ok() => Ok(Named::Entry(index)),
            (None, _) => Err(unknown(name)),
        }
    }

    /// One line, and the entry that it is.
    ///
    /// # Errors
    /// If it is not there, or none.
    pub(super) fn line(&self, index: u64) -> Result<(String, Entry), Failure> {
        let lines = self.store.lines(index, 1).map_err(|error| local::store_failed(&error))?;
        let line = lines.into_iter().next().ok_or_else(|| unknown(&index.to_string()))?;
        let found = entry(index, &line)?;
        Ok((line, found))
    }
}

fn unknown(name: &str) -> Failure {
    Failure::failed("no-entry", format!("{} names no entry of the log", printable(name))).hint(
        "give an entry's number, a request, or its last five characters; `touchgate audit list` has them",
    )
}
