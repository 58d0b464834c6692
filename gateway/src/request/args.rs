//! Request body → arguments (contract 1.3). A JSON object goes through untouched; only
//! where something is added is a new object put together, from the members' own text.

use base64::Engine;
use bytes::Bytes;
use http::{HeaderMap, header};
use proto::ErrorCode;
use proto::json::{JsonError, RawObject, raw_value};

use super::{RunParams, references};
use crate::error::{ApiError, ApiResult};

/// What a content type says the body is.
#[derive(Debug, PartialEq)]
enum Kind {
    Json,
    Text,
    Form,
}

/// The arguments of a request: raw JSON text of an object.
///
/// # Errors
/// 400 that names the place, 415.
pub(crate) fn build(headers: &HeaderMap, body: Bytes, params: &RunParams) -> ApiResult<Bytes> {
    let body = match &params.payload {
        Some(payload) if body.is_empty() => decode_payload(payload)?,
        _ => body,
    };
    let added = added_members(headers, params);
    let args = match kind(headers)? {
        Kind::Json => json(body, params, added)?,
        Kind::Text => assemble(&[], with_raw_string(added, &body)?),
        Kind::Form => form(&body, params, added)?,
    };
    references::refuse(&args)?;
    Ok(args)
}

fn kind(headers: &HeaderMap) -> ApiResult<Kind> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(Kind::Json) };
    let text = value.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_lowercase();
    match essence.as_str() {
        "" | "application/json" => Ok(Kind::Json),
        "text/plain" | "text/xml" | "application/xml" => Ok(Kind::Text),
        "application/x-www-form-urlencoded" => Ok(Kind::Form),
        other => {
            let message = format!("content type `{other}` is not supported; send JSON, text, XML or a form");
            Err(ApiError::new(ErrorCode::UnsupportedMediaType, message))
        }
    }
}

fn json(body: Bytes, params: &RunParams, mut added: Members) -> ApiResult<Bytes> {
    let trimmed = body.trim_ascii();
    if trimmed.is_empty() || trimmed == b"null" {
        return Ok(assemble(&[], raw_string_if(params, added, &body)?));
    }
    if trimmed[0] != b'{' || params.wrap_body {
        let value = if trimmed[0] == b'{' {
            object(trimmed)?;
            text(trimmed)?
        } else {
            raw_value(trimmed).map_err(malformed)?
        };
        added = raw_string_if(params, added, &body)?;
        return Ok(assemble(&[("body".to_owned(), value.to_owned())], added));
    }
    let object = object(trimmed)?;
    let added = raw_string_if(params, added, &body)?;
    if added.is_empty() {
        return Ok(body.slice_ref(trimmed));
    }
    let members: Members = object
        .members
        .iter()
        .map(|(key, value)| (key.clone().into_owned(), value.get().to_owned()))
        .collect();
    Ok(assemble(&members, added))
}

fn object(bytes: &[u8]) -> ApiResult<RawObject<'_>> {
    RawObject::parse(bytes).map_err(malformed)
}

fn malformed(error: JsonError) -> ApiError {
    ApiError::bad_request(error.to_string())
}

fn text(bytes: &[u8]) -> ApiResult<&str> {
    std::str::from_utf8(bytes)
        .map_err(|error| ApiError::bad_request(format!("the body is not UTF-8: {error}")))
}

/// Each key once, as a string; the last value wins, a missing value is null.
fn form(body: &[u8], params: &RunParams, added: Members) -> ApiResult<Bytes> {
    let mut members = Members::new();
    for pair in text(body)?.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) =
            url::form_urlencoded::parse(pair.as_bytes()).into_owned().next().unwrap_or_default();
        let value = if pair.contains('=') { quote(&value) } else { "null".to_owned() };
        set(&mut members, key, value);
    }
    Ok(assemble(&members, raw_string_if(params, added, body)?))
}

fn decode_payload(payload: &str) -> ApiResult<Bytes> {
    // `+` of the standard alphabet arrives as a space where the caller did not escape it
    let payload = payload.replace(' ', "+");
    let decoded = base64::engine::general_purpose::STANDARD.decode(payload);
    decoded
        .map(Bytes::from)
        .map_err(|error| ApiError::bad_request(format!("impossible to decode query payload: {error}")))
}

/// Names and the raw JSON of their values.
type Members = Vec<(String, String)>;

fn added_members(headers: &HeaderMap, params: &RunParams) -> Members {
    let mut added = Members::new();
    for (name, value) in &params.include_query {
        set(&mut added, name.clone(), quote(value));
    }
    for name in &params.include_header {
        if let Some(value) = headers.get(name.as_str()) {
            set(&mut added, name.replace('-', "_"), quote(&String::from_utf8_lossy(value.as_bytes())));
        }
    }
    added
}

