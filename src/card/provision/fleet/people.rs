//! Who gets a token: a table as CSV.
//!
//! ```text
//! name,user_id,email,serial
//! alice,Alice Example,alice@example.org,12345678
//! bob,"Bob ""Bobby"" Example <bob@example.org>",,
//! ```
//!
//! Strict, so that no row is taken for another: quotes only around whole fields, as many fields as the first
//! line has, no name and no number twice.
//!
//! # Source
//! RFC 4180, with LF or CRLF.

use std::collections::BTreeSet;

use crate::card::certificate::is_user_id;
use crate::card::ident::Ident;
use crate::enrolment::possession::Name;

/// The most bytes of such a table: a thousand people with long names take half of it.
pub const MAX_PEOPLE: usize = 512 * 1024;
/// The most people.
pub const MOST_PEOPLE: usize = 1000;
/// The most bytes of a field: twice a user id.
const MAX_FIELD: usize = 512;

/// Somebody who gets a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where they stand in the table, from 1.
    pub line: usize,
    /// Their name in trust.
    pub name: Name,
    /// The user id in their certificate.
    pub user_id: String,
    /// The token that is theirs, if that is settled.
    pub serial: Option<Ident>,
}

/// What is wrong with a table, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct PeopleError {
    /// From 1.
    pub line: usize,
    /// What is wrong there.
    pub why: String,
}

/// The columns, by name.
const COLUMNS: [&str; 4] = ["name", "user_id", "email", "serial"];

fn wrong(line: usize, why: impl Into<String>) -> PeopleError {
    PeopleError { line, why: why.into() }
}

/// Reads a table.
///
/// # Errors
/// The first thing wrong, with its line.
pub fn read(text: &str) -> Result<Vec<Row>, PeopleError> {
    if text.len() > MAX_PEOPLE {
        return Err(wrong(1, "the table is too long"));
    }
    // What spreadsheets put in front of UTF-8.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut records = Records { rest: text, line: 1 };
    let header = records.next().unwrap_or_else(|| Err(wrong(1, "there is no line with the columns")))?;
    let column = |wanted: &str| header.fields.iter().position(|name| name == wanted);
    for (at, name) in header.fields.iter().enumerate() {
        if !COLUMNS.contains(&name.as_str()) {
            return Err(wrong(
                header.line,
                format!("no column is called {name:?}; expected {}", COLUMNS.join(", ")),
            ));
        }
        if column(name) != Some(at) {
            return Err(wrong(header.line, format!("two columns are called {name:?}")));
        }
    }
    let (Some(name_at), Some(user_id_at)) = (column("name"), column("user_id")) else {
        return Err(wrong(header.line, "the columns `name` and `user_id` have to be there"));
    };
    let (mut rows, mut names, mut serials) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for record in records {
        let Record { line, fields } = record?;
        if fields.len() != header.fields.len() {
            let (found, expected) = (fields.len(), header.fields.len());
            return Err(wrong(line, format!("{found} fields where the first line has {expected}")));
        }
        let field =
            |at: Option<usize>| at.and_then(|at| fields.get(at)).map(|text| text.trim()).unwrap_or_default();
        let name: Name = field(Some(name_at)).parse().map_err(|error| wrong(line, format!("{error}")))?;
        if !names.insert(name.to_string()) {
            return Err(wrong(line, format!("{name} stands there twice")));
        }
        let user_id = match (field(Some(user_id_at)), field(column("email"))) {
            (user_id, "") => user_id.to_owned(),
            ("", email) => email.to_owned(),
            (user_id, email) if user_id.contains(['<', '>']) || email.contains(['<', '>']) => {
                return Err(wrong(line, format!("{name} has two addresses: leave `email` empty")));
            }
            (user_id, email) => format!("{user_id} <{email}>"),
        };
        if !is_user_id(&user_id) {
            return Err(wrong(
                line,
                format!("{name} has no user id of 1 to 256 bytes without control characters"),
            ));
        }
        let serial = match field(column("serial")) {
            "" => None,
            text => {
                let ident: Ident =
                    text.parse().map_err(|_| wrong(line, format!("{text:?} is no number of a token")))?;
                if !serials.insert(ident) {
                    return Err(wrong(line, format!("token {ident} stands there twice")));
                }
                Some(ident)
            }
        };
        if rows.len() == MOST_PEOPLE {
            return Err(wrong(line, format!("more than {MOST_PEOPLE} people")));
        }
        rows.push(Row { line, name, user_id, serial });
    }
    if rows.is_empty() { Err(wrong(header.line, "there is nobody in the table")) } else { Ok(rows) }
}

struct Record {
    line: usize,
    fields: Vec<String>,
}

struct Records<'a> {
    rest: &'a str,
    line: usize,
}

impl Iterator for Records<'_> {
    type Item = Result<Record, PeopleError>;

    fn next(&mut self) -> Option<Self::Item> {
        // Empty lines are the editor's.
        while let Some(rest) = self.rest.strip_prefix("\r\n").or_else(|| self.rest.strip_prefix('\n')) {
            (self.rest, self.line) = (rest, self.line + 1);
        }
        if self.rest.is_empty() {
            return None;
        }
        let line = self.line;
        let record = self.record();
        if record.is_err() {
            self.rest = "";
        }
        Some(record.map(|fields| Record { line, fields }).map_err(|why| PeopleError { line, why }))
    }
}

