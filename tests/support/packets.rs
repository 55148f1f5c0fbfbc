//! Signature packets put together byte by byte: also those that no sane library makes.

use sequoia_openpgp as openpgp;

use openpgp::Fingerprint;
use openpgp::crypto::{KeyPair, Signer as _, mpi};
use openpgp::types::{HashAlgorithm, PublicKeyAlgorithm};

/// What a signature says about itself, and how it is put together.
#[derive(Clone)]
pub(crate) struct Recipe {
    pub(crate) version: u8,
    pub(crate) typ: u8,
    /// The algorithm that is written; the key's own unless a case says otherwise.
    pub(crate) algorithm: u8,
    pub(crate) hash: HashAlgorithm,
    pub(crate) created: u32,
    pub(crate) hashed: Vec<Vec<u8>>,
    pub(crate) unhashed: Vec<Vec<u8>>,
}

/// The notation that every signature here bears.
pub(crate) fn our_notation(value: &[u8]) -> Vec<u8> {
    notation(0x80, b"statement@touchgate.invalid", value)
}

/// The body of a notation subpacket. `flags`: 0x80 for human-readable.
pub(crate) fn notation(flags: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    let length = |part: &[u8]| u16::try_from(part.len()).unwrap().to_be_bytes();
    [&[flags, 0, 0, 0], &length(name)[..], &length(value), name, value].concat()
}

/// A subpacket. The tag's highest bit makes it critical.
pub(crate) fn subpacket(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len() + 1).unwrap();
    assert!(length < 192, "one octet of length");
    [&[length, tag], body].concat()
}

pub(crate) fn creation_time(seconds: u32) -> Vec<u8> {
    subpacket(2, &seconds.to_be_bytes())
}

pub(crate) fn issuer_fingerprint(key: &Fingerprint) -> Vec<u8> {
    subpacket(33, &[&[4], key.as_bytes()].concat())
}

pub(crate) fn issuer_key_id(key: &Fingerprint) -> Vec<u8> {
    subpacket(16, openpgp::KeyID::from(key).as_bytes())
}

/// A packet with a header of the current form (RFC 9580, section 4.2.1).
pub(crate) fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = match body.len() {
        short @ 0..192 => vec![u8::try_from(short).unwrap()],
        long => {
            let [high, low] = u16::try_from(long - 192).unwrap().to_be_bytes();
            vec![192 + high, low]
        }
    };
    [&[0xC0 | tag], &length[..], body].concat()
}

/// The body of a packet that [`packet`] made.
pub(crate) fn body(packet: &[u8]) -> &[u8] {
    if packet[1] < 192 { &packet[2..] } else { &packet[3..] }
}

/// A multi-precision integer, its leading zeros cut.
pub(crate) fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|&b| b != 0).unwrap_or(bytes.len());
    let bits =
        bytes[start..].first().map_or(0, |first| (bytes.len() - start) * 8 - first.leading_zeros() as usize);
    [&u16::try_from(bits).unwrap().to_be_bytes(), &bytes[start..]].concat()
}

impl Recipe {
    /// What the protocol asks for, and nothing else.
    pub(crate) fn plain(key: &KeyPair, created: u32) -> Self {
        let public = key.public();
        Self {
            version: 4,
            typ: 0,
            algorithm: public.pk_algo().into(),
            hash: HashAlgorithm::SHA512,
            created,
            hashed: vec![
                creation_time(created),
                issuer_fingerprint(&public.fingerprint()),
                subpacket(20, &our_notation(b"v1")),
            ],
            unhashed: Vec::new(),
        }
    }

