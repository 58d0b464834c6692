//! A finished job → the answer of a synchronous webhook (contract 1.6): its result as it
//! is, or what the result's wrapper keys ask for, within what a script may set.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use job_queue::{End, Outcome};
use proto::json::{RawObject, raw_value};
use proto::{ErrorCode, JobId};

use crate::error::{ApiError, X_JOB_ID};

/// Headers a script may not set: hop-by-hop ones, those that frame the message, and those
/// that would let it act as the console's origin.
const RESERVED: [&str; 14] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "set-cookie",
    "content-security-policy",
    "x-content-type-options",
    "x-job-id",
];

/// The answer to whoever waited.
pub(crate) fn of(id: JobId, end: &End) -> Response {
    let plain = if end.outcome == Outcome::Success { StatusCode::OK } else { ErrorCode::ScriptFailed.http() };
    let mut response = match Wrapper::of(&end.result) {
        Some(wrapper) => wrapper.response(end.outcome).unwrap_or_else(IntoResponse::into_response),
        None => json(plain, end.result.clone()),
    };
    guard(response.headers_mut(), id);
    response
}

/// What a script answers must not act as ours in a browser.
fn guard(headers: &mut HeaderMap, id: JobId) {
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(X_JOB_ID, id);
    }
}

fn json(status: StatusCode, body: Bytes) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// A result that says how it wants to be answered.
struct Wrapper<'a> {
    status: Option<&'a str>,
    headers: Option<&'a str>,
    content_type: Option<&'a str>,
    result: Option<&'a str>,
}

impl<'a> Wrapper<'a> {
    fn of(result: &'a [u8]) -> Option<Self> {
        if !result.starts_with(b"{") {
            return None;
        }
        let object = RawObject::parse(result).ok()?;
        let wrapper = Self {
            status: object.get("windmill_status_code"),
            headers: object.get("windmill_headers"),
            content_type: object.get("windmill_content_type"),
            result: object.get("result"),
        };
        let keys = [wrapper.status, wrapper.headers, wrapper.content_type, wrapper.result];
        keys.iter().any(Option::is_some).then_some(wrapper)
    }

    fn response(&self, outcome: Outcome) -> Result<Response, ApiError> {
        let status = self.status(outcome)?;
        let body = self.body()?;
        let mut response = if body.is_empty() { status.into_response() } else { json(status, body) };
        if let Some(content_type) = self.content_type {
            let value = text("windmill_content_type", content_type)?;
            response.headers_mut().insert(header::CONTENT_TYPE, value_of("windmill_content_type", &value)?);
        }
        self.set_headers(response.headers_mut())?;
        Ok(response)
    }

    fn status(&self, outcome: Outcome) -> Result<StatusCode, ApiError> {
        let Some(asked) = self.status else {
            return Ok(match (outcome, self.result) {
                (Outcome::Failure | Outcome::Canceled, _) => ErrorCode::ScriptFailed.http(),
                (Outcome::Success, Some(_)) => StatusCode::OK,
                (Outcome::Success, None) => StatusCode::NO_CONTENT,
            });
        };
        let code = asked.parse::<u16>().ok().filter(|code| (200..=599).contains(code));
        code.and_then(|code| StatusCode::from_u16(code).ok())
            .ok_or_else(|| invalid(format!("windmill_status_code {asked} is not a status from 200 to 599")))
    }

    /// With a content type, a string goes out unquoted.
    fn body(&self) -> Result<Bytes, ApiError> {
        match (self.result, self.content_type) {
            (None, _) => Ok(Bytes::new()),
            (Some(result), Some(_)) if result.starts_with('"') => Ok(text("result", result)?.into()),
            (Some(result), _) => Ok(Bytes::copy_from_slice(result.as_bytes())),
        }
    }

