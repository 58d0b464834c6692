//! Idempotent triggering: a request that names itself (`Idempotency-Key`, `webhook-id`, or a header that the
//! installation knows its senders by) makes one job, however often and wherever it is sent.
//!
//! The key counts for one workspace, webhook and caller ([`owner`]). What else must be the same is what the caller sent as
//! arguments; headers differ from one try to the next.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName};
use job_queue::Reservation;
use proto::ErrorCode;
use ring::digest;

use crate::auth::Caller;
use crate::error::{ApiError, ApiResult};
use crate::request::RunParams;
use crate::trigger::Target;

/// The headers everybody knows: the IETF's draft, and Standard Webhooks.
static KNOWN: [HeaderName; 2] =
    [HeaderName::from_static("idempotency-key"), HeaderName::from_static("webhook-id")];

/// Says that an answer is that of a job made before.
pub(crate) const REPLAY: HeaderName = HeaderName::from_static("idempotent-replay");

/// The longest key, in bytes.
const LONGEST: usize = 255;

/// What the caller calls this request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(String);

impl Key {
    /// The first of the headers that is there; those of `more` count after the known ones.
    ///
    /// # Errors
    /// 400: it is empty, too long, not text, or there twice with different values.
    pub(crate) fn of(headers: &HeaderMap, more: &[HeaderName]) -> ApiResult<Option<Self>> {
        let Some(name) = KNOWN.iter().chain(more).find(|name| headers.contains_key(*name)) else {
            return Ok(None);
        };
        let bad = |what: &str| ApiError::bad_request(format!("{name}: {what}"));
        let mut values = headers.get_all(name).iter();
        let value = values.next().ok_or_else(|| bad("absent"))?;
        if values.any(|other| other != value) {
            return Err(bad("there are several, and they differ"));
        }
        let text = value.to_str().map_err(|_| bad("not visible ASCII"))?.trim();
        match text.len() {
            0 => Err(bad("empty")),
            length if length > LONGEST => {
                Err(bad(&format!("{length} bytes long, and {LONGEST} is the longest")))
            }
            _ => Ok(Some(Self(text.to_owned()))),
        }
    }

    /// What is reserved for it.
    pub(crate) fn reservation(
        &self,
        caller: &Caller,
        target: &Target,
        params: &RunParams,
        body: &[u8],
    ) -> Reservation {
        let (whose, target) = (owner(caller), target.to_string());
        Reservation {
            key: digest([&whose[0], &whose[1], &target, &self.0].map(String::as_bytes)),
            request: digest(sent(params, body)),
        }
    }
}

/// An account's keys are the same with each of its tokens, but for those that may not do all: such a token is given
/// to one sender, who must not meet another's jobs.
fn owner(caller: &Caller) -> [String; 2] {
    if caller.rights.scopes.is_empty() {
        ["account".to_owned(), caller.info().email]
    } else {
        ["token".to_owned(), caller.known.token_id.to_string()]
    }
}

/// The caller's arguments, before anything is made of them.
fn sent<'a>(params: &'a RunParams, body: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let payload = params.payload.as_deref().unwrap_or_default().as_bytes();
    let query = params.include_query.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
    [body, payload].into_iter().chain(query)
}

/// SHA-256 of all parts, none of which can pass for a bit of another.
fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    URL_SAFE_NO_PAD.encode(context.finish())
}

/// The key stands for a job that other arguments made.
pub(crate) fn reused(id: proto::JobId) -> ApiError {
    let message = format!("the idempotency key was used before, with another body, for job {id}");
    ApiError::new(ErrorCode::KeyReused, message).job(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(headers: &[(&'static str, &str)]) -> ApiResult<Option<Key>> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Key::of(&map, &[HeaderName::from_static("x-github-delivery")])
    }

    #[test]
    fn the_first_header_that_is_there_counts() {
        let is = |text: &str| Some(Key(text.to_owned()));
        assert_eq!(key(&[("x-other", "1")]).unwrap(), None);
        assert_eq!(key(&[("x-github-delivery", "3")]).unwrap(), is("3"));
        assert_eq!(key(&[("x-github-delivery", "3"), ("webhook-id", "2")]).unwrap(), is("2"));
        assert_eq!(key(&[("webhook-id", "2"), ("idempotency-key", "1")]).unwrap(), is("1"));
        assert_eq!(key(&[("idempotency-key", " 1 "), ("idempotency-key", " 1 ")]).unwrap(), is("1"));
    }

    #[test]
    fn what_is_no_key_is_named() {
        let long = "x".repeat(256);
        let table: [(&[(&'static str, &str)], &str); 4] = [
            (&[("idempotency-key", "")], "idempotency-key: empty"),
            (&[("webhook-id", &long)], "webhook-id: 256 bytes"),
            (&[("idempotency-key", "a"), ("idempotency-key", "b")], "differ"),
            (&[("idempotency-key", "schl\u{fc}ssel")], "not visible ASCII"),
        ];
        for (headers, says) in table {
            let error = key(headers).unwrap_err();
            assert!(error.message.contains(says), "{}", error.message);
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let both = |parts: [&str; 2]| digest(parts.map(str::as_bytes));
        assert_ne!(both(["ab", "c"]), both(["a", "bc"]));
        assert_eq!(both(["ab", "c"]), both(["ab", "c"]));
    }
}
