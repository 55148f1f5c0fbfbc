//! What is shown while answers are awaited: a few lines whenever something changed, and one that counts down.
//!
//! ```text
//! HJ5C9 waits
//!   approved  bob (token 1002, attested)
//!   needed    1 more, from release
//!   can       carol, dave
//!   cannot    alice asked for it; erin holds no token
//! HJ5C9: 14 min 3 s left; Enter: approve with a token here, Ctrl-C: stop
//! ```
//!
//! Only the last line is rewritten, and only on a terminal: nothing moves the cursor up, so no resize can make one
//! line overwrite another.

use std::fmt::Write as _;

use crate::cli::prompt::Terminal;
use crate::cli::report::printable;
use crate::cli::work::{Desk, in_words};
use crate::unix_time::UnixTime;

/// The most names in one line.
const MAX_NAMES: usize = 8;

/// How far a request has come, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// By which people name it.
    pub(super) code: String,
    /// Who approved.
    pub(super) approved: Vec<String>,
    /// What is missing.
    pub(super) needed: String,
    /// Who could help.
    pub(super) can: Vec<String>,
    /// Who could not, and why.
    pub(super) cannot: Vec<String>,
}

/// What was shown.
#[derive(Debug, Default)]
pub(super) struct View {
    shown: Option<Standing>,
    line: String,
}

impl View {
    /// Shows how far it has come, if that is news.
    pub(super) fn changed(&mut self, desk: &Desk, standing: &Standing) {
        if self.shown.as_ref() != Some(standing) {
            desk.show(&text(standing));
            self.shown = Some(standing.clone());
        }
    }

    /// The line that stands below while somebody may press Enter.
    pub(super) fn waiting(&mut self, terminal: &Terminal, expires: UnixTime) -> String {
        self.line = self.countdown(expires, terminal.width());
        self.line.clone()
    }

    /// Writes that line again, if it says something else by now.
    pub(super) fn tick(&mut self, terminal: &Terminal, expires: UnixTime) {
        let line = self.countdown(expires, terminal.width());
        if line != self.line {
            // Over what was there; a line that was longer leaves nothing behind.
            let rest = self.line.chars().count().saturating_sub(line.chars().count());
            terminal.say(&format!("\r{line}{}{}", " ".repeat(rest), "\u{8}".repeat(rest)));
            self.line = line;
        }
    }

    /// Shorter than the terminal is wide, so that it never wraps.
    fn countdown(&self, expires: UnixTime, width: usize) -> String {
        let code = self.shown.as_ref().map_or("", |standing| &standing.code);
        let left = in_words(expires.since(UnixTime::now()));
        let line = format!("{code}: {left} left; Enter: approve with a token here, Ctrl-C: stop ");
        line.chars().take(width.saturating_sub(1)).collect()
    }
}

impl Standing {
    /// Who could help and who could not, a line each.
    pub(super) fn who(&self) -> String {
        lines(&[("can", &self.can, ", "), ("cannot", &self.cannot, "; ")])
    }
}

fn text(standing: &Standing) -> String {
    let needed = vec![standing.needed.clone()];
    let come = lines(&[("approved", &standing.approved, ", "), ("needed", &needed, ", ")]);
    format!("{} waits\n{come}{}", standing.code, standing.who())
}

fn lines(lists: &[(&str, &Vec<String>, &str)]) -> String {
    let mut text = String::new();
    for (name, list, between) in lists {
        if let Some(line) = names(list, between) {
            let _ = writeln!(text, "  {name:<9} {line}");
        }
    }
    text
}

fn names(list: &[String], between: &str) -> Option<String> {
    let shown: Vec<String> = list.iter().take(MAX_NAMES).map(|name| printable(name)).collect();
    let more = list.len().saturating_sub(MAX_NAMES);
    match (shown.join(between), more) {
        (line, _) if line.is_empty() => None,
        (line, 0) => Some(line),
        (line, more) => Some(format!("{line} and {more} more")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_counted() {
        let standing = Standing {
            code: "HJ5C9".into(),
            approved: vec!["bob (token 1002, attested)".into()],
            needed: "1 more, from \u{1b}[2Jrelease".into(),
            can: (0..10).map(|n| format!("p{n}")).collect(),
            cannot: vec!["alice asked for it".into(), "eve\n holds no token".into()],
        };
        assert_eq!(
            text(&standing),
            "HJ5C9 waits\n  approved  bob (token 1002, attested)\n  needed    1 more, from \\u{1b}[2Jrelease\n  \
             can       p0, p1, p2, p3, p4, p5, p6, p7 and 2 more\n  \
             cannot    alice asked for it; eve\\u{a} holds no token\n"
        );
    }

    #[test]
    fn the_last_line_never_wraps() {
        let view = View::default();
        let later = UnixTime::now().plus(std::time::Duration::from_secs(3600));
        for width in [0, 1, 2, 20, 80, 200] {
            assert!(view.countdown(later, width).chars().count() < width.max(1));
        }
    }
}
