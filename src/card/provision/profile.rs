//! What a token is to be: the profile, as a TOML file or as the one that is built in.
//!
//! `docs/provisioning.md` opens with a complete example, which a test reads.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::algorithm::{KeyAlgorithm, KeySlot};
use super::wishes::{AttestationWish, CertificateWish};
use crate::card::info::Touch;
use crate::digest::Sha256Digest;

/// The most bytes of a profile. The example has two thousand.
pub const MAX_PROFILE: u64 = 64 * 1024;
/// Fewer tries would leave a proof no room: it spends one and keeps two.
pub const LEAST_TRIES: u8 = 3;
/// Yubico's tools take no more.
const MOST_TRIES: u8 = 99;
/// Certificates that secrets are encrypted to.
const MOST_RECIPIENTS: usize = 32;

/// What a token is to be. What it does not name is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Keys and their touch policies.
    #[serde(default)]
    pub keys: Keys,
    /// PINs and how they are guarded.
    #[serde(default)]
    pub pin: Pins,
    /// Who can read what nobody is shown.
    #[serde(default)]
    pub escrow: Escrow,
    /// Whose token it is.
    #[serde(default)]
    pub holder: Holder,
    /// The certificate that it makes of its keys; none without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateWish>,
    /// Whose attestations are believed; without, Yubico's, and one that leads nowhere is reported as such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attestation: Option<AttestationWish>,
    /// Of the file that it was read from.
    #[serde(skip)]
    source: Option<Sha256Digest>,
}

/// Keys by slot. A slot that is not named is left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// The key that approves.
    pub signature: Option<Wish<SIGNATURE>>,
    /// The key that decrypts.
    pub decryption: Option<Wish<DECRYPTION>>,
    /// The key that logs in.
    pub authentication: Option<Wish<AUTHENTICATION>>,
    /// The key that vouches for the others, which the maker put there.
    pub attestation: Option<AttestationKey>,
}

const SIGNATURE: u8 = 1;
const DECRYPTION: u8 = 2;
const AUTHENTICATION: u8 = 3;

/// What one slot is to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WishFile")]
pub struct Wish<const REFERENCE: u8>(pub KeyWish);

/// What a slot is to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyWish {
    /// The key's algorithm.
    pub algorithm: KeyAlgorithm,
    /// When it wants a touch.
    pub touch: Touch,
    /// A file with the key to import. Without, the key is made on the card and never leaves it.
    pub import: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WishFile {
    algorithm: KeyAlgorithm,
    touch: Option<Touch>,
    import: Option<PathBuf>,
}

impl<const REFERENCE: u8> TryFrom<WishFile> for Wish<REFERENCE> {
    type Error = String;

    fn try_from(file: WishFile) -> Result<Self, String> {
        let slot = match REFERENCE {
            SIGNATURE => KeySlot::Signature,
            DECRYPTION => KeySlot::Decryption,
            _ => KeySlot::Authentication,
        };
        if !file.algorithm.fits(slot) {
            let other = if slot == KeySlot::Decryption { "cv25519" } else { "ed25519" };
            return Err(format!("{} is no algorithm for the {slot} key; say {other}", file.algorithm));
        }
        let usual = if slot == KeySlot::Signature { Touch::Fixed } else { Touch::On };
        Ok(Self(KeyWish {
            algorithm: file.algorithm,
            touch: file.touch.unwrap_or(usual),
            import: file.import,
        }))
    }
}

/// The key that vouches for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttestationKey {
    /// When it wants a touch.
    pub touch: Touch,
}

/// PINs and how they are guarded. The admin PIN is always a random one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pins {
    /// Where the user PIN comes from.
    pub user: UserPin,
    /// Whether each signature needs the PIN anew.
    pub for_each_signature: bool,
    /// A random code that gives the user PIN new tries.
    pub resetting_code: ResettingCode,
    /// Tries before a PIN is blocked.
    pub tries: Option<Tries>,
    /// Whether the card gets a value derived from the PIN instead of the PIN (KDF object).
    pub kdf: Option<bool>,
}

impl Default for Pins {
    fn default() -> Self {
        Self {
            user: UserPin::Ask,
            for_each_signature: true,
            resetting_code: ResettingCode::None,
            tries: None,
            kdf: None,
        }
    }
}

/// Where the user PIN comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserPin {
    /// From the person at the terminal, or a pipe.
    Ask,
    /// Made here, shown once.
    Random,
}

/// Whether there is a resetting code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResettingCode {
    /// There is none, and one that is there goes.
    None,
    /// Made here.
    Random,
}

