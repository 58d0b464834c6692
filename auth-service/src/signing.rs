//! The instance's one signing key. Only auth-service holds it: grants and job tokens
//! are both made and checked here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::Ed25519KeyPair;
use subtle::ConstantTimeEq;

/// Signs and verifies by Ed25519.
pub(crate) struct Signer(Ed25519KeyPair);

/// The text is not a usable key; nothing of it is repeated.
#[derive(Debug, thiserror::Error)]
#[error("the signing key is not the base64 of an Ed25519 key (PKCS#8, or a seed of 32 bytes)")]
pub(crate) struct InvalidKey;

impl Signer {
    /// The key of its base64 form: PKCS#8, or a seed of 32 bytes.
    pub(crate) fn from_base64(text: &str) -> Result<Self, InvalidKey> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| InvalidKey)?;
        let pair = match bytes.len() {
            32 => Ed25519KeyPair::from_seed_unchecked(&bytes),
            _ => Ed25519KeyPair::from_pkcs8_maybe_unchecked(&bytes),
        };
        pair.map(Self).map_err(|_| InvalidKey)
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }

    /// Only we check what we signed, so the signature is made again and compared: there is one
    /// for each message (RFC 8032, 5.1.6), and making it takes a third of the time of a check by
    /// the public key, which every job would wait for.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.sign(message).as_ref().ct_eq(signature).into()
    }
}

#[cfg(test)]
pub(crate) fn test_signer(seed: u8) -> Signer {
    Signer::from_base64(&STANDARD.encode([seed; 32])).unwrap()
}

#[cfg(test)]
mod tests {
    use ring::signature::{ED25519, KeyPair, UnparsedPublicKey};

    use super::*;

    #[test]
    fn keys_in_both_forms() {
        let random = ring::rand::SystemRandom::new();
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let signer = Signer::from_base64(&STANDARD.encode(pkcs8.as_ref())).unwrap();
        let signature = signer.sign(b"text");
        assert!(signer.verifies(b"text", &signature));
        assert!(!signer.verifies(b"Text", &signature));
        assert!(!test_signer(7).verifies(b"text", &signature));
        assert!(!signer.verifies(b"text", &signature[..63]) && !signer.verifies(b"text", b""));
        // anybody else's check by the public key agrees
        let public = UnparsedPublicKey::new(&ED25519, signer.0.public_key().as_ref());
        public.verify(b"text", &signature).unwrap();
    }

    #[test]
    fn what_is_no_key() {
        for text in ["", "x", "AAAA", &STANDARD.encode([0; 31]), &STANDARD.encode([0; 33])] {
            assert!(Signer::from_base64(text).is_err(), "{text}");
        }
    }
}
