//! Opaque tokens: `hkm_` + 30 base62 characters + 6 base62 characters of CRC-32, so
//! that secret scanners find them and a typing error is told apart from a guess.
//! Only the SHA-256 of a token is ever stored or sent between our processes.

use std::fmt;

use ring::rand::SecureRandom;

const PREFIX: &str = "hkm_";
const BODY: usize = 30;
const CHECK: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// How many leading characters of a token are its public handle (`token_prefix`).
pub const HANDLE_LEN: usize = 10;
/// What a job token begins with.
pub const JOB_TOKEN_PREFIX: &str = "jwt_";

/// A well-formed opaque token. Never shown by `Debug` or `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer(String);

impl Bearer {
    /// A new token with 30 random base62 characters (178 bits).
    ///
    /// # Errors
    /// The operating system gave no randomness.
    pub fn generate() -> Result<Self, ring::error::Unspecified> {
        let random = ring::rand::SystemRandom::new();
        let mut body = String::with_capacity(BODY);
        while body.len() < BODY {
            let mut bytes = [0_u8; 64];
            random.fill(&mut bytes)?;
            // 248 = 4 × 62: larger bytes would favour the first characters
            let even = bytes.iter().filter(|byte| **byte < 248);
            body.extend(even.map(|byte| char::from(BASE62[usize::from(byte % 62)])).take(BODY - body.len()));
        }
        let check = checksum(&body);
        Ok(Self(format!("{PREFIX}{body}{check}")))
    }

    /// The token in `text`, if it is of the form and its checksum is right.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?;
        let sound = rest.len() == BODY + CHECK && rest.bytes().all(|b| b.is_ascii_alphanumeric());
        let (body, check) = sound.then(|| rest.split_at(BODY))?;
        (checksum(body) == check).then(|| Self(text.to_owned()))
    }

    /// The token itself, for the one place that shows it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its public handle, the first ten characters.
    pub fn handle(&self) -> &str {
        &self.0[..HANDLE_LEN]
    }

    /// Its SHA-256, by which it is looked up.
    pub fn sha256(&self) -> [u8; 32] {
        sha256(self.0.as_bytes())
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bearer({}…)", self.handle())
    }
}

/// SHA-256 of any bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// The CRC-32 of the body in base62, most significant first, padded to six.
fn checksum(body: &str) -> String {
    let mut value = crc32(body.as_bytes());
    let mut digits = [b'0'; CHECK];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(value % 62) as usize];
        value /= 62;
    }
    digits.iter().map(|b| char::from(*b)).collect()
}

/// CRC-32 (ISO-HDLC, the polynomial of zip and PNG), bit by bit: tokens are short.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_check_value() {
        // the catalogue's check value for CRC-32/ISO-HDLC
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn generated_tokens_parse_and_differ() {
        let one = Bearer::generate().unwrap();
        let two = Bearer::generate().unwrap();
        assert_ne!(one.expose(), two.expose());
        assert_eq!(one.expose().len(), 40);
        assert_eq!(Bearer::parse(one.expose()), Some(one.clone()));
        assert_eq!(one.handle().len(), 10);
    }

    #[test]
    fn one_wrong_character_is_refused() {
        let token = Bearer::generate().unwrap();
        for place in 0..token.expose().len() {
            let mut bytes = token.expose().as_bytes().to_vec();
            bytes[place] = if bytes[place] == b'x' { b'y' } else { b'x' };
            let wrong = String::from_utf8(bytes).unwrap();
            assert_eq!(Bearer::parse(&wrong), None, "changed at {place}");
        }
        for bad in ["", "hkm_", "hkm_é", "x"] {
            assert_eq!(Bearer::parse(bad), None);
        }
    }

    #[test]
    fn debug_hides_it() {
        let token = Bearer::generate().unwrap();
        assert!(!format!("{token:?}").contains(&token.expose()[10..]));
    }
}
