//! Reading the credential: `Authorization: Bearer`, `?token=`, then the cookie `token`.

use http::request::Parts;
use http::{HeaderMap, Method, header};
use proto::ErrorCode;

use crate::error::{ApiError, ApiResult};

/// Where a credential came from; cookies may do less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Header,
    Query,
    Cookie,
}

/// A credential as presented. Never logged.
#[derive(Clone)]
pub(crate) struct Presented {
    pub(crate) token: String,
    pub(crate) source: Source,
}

/// The credential of a request.
///
/// # Errors
/// None at all, or header and query that differ.
pub(crate) fn present(parts: &Parts) -> ApiResult<Presented> {
    let header = bearer(&parts.headers)?;
    let query = query_token(parts.uri.query().unwrap_or_default());
    match (header, query) {
        (Some(header), Some(query)) if header != query => Err(ApiError::bad_request(
            "the token in the Authorization header and the one in ?token= differ; send one",
        )),
        (Some(token), _) => Ok(Presented { token, source: Source::Header }),
        (None, Some(token)) => Ok(Presented { token, source: Source::Query }),
        (None, None) => from_cookie(parts),
    }
}

fn bearer(headers: &HeaderMap) -> ApiResult<Option<String>> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    let token = token.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() {
        return Ok(Some(token.to_owned()));
    }
    Err(unauthenticated("the Authorization header is not `Bearer <token>`"))
}

fn query_token(query: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let found = pairs.find(|(name, _)| name == "token").map(|(_, value)| value.into_owned());
    found.filter(|token| !token.is_empty())
}

fn from_cookie(parts: &Parts) -> ApiResult<Presented> {
    let token = cookie(&parts.headers).ok_or_else(|| {
        unauthenticated("no token: send it as `Authorization: Bearer <token>` or as `?token=<token>`")
    })?;
    if !matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) && !same_origin(&parts.headers) {
        let message = "a request from another origin cannot be authenticated by cookie";
        return Err(ApiError::new(ErrorCode::PermissionDenied, message));
    }
    Ok(Presented { token, source: Source::Cookie })
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs
        .find(|(name, _)| *name == "token")
        .map(|(_, value)| value.to_owned())
        .filter(|token| !token.is_empty())
}

/// Whether a browser that says where the request comes from says: from ourselves. A
/// client that says nothing is no browser.
fn same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let site = text("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"));
    let origin = text("origin").is_none_or(|origin| {
        let host = origin.split_once("://").map(|(_, host)| host);
        host.is_some() && host == text("host")
    });
    site && origin
}

pub(super) fn unauthenticated(message: &str) -> ApiError {
    ApiError::new(ErrorCode::Unauthenticated, message).with(header::WWW_AUTHENTICATE, "Bearer")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn source(method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<Source, ErrorCode> {
        present(&parts(method, uri, headers)).map(|presented| presented.source).map_err(|error| error.code)
    }

    #[test]
    fn order_and_agreement() {
        let header = ("authorization", "Bearer a");
        assert_eq!(source("POST", "/x?token=b", &[]), Ok(Source::Query));
        assert_eq!(source("POST", "/x?token=a", &[header]), Ok(Source::Header));
        assert_eq!(source("POST", "/x?token=b", &[header]), Err(ErrorCode::BadRequest));
        assert_eq!(source("POST", "/x", &[header, ("cookie", "token=z")]), Ok(Source::Header));
        assert_eq!(source("POST", "/x", &[("cookie", "a=b; token=z")]), Ok(Source::Cookie));
        assert_eq!(source("POST", "/x?token=", &[]), Err(ErrorCode::Unauthenticated));
        assert_eq!(source("POST", "/x", &[("authorization", "Basic abc")]), Err(ErrorCode::Unauthenticated));
        assert_eq!(source("POST", "/x", &[("authorization", "bearer a")]), Ok(Source::Header));
    }

    #[test]
    fn cookies_of_other_origins_are_refused() {
        let cookie = ("cookie", "token=z");
        let table = [
            (vec![], true),
            (vec![("sec-fetch-site", "same-origin")], true),
            (vec![("sec-fetch-site", "cross-site")], false),
            (vec![("origin", "http://hook.example"), ("host", "hook.example")], true),
            (vec![("origin", "http://evil.example"), ("host", "hook.example")], false),
            (vec![("origin", "null"), ("host", "hook.example")], false),
        ];
        for (extra, allowed) in table {
            let headers: Vec<_> = std::iter::once(cookie).chain(extra.iter().copied()).collect();
            assert_eq!(source("POST", "/x", &headers).is_ok(), allowed, "{extra:?}");
        }
    }
}
