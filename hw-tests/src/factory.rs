//! Making a card as it left the factory, over the commands that every OpenPGP card has.
//!
//! Everything on it is lost: keys, PINs, certificates, data. The attestation key of a YubiKey stays, and its touch
//! policy is set to off.

use crate::apdu::{Apdu, Link, LinkError};
use crate::passwords::Passwords;
use crate::script::{Form, Password, Pin};

/// SELECT of the OpenPGP application, by the part of the AID that all cards share.
pub const SELECT: [u8; 11] = [0x00, 0xA4, 0x04, 0x00, 0x06, 0xD2, 0x76, 0x00, 0x01, 0x24, 0x01];

/// The most tries that SET PIN RETRIES can give.
const MOST_TRIES: u32 = 255;

/// Zeros as long as a password can be: as it is, or through a KDF with SHA-256 or SHA-512.
const WRONG: [&[u8]; 3] = [&[0; 8], &[0; 32], &[0; 64]];

/// A reset that went wrong.
#[derive(Debug, thiserror::Error)]
pub enum FactoryError {
    /// No answer came.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A command was refused.
    #[error("factory reset: {command} gave {status:04X}")]
    Refused {
        /// Which.
        command: &'static str,
        /// SW1-SW2.
        status: u16,
    },
}

/// Makes the card new.
///
/// # Source
/// OpenPGP card 3.4.1, sections 7.2.16 and 7.2.17: TERMINATE DF is possible once PW3 is blocked. ykman blocks PW1 too.
///
/// # Errors
/// [`FactoryError`] where the card does not become new; it may be terminated then.
pub fn reset(link: &mut Link) -> Result<(), FactoryError> {
    let selected = link.transmit(&SELECT)?.status;
    if selected != TERMINATED {
        expect("SELECT", selected)?;
        for p2 in [0x81, 0x83] {
            block(link, p2)?;
        }
        expect("TERMINATE DF", link.transmit(&[0x00, 0xE6, 0x00, 0x00])?.status)?;
    }
    expect("ACTIVATE FILE", link.transmit(&[0x00, 0x44, 0x00, 0x00])?.status)?;
    expect("SELECT", link.transmit(&SELECT)?.status)?;
    // A factory reset leaves the attestation key alone.
    let touch = link.send(Form::Usual, &Apdu::ask([0x00, 0xCA, 0x00, 0xD9], []))?;
    if let (0x9000, [1..=4, button]) = (touch.status, touch.data.as_slice()) {
        let pw3 = Passwords::default().presented(Password::Pw3, Pin::Right);
        let verify = Apdu::write([0x00, 0x20, 0x00, 0x83], pw3);
        expect("VERIFY", link.send(Form::Usual, &verify)?.status)?;
        let put = Apdu::write([0x00, 0xDA, 0x00, 0xD9], [0, *button]);
        expect("PUT DATA of D9", link.send(Form::Usual, &put)?.status)?;
    }
    Ok(())
}

fn block(link: &mut Link, p2: u8) -> Result<(), FactoryError> {
    let mut status = 0;
    for _ in 0..MOST_TRIES {
        for zeros in WRONG {
            status = link.send(Form::Usual, &Apdu::write([0x00, 0x20, 0x00, p2], zeros))?.status;
            // A password of that length is impossible, and no try was lost.
            if !matches!(status, 0x6700 | 0x6A80) {
                break;
            }
        }
        if matches!(status, 0x6983 | 0x63C0) {
            return Ok(());
        }
    }
    Err(FactoryError::Refused { command: "VERIFY until blocked", status })
}

fn expect(command: &'static str, status: u16) -> Result<(), FactoryError> {
    if status == 0x9000 { Ok(()) } else { Err(FactoryError::Refused { command, status }) }
}

/// The application is terminated.
const TERMINATED: u16 = 0x6285;