/// Tries before a PIN is blocked, 3 to 99 each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "TriesFile")]
pub struct Tries {
    /// Of the user PIN.
    pub user: u8,
    /// Of the resetting code.
    pub resetting_code: u8,
    /// Of the admin PIN.
    pub admin: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TriesFile {
    user: u8,
    resetting_code: u8,
    admin: u8,
}

impl TryFrom<TriesFile> for Tries {
    type Error = String;

    fn try_from(TriesFile { user, resetting_code, admin }: TriesFile) -> Result<Self, String> {
        for tries in [user, resetting_code, admin] {
            if !(LEAST_TRIES..=MOST_TRIES).contains(&tries) {
                return Err(format!("{tries} tries; expected {LEAST_TRIES} to {MOST_TRIES}"));
            }
        }
        Ok(Self { user, resetting_code, admin })
    }
}

impl Tries {
    /// In the card's order.
    pub fn wire(self) -> [u8; 3] {
        [self.user, self.resetting_code, self.admin]
    }
}

/// Who can read the admin PIN and the resetting code. With nobody named they are shown once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Escrow {
    /// Files with OpenPGP certificates, relative to the profile.
    #[serde(default)]
    pub to: Vec<PathBuf>,
}

/// Whose token it is. An empty text takes away what stands there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "HolderFile")]
pub struct Holder {
    /// Name, 39 bytes at most; blanks are stored as `<`.
    pub name: Option<String>,
    /// Login data, 254 bytes at most.
    pub login: Option<String>,
    /// Where the certificate is to be found, 254 bytes at most.
    pub url: Option<String>,
    /// Up to four languages of two letters, as in `deen`.
    pub language: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HolderFile {
    name: Option<String>,
    login: Option<String>,
    url: Option<String>,
    language: Option<String>,
}

impl TryFrom<HolderFile> for Holder {
    type Error = String;

    fn try_from(HolderFile { name, login, url, language }: HolderFile) -> Result<Self, String> {
        for (what, text, most) in
            [("name", &name, 39), ("login", &login, 254), ("url", &url, 254), ("language", &language, 8)]
        {
            let Some(text) = text else { continue };
            if text.len() > most || text.bytes().any(|byte| !(0x20..0x7f).contains(&byte)) {
                return Err(format!("{what}: expected at most {most} bytes of printable ASCII"));
            }
        }
        let wrong =
            |text: &String| !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_lowercase());
        if language.as_ref().is_some_and(wrong) {
            return Err("language: expected words of two small letters, as in `en` or `deen`".to_owned());
        }
        Ok(Self { name, login, url, language })
    }
}

/// A profile that cannot be used: where and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}:{column}: {why}", file.display())]
pub struct ProfileError {
    /// The file.
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub why: String,
}

impl Profile {
    /// The profile for when none is given: keys made on the card, signatures only with a touch that cannot be
    /// switched off, the PIN asked for each of them.
    pub fn recommended() -> Self {
        let wish = |algorithm, touch| KeyWish { algorithm, touch, import: None };
        Self {
            keys: Keys {
                signature: Some(Wish(wish(KeyAlgorithm::Ed25519, Touch::Fixed))),
                decryption: Some(Wish(wish(KeyAlgorithm::Cv25519, Touch::On))),
                authentication: Some(Wish(wish(KeyAlgorithm::Ed25519, Touch::On))),
                attestation: None,
            },
            pin: Pins::default(),
            escrow: Escrow::default(),
            holder: Holder::default(),
            certificate: None,
            attestation: None,
            source: None,
        }
    }