fn raw_string_if(params: &RunParams, added: Members, body: &[u8]) -> ApiResult<Members> {
    if params.raw { with_raw_string(added, body) } else { Ok(added) }
}

fn with_raw_string(mut added: Members, body: &[u8]) -> ApiResult<Members> {
    set(&mut added, "raw_string".to_owned(), quote(text(body)?));
    Ok(added)
}

fn set(members: &mut Members, name: String, value: String) {
    members.retain(|(known, _)| *known != name);
    members.push((name, value));
}

/// One object of both; what was added wins over a member of the same name.
fn assemble(members: &[(String, String)], added: Members) -> Bytes {
    let kept = members.iter().filter(|(name, _)| !added.iter().any(|(other, _)| other == name));
    let all: Vec<String> =
        kept.chain(&added).map(|(name, value)| format!("{}:{value}", quote(name))).collect();
    format!("{{{}}}", all.join(",")).into()
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn args(content_type: Option<&str>, body: &str, query: &str) -> ApiResult<String> {
        let mut headers = HeaderMap::new();
        if let Some(content_type) = content_type {
            headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        }
        headers.insert("x-git-event", "push".parse().unwrap());
        let params = RunParams::parse(query, Duration::from_secs(60))?;
        let built = build(&headers, Bytes::copy_from_slice(body.as_bytes()), &params)?;
        Ok(String::from_utf8(built.to_vec()).unwrap())
    }

    /// From contract 1.3.
    #[test]
    fn bodies_become_arguments() {
        let json = Some("application/json");
        let form = Some("application/x-www-form-urlencoded");
        let table = [
            (json, r#"{"b": 1.0, "a":1e400}"#, "", r#"{"b": 1.0, "a":1e400}"#),
            (None, r#" {"a":9223372036854775809} "#, "", r#"{"a":9223372036854775809}"#),
            (json, "", "", "{}"),
            (json, " null ", "", "{}"),
            (json, "[1, 2]", "", r#"{"body":[1, 2]}"#),
            (json, "\"x\"", "", r#"{"body":"x"}"#),
            (json, r#"{"a":1}"#, "wrap_body=true", r#"{"body":{"a":1}}"#),
            (Some("application/json; charset=utf-8"), r#"{"a":1}"#, "", r#"{"a":1}"#),
            (json, r#"{"a":1}"#, "raw=true", r#"{"a":1,"raw_string":"{\"a\":1}"}"#),
            (json, r#"{"a":1,"b":2}"#, "include_query=a&a=x", r#"{"b":2,"a":"x"}"#),
            (json, r#"{"a":1}"#, "include_header=X-Git-Event,absent", r#"{"a":1,"x_git_event":"push"}"#),
            (Some("text/plain"), "hi \"you\"", "", r#"{"raw_string":"hi \"you\""}"#),
            (Some("application/xml"), "<a/>", "", r#"{"raw_string":"<a/>"}"#),
            (form, "a=1&b=x%20y&a=2&c", "", r#"{"b":"x y","a":"2","c":null}"#),
            (form, "", "", "{}"),
            (form, "a=1", "raw=true", r#"{"a":"1","raw_string":"a=1"}"#),
            (None, "", "payload=eyJhIjoxLjB9", r#"{"a":1.0}"#),
        ];
        for (content_type, body, query, want) in table {
            assert_eq!(args(content_type, body, query).unwrap(), want, "{content_type:?} {body} {query}");
        }
    }

    #[test]
    fn what_cannot_be_arguments_is_refused() {
        let (json, form) = (Some("application/json"), Some("application/x-www-form-urlencoded"));
        for (content_type, body, query, code, part) in [
            (json, "{\"a\": tru}", "", ErrorCode::BadRequest, "line 1 column"),
            (json, r#"{"a":1,"a":2}"#, "", ErrorCode::BadRequest, "duplicate key `a`"),
            (json, r#"{"a":1,"a":2}"#, "wrap_body=true", ErrorCode::BadRequest, "duplicate key `a`"),
            (json, "{} {}", "", ErrorCode::BadRequest, "line 1 column"),
            (json, "nope", "", ErrorCode::BadRequest, "line 1 column"),
            (Some("image/png"), "x", "", ErrorCode::UnsupportedMediaType, "image/png"),
            (Some("multipart/form-data; boundary=x"), "x", "", ErrorCode::UnsupportedMediaType, "multipart"),
            (None, "", "payload=%%%", ErrorCode::BadRequest, "payload"),
            (json, r#"{"a":"$var:u/x"}"#, "", ErrorCode::BadRequest, "`$var:u/x` refers to a variable"),
            (form, "a=%24res:f/db", "", ErrorCode::BadRequest, "`$res:f/db` refers to a variable"),
        ] {
            let error = args(content_type, body, query).unwrap_err();
            assert_eq!(error.code, code, "{body}");
            assert!(error.message.contains(part), "{body}: {}", error.message);
        }
    }
}
