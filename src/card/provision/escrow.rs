//! Secrets that nobody is shown: encrypted to the certificates that the profile names.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::SystemTime;

use sequoia_openpgp::Cert;
use sequoia_openpgp::parse::Parse as _;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::serialize::stream::{Armorer, Encryptor, LiteralWriter, Message};
use zeroize::Zeroizing;

use super::ProvisionError;
use super::pins::Secret;
use crate::card::ident::Ident;
use crate::unix_time::UnixTime;

/// The most bytes of a file with one certificate.
const MAX_CERTIFICATE: u64 = 1024 * 1024;

/// Reads the certificates, and sees now that something can be encrypted to each of them.
pub(super) fn recipients(files: &[PathBuf]) -> Result<Vec<Cert>, ProvisionError> {
    let mut certificates = Vec::with_capacity(files.len());
    for file in files {
        let failed = |why: String| ProvisionError::Escrow { file: Some(file.clone()), why };
        let length = std::fs::metadata(file).map_err(|error| failed(error.to_string()))?.len();
        if length > MAX_CERTIFICATE {
            return Err(failed(format!("longer than {MAX_CERTIFICATE} bytes")));
        }
        let certificate = Cert::from_file(file).map_err(|error| failed(error.to_string()))?;
        seal(std::slice::from_ref(&certificate), b"").map_err(|error| match error {
            ProvisionError::Escrow { why, .. } => failed(why),
            other => other,
        })?;
        certificates.push(certificate);
    }
    Ok(certificates)
}

/// The file that tells admin PIN and resetting code to whoever has one of the keys.
pub(super) fn escrowed(
    recipients: &[Cert],
    ident: Ident,
    made: UnixTime,
    admin: Option<&Secret>,
    code: Option<&Secret>,
) -> Result<Vec<u8>, ProvisionError> {
    let mut text = Zeroizing::new(String::with_capacity(512));
    text.push_str(&format!("serial = \"{ident}\"\nmade = \"{made}\"\n"));
    for (name, secret) in [("admin_pin", admin), ("resetting_code", code)] {
        if let Some(secret) = secret {
            // Our own alphabet: nothing in it needs quoting.
            for part in [name, " = \"", secret.text(), "\"\n"] {
                text.push_str(part);
            }
        }
    }
    seal(recipients, text.as_bytes())
}

/// Encrypts to every recipient; ASCII armor.
pub(super) fn seal(recipients: &[Cert], text: &[u8]) -> Result<Vec<u8>, ProvisionError> {
    let failed = |why: String| ProvisionError::Escrow { file: None, why };
    let policy = StandardPolicy::new();
    let mut keys = Vec::new();
    for certificate in recipients {
        let before = keys.len();
        keys.extend(
            certificate
                .keys()
                .with_policy(&policy, SystemTime::now())
                .supported()
                .alive()
                .revoked(false)
                .for_storage_encryption()
                .for_transport_encryption(),
        );
        if keys.len() == before {
            return Err(failed(format!(
                "{} has no key that could be encrypted to now",
                certificate.fingerprint()
            )));
        }
    }
    let mut sealed = Vec::new();
    let wrote = (|| {
        let message = Armorer::new(Message::new(&mut sealed)).build()?;
        let message = Encryptor::for_recipients(message, keys).build()?;
        let mut message = LiteralWriter::new(message).build()?;
        message.write_all(text)?;
        message.finalize()
    })();
    wrote.map_err(|error| failed(io::Error::other(error).to_string()))?;
    Ok(sealed)
}
