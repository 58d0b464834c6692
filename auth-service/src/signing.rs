//! The instance's one signing key. Only auth-service holds it, and what it signs, grants and job
//! tokens, only auth-service checks: so the signatures are MACs, a thirtieth of the price of a
//! public-key signature, which every job would wait for (`docs/adr/0007-grants-and-job-tokens-are-macs.md`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac::{self, HMAC_SHA256};

/// The shortest key, in bytes: as long as the digest (RFC 7518, 3.2).
const MIN_KEY_BYTES: usize = 32;

/// Signs and verifies by HMAC with SHA-256.
pub(crate) struct Signer {
    grants: hmac::Key,
    job_tokens: hmac::Key,
}

/// What is signed: each has a key of its own, so that no signature is good for the other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// A grant in a job's envelope.
    Grant,
    /// The token of one attempt.
    JobToken,
}

/// The text is not a usable key; nothing of it is repeated.
#[derive(Debug, thiserror::Error)]
#[error("signing-key is not the base64 of 32 random bytes or more")]
pub(crate) struct InvalidKey;

impl Signer {
    /// The key of its base64 form.
    pub(crate) fn from_base64(text: &str) -> Result<Self, InvalidKey> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| InvalidKey)?;
        if bytes.len() < MIN_KEY_BYTES {
            return Err(InvalidKey);
        }
        let root = hmac::Key::new(HMAC_SHA256, &bytes);
        // HMAC is a PRF, so one call makes a key for each label (NIST SP 800-108, one block)
        let derived = |label: &[u8]| hmac::Key::new(HMAC_SHA256, hmac::sign(&root, label).as_ref());
        Ok(Self { grants: derived(b"hookmill grant 1"), job_tokens: derived(b"hookmill job token 1") })
    }

    pub(crate) fn sign(&self, purpose: Purpose, message: &[u8]) -> Vec<u8> {
        hmac::sign(self.key(purpose), message).as_ref().to_vec()
    }

    /// Whether we signed this, compared in constant time.
    pub(crate) fn verifies(&self, purpose: Purpose, message: &[u8], signature: &[u8]) -> bool {
        hmac::verify(self.key(purpose), message, signature).is_ok()
    }

    fn key(&self, purpose: Purpose) -> &hmac::Key {
        match purpose {
            Purpose::Grant => &self.grants,
            Purpose::JobToken => &self.job_tokens,
        }
    }
}

#[cfg(test)]
pub(crate) fn test_signer(seed: u8) -> Signer {
    Signer::from_base64(&STANDARD.encode([seed; 32])).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_key_and_only_for_its_purpose() {
        let signer = test_signer(1);
        let signature = signer.sign(Purpose::Grant, b"text");
        assert!(signer.verifies(Purpose::Grant, b"text", &signature));
        assert!(!signer.verifies(Purpose::JobToken, b"text", &signature));
        assert!(!signer.verifies(Purpose::Grant, b"Text", &signature));
        assert!(!test_signer(7).verifies(Purpose::Grant, b"text", &signature));
        assert!(!signer.verifies(Purpose::Grant, b"text", &signature[..31]));
        assert!(!signer.verifies(Purpose::Grant, b"text", b""));
    }

    /// Computed by Python: `h = lambda k, m: hmac.new(k, m, "sha256").digest()`, then
    /// `h(h(bytes([1] * 32), b"hookmill grant 1"), b"text").hex()`.
    #[test]
    fn anybody_else_with_the_key_agrees() {
        let signature = test_signer(1).sign(Purpose::Grant, b"text");
        assert_eq!(
            hex::encode(signature),
            "dd1ebe414349192b47714e5b609873e319626c70babdf6dde1ea7cd7c7b72819"
        );
    }

    #[test]
    fn what_is_no_key() {
        for text in ["", "x", "AAAA", &STANDARD.encode([0; 31]), "not base64 but long enough for a key…"] {
            assert!(Signer::from_base64(text).is_err(), "{text}");
        }
    }
}