    /// Reads a profile. `file` is for messages, and what relative paths are relative to.
    ///
    /// # Errors
    /// [`ProfileError`] with line and column.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ProfileError> {
        let wrong = |at: usize, why: String| {
            let before = text.get(..at).unwrap_or(text);
            let line = before.matches('\n').count() + 1;
            let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            ProfileError { file: file.to_owned(), line, column, why }
        };
        let mut profile: Self = toml::from_str(text).map_err(|error| {
            wrong(error.span().map_or(0, |span| span.start), error.message().replace('\n', " "))
        })?;
        if profile.escrow.to.len() > MOST_RECIPIENTS {
            return Err(wrong(0, format!("more than {MOST_RECIPIENTS} certificates to escrow to")));
        }
        profile.source = Some(Sha256Digest::of(text.as_bytes()));
        let base = file.parent().unwrap_or(Path::new(""));
        profile.certificate.iter_mut().for_each(|wish| wish.relative_to(base));
        profile.attestation.iter_mut().for_each(|wish| wish.relative_to(base));
        profile.escrow.to.iter_mut().for_each(|path| *path = base.join(&path));
        let Keys { signature, decryption, authentication, .. } = &mut profile.keys;
        let imports = [
            signature.as_mut().and_then(|wish| wish.0.import.as_mut()),
            decryption.as_mut().and_then(|wish| wish.0.import.as_mut()),
            authentication.as_mut().and_then(|wish| wish.0.import.as_mut()),
        ];
        for path in imports.into_iter().flatten() {
            *path = base.join(&path);
        }
        Ok(profile)
    }

    /// What a slot is to hold, if the profile says.
    pub fn wish(&self, slot: KeySlot) -> Option<&KeyWish> {
        match slot {
            KeySlot::Signature => self.keys.signature.as_ref().map(|wish| &wish.0),
            KeySlot::Decryption => self.keys.decryption.as_ref().map(|wish| &wish.0),
            KeySlot::Authentication => self.keys.authentication.as_ref().map(|wish| &wish.0),
        }
    }

    /// The slots that the profile names, in the card's order.
    pub fn wishes(&self) -> impl Iterator<Item = (KeySlot, &KeyWish)> {
        KeySlot::ALL.into_iter().filter_map(|slot| Some((slot, self.wish(slot)?)))
    }

    /// What an enrolment names it by: the digest of its file, or of the built-in one's own account.
    pub fn file_digest(&self) -> Sha256Digest {
        self.source.unwrap_or_else(|| self.digest())
    }

    /// What tells this profile from any other.
    pub fn digest(&self) -> Sha256Digest {
        // Plain data with text keys: there is nothing in it that JSON could not say.
        Sha256Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Profile, ProfileError> {
        Profile::parse(text, Path::new("team/token.toml"))
    }

    #[test]
    fn an_empty_profile_asks_for_pins_alone() {
        let profile = parse("").unwrap();
        assert_eq!(profile.wishes().count(), 0);
        assert!(profile.pin.for_each_signature);
    }

    #[test]
    fn a_signature_key_gets_a_touch_that_stays() {
        let profile = parse(
            "[keys]\nsignature = { algorithm = \"p256\" }\ndecryption = { algorithm = \"cv25519\", import = \"k.asc\" }\n\
             [escrow]\nto = [\"a.asc\"]\n",
        )
        .unwrap();
        assert_eq!(profile.wish(KeySlot::Signature).unwrap().touch, Touch::Fixed);
        let decryption = profile.wish(KeySlot::Decryption).unwrap();
        assert_eq!((decryption.touch, decryption.import.clone()), (Touch::On, Some("team/k.asc".into())));
        assert_eq!(profile.escrow.to, [PathBuf::from("team/a.asc")]);
        assert_ne!(profile.digest(), Profile::recommended().digest());
    }

    #[test]
    fn the_example_in_the_documentation_is_read() {
        let page = include_str!("../../../docs/provisioning.md");
        let (_, rest) = page.split_once("```toml\n").unwrap();
        let (example, _) = rest.split_once("```").unwrap();
        let profile = parse(example).unwrap();
        assert_eq!(profile.wishes().count(), KeySlot::ALL.len());
        assert_eq!(profile.pin.tries.map(Tries::wire), Some([5; 3]));
        assert!(profile.keys.attestation.is_some() && profile.holder.language.is_some());
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, line, column, why) in [
            ("[pin]\nusr = 1\n", 2, 1, "unknown field"),
            ("[pin]\nuser = \"none\"\n", 2, 8, "unknown variant"),
            ("[keys]\nsignature = { algorithm = \"cv25519\" }\n", 2, 13, "say ed25519"),
            ("[keys]\ndecryption = { algorithm = \"ed25519\" }\n", 2, 14, "say cv25519"),
            ("[pin]\ntries = { user = 2, resetting_code = 3, admin = 3 }\n", 2, 9, "expected 3 to 99"),
            ("[pin]\ntries = { user = 3, resetting_code = 3 }\n", 2, 9, "missing field"),
            ("[holder]\nname = \"\u{e9}\"\n", 1, 1, "printable ASCII"),
            ("[holder]\nlanguage = \"eng\"\n", 1, 1, "two small letters"),
            ("[pin]\nuser = \n", 2, 8, ""),
            ("\u{e9}", 1, 2, ""),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!((error.line, error.column), (line, column), "{error}");
            assert!(error.why.contains(why), "{error}");
            assert!(error.to_string().starts_with("team/token.toml:"), "{error}");
        }
    }
}