    fn set_headers(&self, headers: &mut HeaderMap) -> Result<(), ApiError> {
        let Some(asked) = self.headers.filter(|asked| *asked != "null") else { return Ok(()) };
        let object = RawObject::parse(asked.as_bytes())
            .map_err(|error| invalid(format!("windmill_headers: {error}")))?;
        for (name, value) in &object.members {
            let value = value_of("windmill_headers", &text("windmill_headers", value.get())?)?;
            let name: HeaderName =
                name.parse().map_err(|_| invalid(format!("windmill_headers: `{name}` is no header name")))?;
            if !RESERVED.contains(&name.as_str()) {
                headers.insert(name, value);
            }
        }
        Ok(())
    }
}

fn text(what: &str, json: &str) -> Result<String, ApiError> {
    serde_json::from_str(json).map_err(|_| invalid(format!("{what} is not a string")))
}

fn value_of(what: &str, text: &str) -> Result<HeaderValue, ApiError> {
    HeaderValue::from_str(text).map_err(|_| invalid(format!("{what}: `{text}` cannot stand in a header")))
}

/// The script asked for an answer that cannot be given (contract: 500).
fn invalid(message: String) -> ApiError {
    ApiError::new(ErrorCode::Internal, format!("the script's answer cannot be given: {message}"))
}

/// A part of a result by a path such as `a.b.0`; none where it leads nowhere.
pub(crate) fn part(result: &[u8], json_path: &str) -> Option<Bytes> {
    let mut value = raw_value(result).ok()?;
    for step in json_path.split('.').filter(|step| !step.is_empty()) {
        value = match value.as_bytes().first()? {
            b'{' => RawObject::parse(value.as_bytes()).ok()?.get(step)?,
            b'[' => {
                let elements: Vec<&serde_json::value::RawValue> = serde_json::from_str(value).ok()?;
                elements.get(step.parse::<usize>().ok()?)?.get()
            }
            _ => return None,
        };
    }
    Some(Bytes::copy_from_slice(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(outcome: Outcome, result: &str) -> Response {
        of(JobId::random(), &End { outcome, result: Bytes::copy_from_slice(result.as_bytes()) })
    }

    fn header<'a>(response: &'a Response, name: &str) -> &'a str {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// From contract 1.6.
    #[test]
    fn statuses() {
        use Outcome::{Canceled, Failure, Success};
        for (outcome, result, status) in [
            (Success, "null", 200),
            (Success, "{\"a\":1}", 200),
            (Failure, "{\"error\":{}}", 422),
            (Canceled, "{\"error\":{}}", 422),
            (Success, "{\"windmill_status_code\":201,\"result\":1}", 201),
            (Success, "{\"windmill_headers\":{\"x-a\":\"b\"}}", 204),
            (Success, "{\"windmill_content_type\":\"text/html\",\"result\":\"<p>\"}", 200),
            (Success, "{\"windmill_status_code\":99}", 500),
            (Success, "{\"windmill_status_code\":\"x\"}", 500),
            (Success, "{\"windmill_headers\":[]}", 500),
            (Success, "{\"windmill_headers\":{\"a b\":\"c\"}}", 500),
        ] {
            assert_eq!(answer(outcome, result).status().as_u16(), status, "{result}");
        }
    }

    #[test]
    fn scripts_cannot_act_as_our_origin() {
        let asked = r#"{"windmill_headers":{"Set-Cookie":"token=x","X-Own":"1","Content-Security-Policy":"none","Connection":"close"},"result":1}"#;
        let response = answer(Outcome::Success, asked);
        assert_eq!(header(&response, "set-cookie"), "");
        assert_eq!(header(&response, "connection"), "");
        assert_eq!(header(&response, "x-own"), "1");
        assert_eq!(header(&response, "content-security-policy"), "sandbox");
        assert_eq!(header(&response, "x-content-type-options"), "nosniff");
    }

    #[test]
    fn parts_of_results_keep_their_text() {
        let result = br#"{"a":{"b":[1.0, 1e400]}}"#;
        assert_eq!(part(result, "a.b.1").unwrap(), "1e400");
        assert_eq!(part(result, "").unwrap(), &result[..]);
        assert_eq!(part(result, "a.c"), None);
        assert_eq!(part(result, "a.b.2"), None);
    }
}
