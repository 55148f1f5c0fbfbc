//! What a YubiKey says about a key that was made on it, and whether that is to be believed.
//!
//! ```text
//! Yubico's root → (published intermediates) → the token's certificate → the attestation
//! compiled in      untrusted input            untrusted input           untrusted input
//! ```
//!
//! Pure: bytes, roots and a time go in, an [`Attestation`] or the reason against it comes out. An attestation
//! carries no challenge, so it never says when it was made; what it says about a touch stays true only where
//! nothing but a new key could change it.
//!
//! # Source
//! Yubico, "OpenPGP Attestation" (developers.yubico.com/PGP/Attestation.html) and "OpenPGP Attestation OID Arc"
//! (docs.yubico.com/hardware/oid/oid-pgp-arc.html).

mod evidence;
mod file;
mod firmware;
mod key;
mod path;
mod reason;
mod roots;
mod statement;

pub use evidence::Shortfall;
pub use file::{MAX_CERTIFICATE, MAX_CERTIFICATES, MAX_FILE, read_certificates, write_pem};
pub use firmware::{FLOORS, Firmware, Floor, floor};
pub use key::{Curve, PublicKey};
pub(crate) use path::{Anchor, verify_under};
pub use path::{Attestation, verify};
pub use reason::AttestationError;
pub use roots::{ConfiguredRoot, Root, YubicoRoot};
pub use statement::{FormFactor, OwnerWritable, Source, Statement};
