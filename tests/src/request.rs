//! One request to the API, as any client would make it.

use http::Method;

use crate::answer::Answer;
use crate::calling::call;

/// A request that is being put together.
#[must_use]
#[derive(Debug)]
pub struct Request(reqwest::RequestBuilder);

impl Request {
    pub(crate) fn new(http: &reqwest::Client, method: Method, url: &str, token: Option<&str>) -> Self {
        let request = http.request(method, url);
        Self(match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    }

    /// Adds a header.
    pub fn header(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value))
    }

    /// A JSON body, byte for byte.
    pub fn json(self, body: impl ToString) -> Self {
        self.body("application/json", body.to_string())
    }

    /// A body of any type.
    pub fn body(self, content_type: &str, body: impl Into<reqwest::Body>) -> Self {
        Self(self.0.header("content-type", content_type).body(body))
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Panics
    /// Nobody answers.
    pub async fn send(self) -> Answer {
        self.try_send().await.unwrap_or_else(|error| panic!("no answer: {error:?}"))
    }

    /// The same, when it may be that nobody answers.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn try_send(self) -> reqwest::Result<Answer> {
        let request = self.0;
        call(async move { Answer::read(request.send().await?).await }).await
    }
}
