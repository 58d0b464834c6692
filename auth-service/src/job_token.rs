//! Job tokens: `jwt_` and a JWS in compact form (HS256). They stand for one
//! attempt of one job and live little longer than it; whether that attempt is still
//! the running one is for the gateway to check.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proto::bearer::JOB_TOKEN_PREFIX;
use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;
use crate::signing::{Purpose, Signer};

const ISSUER: &str = "hookmill";
/// The one header there is: a token that says anything else is not ours.
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
/// Longer than any token made here.
const MAX_TOKEN_BYTES: usize = 4096;

/// What a job token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    /// The account.
    pub(crate) sub: String,
    pub(crate) ws: String,
    pub(crate) job: String,
    pub(crate) attempt: u32,
    pub(crate) username: String,
    pub(crate) super_admin: bool,
    pub(crate) scopes: Vec<String>,
    /// Unix seconds, as JWTs have them.
    pub(crate) iat: i64,
    /// Unix seconds.
    pub(crate) exp: i64,
}

impl Claims {
    /// Claims of this issuer; all else is to be filled in.
    pub(crate) fn new(sub: &str, iat: i64, exp: i64) -> Self {
        Self {
            iss: ISSUER.to_owned(),
            sub: sub.to_owned(),
            ws: String::new(),
            job: String::new(),
            attempt: 0,
            username: String::new(),
            super_admin: false,
            scopes: Vec::new(),
            iat,
            exp,
        }
    }
}

/// The token that says `claims`.
pub(crate) fn make(signer: &Signer, claims: &Claims) -> Result<String, serde_json::Error> {
    let header = URL_SAFE_NO_PAD.encode(HEADER);
    let body = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims)?);
    let message = format!("{header}.{body}");
    let signature = URL_SAFE_NO_PAD.encode(signer.sign(Purpose::JobToken, message.as_bytes()));
    Ok(format!("{JOB_TOKEN_PREFIX}{message}.{signature}"))
}

/// What a token says, if this instance made it and it has not expired.
pub(crate) fn verify(signer: &Signer, token: &str, now_ms: i64) -> Result<Claims, Refusal> {
    let claims = authentic(signer, token).ok_or(Refusal::Unauthenticated("invalid job token"))?;
    if claims.exp.saturating_mul(1000) <= now_ms {
        return Err(Refusal::Unauthenticated("token expired"));
    }
    Ok(claims)
}

fn authentic(signer: &Signer, token: &str) -> Option<Claims> {
    let jws = token.strip_prefix(JOB_TOKEN_PREFIX).filter(|jws| jws.len() <= MAX_TOKEN_BYTES)?;
    let (message, signature) = jws.rsplit_once('.')?;
    let (header, body) = message.split_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let ours = header == URL_SAFE_NO_PAD.encode(HEADER)
        && signer.verifies(Purpose::JobToken, message.as_bytes(), &signature);
    let body = ours.then(|| URL_SAFE_NO_PAD.decode(body).ok()).flatten()?;
    serde_json::from_slice(&body).ok().filter(|claims: &Claims| claims.iss == ISSUER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing::test_signer;

    fn claims() -> Claims {
        Claims { ws: "demo".into(), job: "j".into(), attempt: 2, ..Claims::new("a@b.c", 1000, 2000) }
    }

    #[test]
    fn round_trip_and_expiry() {
        let token = make(&test_signer(1), &claims()).unwrap();
        assert!(token.starts_with("jwt_eyJ"));
        assert_eq!(verify(&test_signer(1), &token, 1_999_999).unwrap(), claims());
        let late = verify(&test_signer(1), &token, 2_000_000).unwrap_err();
        assert_eq!(late.to_string(), "token expired");
        assert!(verify(&test_signer(2), &token, 0).is_err());
    }

    #[test]
    fn no_byte_can_be_changed() {
        let token = make(&test_signer(1), &claims()).unwrap();
        for place in 0..token.len() {
            for other in [b'A', b'B', b'.', b'='] {
                let mut bytes = token.clone().into_bytes();
                if bytes[place] != other {
                    bytes[place] = other;
                    let forged = String::from_utf8(bytes).unwrap();
                    assert!(
                        verify(&test_signer(1), &forged, 0).is_err(),
                        "byte {place} as {}",
                        char::from(other)
                    );
                }
            }
            assert!(verify(&test_signer(1), &token[..place], 0).is_err(), "cut at {place}");
        }
        assert!(verify(&test_signer(1), &format!("{token}A"), 0).is_err());
    }

    #[test]
    fn no_other_algorithm() {
        let signer = test_signer(1);
        let body = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims()).unwrap());
        for header in
            [r#"{"alg":"none"}"#, r#"{"alg":"EdDSA","typ":"JWT"}"#, r#"{"typ":"JWT","alg":"HS256"}"#]
        {
            let message = format!("{}.{body}", URL_SAFE_NO_PAD.encode(header));
            let signature = URL_SAFE_NO_PAD.encode(signer.sign(Purpose::JobToken, message.as_bytes()));
            assert!(verify(&signer, &format!("jwt_{message}.{signature}"), 0).is_err(), "{header}");
            assert!(verify(&signer, &format!("jwt_{message}."), 0).is_err(), "{header}");
        }
    }

    #[test]
    fn another_issuer_is_refused() {
        let token = make(&test_signer(1), &Claims { iss: "other".into(), ..claims() }).unwrap();
        assert!(verify(&test_signer(1), &token, 0).is_err());
    }
}
