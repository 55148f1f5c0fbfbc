//! What somebody asks to do: action, resource, parameters, who asks and why.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::digest::{Sha256Digest, lower_hex};
use crate::text::{Text, TextError};

/// The most bytes in an action or a resource.
pub const MAX_PATH: usize = 128;
/// The most bytes in an identity: the longest workload names of CI systems are half of it.
pub const MAX_IDENTITY: usize = 256;
/// The most bytes in a parameter's name.
pub const MAX_PARAMETER_NAME: usize = 32;

/// A name in a statement that breaks its grammar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not {kind}")]
pub struct NameError {
    /// What was expected, as a phrase with its rule.
    pub kind: &'static str,
    /// What stood there.
    pub found: String,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// As it is written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    return Ok(Self(text.to_owned()));
                }
                let found = text.chars().take($crate::request::MAX_IDENTITY).collect();
                Err(NameError { kind: $kind, found })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        $crate::wire::as_text!($name);
    };
}
pub(crate) use name;

name! {
    /// What is to be done: `deploy`, `touchgate.trust.update`.
    Action, "an action (segments of a-z 0-9 . _ - that begin with a letter or digit, joined by /, at most 128 bytes)", is_path
}
name! {
    /// What it is to be done to: `payments/prod`.
    Resource, "a resource (segments of a-z 0-9 . _ - that begin with a letter or digit, joined by /, at most 128 bytes)", is_path
}
name! {
    /// A parameter's name, without the `param.` before it: `commit`, `image`.
    ParameterName, "a parameter's name (a letter, then a-z 0-9 _ -, at most 32 bytes)", is_parameter_name
}
name! {
    /// Who asks, qualified by who says so: `github:alice`, `os:alice@build1`.
    Identity, "an identity (issuer:subject, as in github:alice, at most 256 bytes)", is_identity
}

fn is_path(text: &str) -> bool {
    let inner = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    text.len() <= MAX_PATH
        && text.split('/').all(|segment| {
            segment.bytes().all(inner) && segment.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        })
}

fn is_parameter_name(text: &str) -> bool {
    let inner = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    text.len() <= MAX_PARAMETER_NAME
        && text.bytes().all(inner)
        && text.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
}

fn is_identity(text: &str) -> bool {
    let Some((issuer, subject)) = text.split_once(':') else { return false };
    text.len() <= MAX_IDENTITY
        && is_parameter_name(issuer)
        && !subject.is_empty()
        && subject.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
}

impl Identity {
    /// The part before the first colon: who vouches for the name.
    pub fn issuer(&self) -> &str {
        self.0.split_once(':').map_or("", |(issuer, _)| issuer)
    }
}

/// The named facts bound into a statement, sorted by name.
pub type Parameters = BTreeMap<ParameterName, Text>;

/// Whether a parameter's value names something that cannot change afterwards:
/// `sha256:` and 64 hexadecimal digits, or `git:` and 40 or 64.
pub fn is_immutable(value: &Text) -> bool {
    let value = value.as_str();
    let git = value.strip_prefix("git:").and_then(lower_hex);
    value.parse::<Sha256Digest>().is_ok() || git.is_some_and(|id| matches!(id.len(), 20 | 32))
}

/// What somebody asks for, before a verifier has made a challenge of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is to be done.
    pub action: Action,
    /// To what.
    pub resource: Resource,
    /// The facts that are approved with it.
    pub parameters: Parameters,
    /// Who asks.
    pub requester: Identity,
    /// The workload that asks for them.
    pub via: Option<Identity>,
    /// RFC 7638 thumbprint of the key that the grant will be bound to.
    pub requester_key: Option<Sha256Digest>,
    /// Why.
    pub reason: Option<Text>,
    /// Under which of the rules.
    pub mode: Mode,
}

/// Which of the two rules that a resource may have is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The emergency rule: loud in the log, and a debt until two others have countersigned.
    BreakGlass,
    /// The rule for every day; the statement has no mode line then.
    #[default]
    Ordinary,
}

#[cfg(test)]
impl Request {
    /// One with no more in it than there must be.
    pub(crate) fn plain(action: &str, resource: &str, requester: &str) -> Self {
        Self {
            action: action.parse().unwrap(),
            resource: resource.parse().unwrap(),
            parameters: Parameters::new(),
            requester: requester.parse().unwrap(),
            via: None,
            requester_key: None,
            reason: None,
            mode: Mode::Ordinary,
        }
    }
}