    /// The packet's body up to the digest's first two octets, and what of it is hashed with the message.
    fn head(&self) -> (Vec<u8>, Vec<u8>) {
        let octets = |length: usize| match self.version {
            6 => u32::try_from(length).unwrap().to_be_bytes().to_vec(),
            _ => u16::try_from(length).unwrap().to_be_bytes().to_vec(),
        };
        let (hashed, unhashed) = (self.hashed.concat(), self.unhashed.concat());
        let fixed = [self.version, self.typ, self.algorithm, self.hash.into()];
        let covered = [&fixed[..], &octets(hashed.len()), &hashed].concat();
        let length = u32::try_from(covered.len()).unwrap().to_be_bytes();
        let trailer = [&covered[..], &[self.version, 0xFF], &length].concat();
        ([&covered[..], &octets(unhashed.len()), &unhashed].concat(), trailer)
    }

    /// Everything in the packet's body that comes before the signature's own numbers.
    pub(crate) fn before_numbers(&self, message: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let salt: &[u8] = if self.version == 6 { &[0x5A; 32] } else { &[] };
        let (head, trailer) = match self.version {
            3 => {
                let covered = [&[self.typ], &self.created.to_be_bytes()[..]].concat();
                (Vec::new(), covered)
            }
            _ => self.head(),
        };
        let mut context = self.hash.context().unwrap().for_digest();
        for part in [salt, message, &trailer] {
            context.update(part);
        }
        let digest = context.into_digest().unwrap();
        let salt = if salt.is_empty() { Vec::new() } else { [&[32], salt].concat() };
        ([&head[..], &digest[..2], &salt].concat(), digest)
    }

    /// The packet, signed over `message` by `key`.
    pub(crate) fn sign(&self, key: &mut KeyPair, message: &[u8]) -> Vec<u8> {
        let (before, digest) = self.before_numbers(message);
        let numbers = key.sign(self.hash, &digest).unwrap();
        if self.version == 3 {
            let id = openpgp::KeyID::from(key.public().fingerprint());
            let fixed = [&[3, 5, self.typ], &self.created.to_be_bytes()[..], id.as_bytes()].concat();
            let rest = [&[self.algorithm, self.hash.into()], &before[..], &self.numbers(&numbers)].concat();
            return packet(2, &[fixed, rest].concat());
        }
        packet(2, &[before, self.numbers(&numbers)].concat())
    }

    /// The same packet around other numbers.
    pub(crate) fn with_numbers(&self, message: &[u8], numbers: &[u8]) -> Vec<u8> {
        packet(2, &[&self.before_numbers(message).0, numbers].concat())
    }

    fn numbers(&self, signature: &mpi::Signature) -> Vec<u8> {
        let native = PublicKeyAlgorithm::from(self.algorithm) == PublicKeyAlgorithm::Ed25519;
        match signature {
            mpi::Signature::EdDSA { r, s } if native => {
                [r.value_padded(32).unwrap(), s.value_padded(32).unwrap()].concat()
            }
            mpi::Signature::EdDSA { r, s } | mpi::Signature::ECDSA { r, s } => {
                [integer(r.value()), integer(s.value())].concat()
            }
            mpi::Signature::Ed25519 { s } => s.to_vec(),
            mpi::Signature::RSA { s } => integer(s.value()),
            other => panic!("no test key makes {other:?}"),
        }
    }
}

/// An armor block with lines of `width` characters.
pub(crate) fn armor(packet: &[u8], width: usize, crc: bool) -> String {
    use base64::Engine as _;
    let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let encoded = base64(packet);
    let lines: Vec<&str> =
        encoded.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let sum = if crc { format!("={}\n", base64(&crc24(packet))) } else { String::new() };
    format!("-----BEGIN PGP SIGNATURE-----\n\n{}\n{sum}-----END PGP SIGNATURE-----\n", lines.join("\n"))
}

/// RFC 4880, section 6.1, bit by bit.
fn crc24(bytes: &[u8]) -> [u8; 3] {
    let mut register = 0xB704CE_u32;
    for byte in bytes {
        for bit in (0..8).rev() {
            let carry = (register >> 23 ^ u32::from(*byte) >> bit) & 1;
            register = register << 1 & 0xFF_FFFF;
            if carry == 1 {
                register ^= 0x864CFB;
            }
        }
    }
    let [_, high, middle, low] = register.to_be_bytes();
    [high, middle, low]
}