impl Records<'_> {
    fn record(&mut self) -> Result<Vec<String>, String> {
        let mut fields = Vec::new();
        loop {
            let (field, last) = self.field()?;
            if field.len() > MAX_FIELD {
                return Err(format!("a field of more than {MAX_FIELD} bytes"));
            }
            fields.push(field);
            if last {
                return Ok(fields);
            }
            if fields.len() == COLUMNS.len() {
                return Err(format!("more than {} fields", COLUMNS.len()));
            }
        }
    }

    /// One field, and whether it ends the record.
    fn field(&mut self) -> Result<(String, bool), &'static str> {
        let mut field = String::new();
        let mut rest = self.rest;
        if let Some(mut inside) = rest.strip_prefix('"') {
            loop {
                let (text, after) = inside.split_once('"').ok_or("a quote is not closed")?;
                if text.contains(['\n', '\r']) {
                    return Err("a field goes over several lines");
                }
                field.push_str(text);
                match after.strip_prefix('"') {
                    Some(more) => {
                        field.push('"');
                        inside = more;
                    }
                    None => {
                        rest = after;
                        break;
                    }
                }
            }
            if !rest.is_empty() && !rest.starts_with([',', '\n', '\r']) {
                return Err("something stands after a closing quote");
            }
        } else {
            let end = rest.find([',', '\n', '\r']).unwrap_or(rest.len());
            let (text, after) = rest.split_at(end);
            if text.contains('"') {
                return Err("a quote within a field that does not begin with one");
            }
            field.push_str(text);
            rest = after;
        }
        if let Some(after) = rest.strip_prefix(',') {
            self.rest = after;
            return Ok((field, false));
        }
        match rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')) {
            Some(after) => (self.rest, self.line) = (after, self.line + 1),
            None if rest.is_empty() => self.rest = rest,
            None => return Err("a carriage return without a line feed"),
        }
        Ok((field, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_whatever_the_order_of_its_columns() {
        let text = "\u{feff}serial,name,email,user_id\r\n12345678,alice,alice@example.org,Alice Example\r\n\
                    ,bob,,\"Bob \"\"Bobby\"\", the Example <bob@example.org>\"\r\n\r\n";
        let rows = read(text).unwrap();
        assert_eq!(rows.len(), 2);
        let (alice, bob) = (rows.first().unwrap(), rows.last().unwrap());
        assert_eq!((alice.line, alice.user_id.as_str()), (2, "Alice Example <alice@example.org>"));
        assert_eq!(alice.serial, Some("12345678".parse().unwrap()));
        assert_eq!((bob.line, bob.user_id.as_str()), (3, "Bob \"Bobby\", the Example <bob@example.org>"));
        assert_eq!(bob.serial, None);
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_much(text in "(name|user_id|serial|,|\"|\n|\r|a|1|<|\u{e9}){0,60}") {
            let _ = read(&text);
            let _ = read(&format!("name,user_id,serial\n{text}"));
        }

        #[test]
        fn a_quoted_user_id_comes_back(user_id in "[!-~][ -~]{0,60}[!-~]") {
            let quoted = user_id.replace('"', "\"\"");
            let rows = read(&format!("name,user_id\nalice,\"{quoted}\"\n")).unwrap();
            proptest::prop_assert_eq!(&rows.first().unwrap().user_id, &user_id);
        }
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, line, why) in [
            ("", 1, "no line"),
            ("name,user_id\n", 1, "nobody"),
            ("name\nalice\n", 1, "have to be there"),
            ("name,user_id,nick\n", 1, "no column"),
            ("name,user_id,name\n", 1, "two columns"),
            ("name,user_id\nalice,A\nalice,B\n", 3, "twice"),
            ("name,user_id,serial\nalice,A,1\nbob,B,00000001\n", 3, "twice"),
            ("name,user_id,serial\nalice,A,x\n", 2, "no number"),
            ("name,user_id\nAlice,A\n", 2, "a-z"),
            ("name,user_id\nalice\n", 2, "1 fields"),
            ("name,user_id\nalice,\n", 2, "no user id"),
            ("name,user_id\nalice,\"A\nB\"\n", 2, "several lines"),
            ("name,user_id\nalice,\"A\n", 2, "not closed"),
            ("name,user_id\nalice,\"A\"B\n", 2, "after a closing quote"),
            ("name,user_id\nalice,A\"B\n", 2, "within a field"),
            ("name,user_id\nalice,A\rbob,B\n", 2, "carriage return"),
            ("name,user_id,email\nalice,A <a@b>,a@b\n", 2, "two addresses"),
            ("name,user_id\na,b,c,d,e,f,g\n", 2, "more than 4 fields"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.line, line, "{text:?}: {error}");
            assert!(error.why.contains(why), "{text:?}: {error}");
        }
        let long = format!("name,user_id\nalice,{}\n", "A".repeat(MAX_FIELD + 1));
        assert!(read(&long).unwrap_err().why.contains("more than 512 bytes"));
        let many: String = (0..=MOST_PEOPLE).map(|at| format!("p{at},P\n")).collect();
        assert!(read(&format!("name,user_id\n{many}")).unwrap_err().why.contains("more than 1000 people"));
    }
}