/// A command line as one value: POSIX quoting that no two command lines share, or above
/// [`crate::text::MAX_VALUE`] bytes (and for arguments that are not UTF-8) `sha256:` over the NUL-terminated arguments.
///
/// # Errors
/// [`TextError::Empty`] for no argument at all.
pub fn command_value<A: AsRef<[u8]>>(argv: &[A]) -> Result<Text, TextError> {
    let words: Option<Vec<&str>> = argv.iter().map(|a| std::str::from_utf8(a.as_ref()).ok()).collect();
    let quoted = words.map(|words| {
        let quoted = words.iter().enumerate().map(|(at, word)| quote(word, at == 0));
        quoted.collect::<Vec<_>>().join(" ")
    });
    match quoted.map(Text::new) {
        Some(Err(TextError::Empty)) => Err(TextError::Empty),
        Some(Ok(text)) => Ok(text),
        _ => {
            let parts: Vec<&[u8]> = argv.iter().flat_map(|a| [a.as_ref(), b"\0"]).collect();
            Text::new(Sha256Digest::of_parts(&parts).to_string())
        }
    }
}

/// One shell word: bare if every byte is safe, else in single quotes, a single quote as `'"'"'`.
///
/// The colon is not safe, so no quoted command can look like the digest of another. In the first word the
/// equals sign is not either, or a program of that name would look like a variable that is set for the next.
fn quote(word: &str, first: bool) -> String {
    let safe = |b: u8| {
        b.is_ascii_alphanumeric()
            || matches!(b, b'_' | b'-' | b'.' | b'/' | b'@' | b'%' | b'+' | b',')
            || b == b'=' && !first
    };
    if !word.is_empty() && word.bytes().all(safe) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r#"'"'"'"#))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    #[test]
    fn names_keep_their_grammar() {
        let long = "a".repeat(128);
        for good in ["deploy", "payments/prod", "touchgate.trust.update", "0/a-_.b", &long] {
            assert!(good.parse::<Action>().is_ok(), "{good}");
        }
        let too_long = "a".repeat(129);
        for bad in
            ["", "/", "a/", "/a", "a//b", "A", "a b", ".", "..", "a/..", "a/.b", "-a", "_a", "é", &too_long]
        {
            assert!(bad.parse::<Resource>().is_err(), "{bad}");
        }
        for good in
            ["github:alice", "os:alice@build1", "github:repo/acme/payments/ref/refs/heads/main", "o:a:b"]
        {
            assert!(good.parse::<Identity>().is_ok(), "{good}");
        }
        for bad in ["alice", ":alice", "github:", "GitHub:alice", "os:al ice", "os:a\\b", "os:\u{e9}", "1:a"]
        {
            assert!(bad.parse::<Identity>().is_err(), "{bad}");
        }
        for bad in ["", "1a", "A", "a.b", "_a", &"a".repeat(33)] {
            assert!(bad.parse::<ParameterName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn immutable_values_are_digests_and_commits() {
        let (forty, sixty_four) = ("a".repeat(40), "0".repeat(64));
        let good = [format!("git:{forty}"), format!("git:{sixty_four}"), format!("sha256:{sixty_four}")];
        assert!(good.iter().all(|v| is_immutable(&Text::new(v.as_str()).unwrap())));
        let bad = [
            "main".into(),
            format!("git:{}", "a".repeat(41)),
            format!("sha256:{forty}"),
            format!("git:{}", "A".repeat(40)),
        ];
        assert!(!bad.iter().any(|v| is_immutable(&Text::new(v.as_str()).unwrap())));
    }

    #[test]
    fn long_and_unprintable_commands_become_digests() {
        assert_eq!(
            command_value(&["./deploy.sh", "--region", "eu"]).unwrap().as_str(),
            "./deploy.sh --region eu"
        );
        assert_eq!(command_value(&["a b", "", "it's"]).unwrap().as_str(), r#"'a b' '' 'it'"'"'s'"#);
        assert_eq!(command_value(&["A=b", "C=d"]).unwrap().as_str(), "'A=b' C=d");
        let digest = Sha256Digest::of(b"\xff\0x\0").to_string();
        assert_eq!(command_value(&[&b"\xff"[..], b"x"]).unwrap().as_str(), digest);
        assert_eq!(command_value(&[digest.as_str()]).unwrap().as_str(), format!("'{digest}'"));
        assert!(command_value(&["x".repeat(513)]).unwrap().as_str().starts_with("sha256:"));
        assert_eq!(command_value::<&str>(&[]), Err(TextError::Empty));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// A real shell reads back the very arguments.
        #[test]
        fn a_shell_reads_the_same_words(argv in prop::collection::vec("[^\0]{0,12}", 1..5)) {
            let text = command_value(&argv).unwrap();
            if !text.as_str().starts_with("sha256:") {
                let script = format!("printf '%s\\0' {}", text.as_str());
                let output = Command::new("sh").args(["-c", &script]).output().unwrap();
                let expected: Vec<u8> = argv.iter().flat_map(|a| [a.as_bytes(), b"\0"].concat()).collect();
                prop_assert_eq!(output.stdout, expected);
            }
        }
    }
}
