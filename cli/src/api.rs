//! Hookmill over HTTP, as any other client sees it.

use std::error::Error;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use url::Url;

use crate::failure::Failure;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long an answer may take; none waits for a script to end.
const ANSWER: Duration = Duration::from_secs(30);

/// An installation, and as whom we call it.
#[derive(Clone)]
pub struct Api {
    http: reqwest::Client,
    base: Url,
    token: String,
    workspace: String,
}

impl Api {
    /// Opens no connection yet.
    ///
    /// # Errors
    /// The address is not an `http://` one.
    pub fn new(base: &str, token: &str, workspace: &str) -> Result<Self, Failure> {
        let bad = |why: &str| Failure::Usage(format!("the base URL `{base}` is not usable: {why}"));
        let url = Url::parse(base).map_err(|error| bad(&error.to_string()))?;
        if url.scheme() != "http" || url.cannot_be_a_base() {
            return Err(bad("it has to begin with http://"));
        }
        let http = reqwest::Client::builder().connect_timeout(CONNECT).timeout(ANSWER).no_proxy();
        let http = http.build().map_err(|error| Failure::Local(error.into()))?;
        Ok(Self { http, base: url, token: token.to_owned(), workspace: workspace.to_owned() })
    }

    /// Where it is, without a slash at the end.
    pub fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The workspace it is called for.
    pub fn workspace(&self) -> &str {
        &self.workspace
    }

    /// A request to `/api/<path>`.
    pub fn global(&self, method: Method, path: &str) -> Call {
        self.call(method, &format!("api/{path}"))
    }

    /// A request to `/api/w/<workspace>/<path>`.
    pub fn here(&self, method: Method, path: &str) -> Call {
        self.call(method, &format!("api/w/{}/{path}", self.workspace))
    }

    fn call(&self, method: Method, path: &str) -> Call {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/'));
        }
        let request = self.http.request(method, url).bearer_auth(&self.token);
        Call { request, base: self.base().to_owned() }
    }
}

/// A request that has not been sent.
pub struct Call {
    request: RequestBuilder,
    base: String,
}

impl Call {
    /// Adds query parameters.
    #[must_use]
    pub fn query(mut self, pairs: &[(&str, &str)]) -> Self {
        self.request = self.request.query(pairs);
        self
    }

    /// Adds a JSON body.
    #[must_use]
    pub fn json(mut self, body: &serde_json::Value) -> Self {
        self.request = self.request.json(body);
        self
    }

    /// Adds a body that is JSON already, byte for byte.
    #[must_use]
    pub fn raw_json(mut self, body: String) -> Self {
        self.request = self.request.header("content-type", "application/json").body(body);
        self
    }

    /// Sends it; the body of a good answer as text.
    ///
    /// # Errors
    /// Nobody answered, or the answer was no.
    pub async fn text(self) -> Result<String, Failure> {
        let base = self.base.clone();
        let answer = self.send().await?;
        answer.text().await.map_err(|error| unreachable(&base, &error))
    }

    /// Sends it; the body of a good answer read as JSON.
    ///
    /// # Errors
    /// Nobody answered, the answer was no, or it was not of the form expected.
    pub async fn read<T: DeserializeOwned>(self) -> Result<T, Failure> {
        let base = self.base.clone();
        let text = self.text().await?;
        serde_json::from_str(&text).map_err(|error| Failure::Strange { base, why: error.to_string() })
    }

    /// The same, with `None` for 404.
    ///
    /// # Errors
    /// As [`Call::read`], but for 404.
    pub async fn find<T: DeserializeOwned>(self) -> Result<Option<T>, Failure> {
        match self.read().await {
            Ok(found) => Ok(Some(found)),
            Err(Failure::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn send(self) -> Result<Response, Failure> {
        let answer = self.request.send().await.map_err(|error| unreachable(&self.base, &error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let text = answer.text().await.unwrap_or_default();
        let text = if text.trim().is_empty() { status.to_string() } else { text.trim().to_owned() };
        Err(Failure::Refused { status: status.as_u16(), text })
    }
}

fn unreachable(base: &str, error: &reqwest::Error) -> Failure {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    let why = causes.pop().unwrap_or_else(|| error.to_string());
    let why = if error.is_timeout() { format!("no answer within {} s", ANSWER.as_secs()) } else { why };
    Failure::Unreachable { base: base.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(base: &str, path: &str) -> String {
        let api = Api::new(base, "t", "main").unwrap();
        api.here(Method::GET, path).request.build().unwrap().url().to_string()
    }

    #[test]
    fn addresses_are_joined_and_escaped() {
        let expected = "http://h:1/api/w/main/jobs/run/p/f/a/b";
        assert_eq!(url("http://h:1", "jobs/run/p/f/a/b"), expected);
        assert_eq!(url("http://h:1/", "jobs/run/p/f/a/b"), expected);
        assert_eq!(url("http://h:1/base", "x?y#z"), "http://h:1/base/api/w/main/x%3Fy%23z");
    }

    #[test]
    fn other_addresses_are_refused_before_anything_is_sent() {
        for bad in ["", "127.0.0.1:8000", "https://h", "ftp://h", "mailto:a@b"] {
            assert!(matches!(Api::new(bad, "t", "main"), Err(Failure::Usage(_))), "{bad}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_its_own_failure() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let api = Api::new(&format!("http://{closed}"), "t", "main").unwrap();
        let error = api.global(Method::GET, "version").text().await.unwrap_err();
        assert_eq!(error.exit_code(), 3, "{error}");
        assert!(error.to_string().contains("refused"), "{error}");
    }
}
