//! A small client of the HTTP API: who calls (a token, or nobody), through which gateway, in
//! which workspace. Its short methods expect success and panic with the body when there is
//! none; what is to be refused goes through [`Client::post`] and [`Client::get_path`].

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::request::Request;
use crate::service::Service;
use crate::waiting::retried;

/// How long a job of a test may take.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// A caller of the API. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base_url: String,
    workspace: String,
    token: Option<String>,
}

impl Client {
    /// A caller with a token, at `base_url` (`http://host:port`).
    ///
    /// # Panics
    /// The HTTP client cannot be built.
    pub fn new(base_url: &str, workspace: &str, token: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        Self {
            http,
            base_url: base_url.to_owned(),
            workspace: workspace.to_owned(),
            token: Some(token.to_owned()),
        }
    }

    /// The same caller with a connection of its own for each request: nothing is sent over one that the
    /// other side is just giving up.
    ///
    /// # Panics
    /// The HTTP client cannot be built.
    #[must_use]
    pub fn unpooled(&self) -> Self {
        let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build();
        Self { http: http.expect("an HTTP client"), ..self.clone() }
    }

    /// The same caller with another token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// A caller that sends no token.
    #[must_use]
    pub fn anonymous(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    /// The same caller at another gateway.
    #[must_use]
    pub fn at(&self, gateway: &Service) -> Self {
        Self { base_url: gateway.url(), ..self.clone() }
    }

    /// The same caller in another workspace.
    #[must_use]
    pub fn in_workspace(&self, workspace: &str) -> Self {
        Self { workspace: workspace.to_owned(), ..self.clone() }
    }

    /// Its token, or the empty text.
    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    /// `http://host:port` of its gateway.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Its workspace.
    pub fn workspace(&self) -> &str {
        &self.workspace
    }

    /// The address of a path: below `/api/w/<workspace>/`, or from the root if it begins with `/`.
    pub fn url(&self, path: &str) -> String {
        match path.strip_prefix('/') {
            Some(_) => format!("{}{path}", self.base_url),
            None => format!("{}/api/w/{}/{path}", self.base_url, self.workspace),
        }
    }

    /// Any request; see [`Client::url`].
    pub fn request(&self, method: Method, path: &str) -> Request {
        Request::new(&self.http, method, &self.url(path), self.token.as_deref())
    }

    /// A POST; see [`Client::url`].
    pub fn post(&self, path: &str) -> Request {
        self.request(Method::POST, path)
    }

    /// A GET; see [`Client::url`].
    pub fn get_path(&self, path: &str) -> Request {
        self.request(Method::GET, path)
    }

    /// Deploys a version and returns its hash.
    ///
    /// # Panics
    /// It is refused.
    pub async fn deploy(&self, path: &str, language: &str, source: &str) -> String {
        self.deploy_with(path, language, source, json!({})).await
    }

    /// The same with settings, such as `{"timeout": 1}`.
    ///
    /// # Panics
    /// It is refused.
    pub async fn deploy_with(&self, path: &str, language: &str, source: &str, settings: Value) -> String {
        self.try_deploy(path, language, source, settings).await.expect(201).text()
    }

    /// The same, when it may be refused.
    ///
    /// # Panics
    /// Nobody answers.
    pub async fn try_deploy(&self, path: &str, language: &str, source: &str, settings: Value) -> Answer {
        let mut script = json!({"path": path, "language": language, "content": source,
            "summary": "", "description": "", "auto_parent": true});
        for (key, value) in settings.as_object().into_iter().flatten() {
            script[key] = value.clone();
        }
        self.post("scripts/create").json(script).send().await
    }

    /// The asynchronous webhook by path; the job's id.
    ///
    /// # Panics
    /// It is refused.
    pub async fn run(&self, path: &str, args: impl ToString) -> String {
        self.post(&format!("jobs/run/p/{path}")).json(args).send().await.expect(201).text()
    }

    /// The synchronous webhook by path, whatever it answers.
    ///
    /// # Panics
    /// Nobody answers.
    pub async fn wait(&self, path: &str, args: impl ToString) -> Answer {
        self.post(&format!("jobs/run_wait_result/p/{path}")).json(args).send().await
    }

    /// `jobs_u/get`.
    ///
    /// # Panics
    /// It is refused.
    pub async fn get(&self, id: &str) -> Value {
        self.get_path(&format!("jobs_u/get/{id}")).send().await.expect(200).json()
    }

    /// `jobs_u/completed/get_result_maybe`, with `get_started`.
    ///
    /// # Panics
    /// It is refused.
    pub async fn result_maybe(&self, id: &str) -> Value {
        let path = format!("jobs_u/completed/get_result_maybe/{id}?get_started=true");
        self.get_path(&path).send().await.expect(200).json()
    }

    /// Waits for a job's end, for a minute at most: `{started, success, completed, result}`.
    ///
    /// # Panics
    /// It does not end in time.
    pub async fn end_of(&self, id: &str) -> Value {
        retried(&format!("the end of job {id}"), ENDS_WITHIN, || async {
            let maybe = self.result_maybe(id).await;
            (maybe["completed"] == true).then_some(maybe)
        })
        .await
    }

    /// Waits until a job runs, for a minute at most.
    ///
    /// # Panics
    /// It does not run in time, or has ended already.
    pub async fn running(&self, id: &str) {
        retried(&format!("job {id} runs"), ENDS_WITHIN, || async {
            let maybe = self.result_maybe(id).await;
            assert_eq!(maybe["completed"], false, "{maybe}");
            (maybe["started"] == true).then_some(())
        })
        .await;
    }

    /// `jobs_u/queue/cancel`; what it answers.
    ///
    /// # Panics
    /// It is refused.
    pub async fn cancel(&self, id: &str, reason: &str) -> String {
        let request = self.post(&format!("jobs_u/queue/cancel/{id}"));
        request.json(json!({"reason": reason})).send().await.expect(200).text()
    }

    /// `jobs_u/get_logs`.
    ///
    /// # Panics
    /// It is refused.
    pub async fn logs(&self, id: &str) -> String {
        self.get_path(&format!("jobs_u/get_logs/{id}")).send().await.expect(200).text()
    }

    /// Waits until a job's log contains `text`, for a minute at most; the whole log.
    ///
    /// # Panics
    /// It does not in time.
    pub async fn logged(&self, id: &str, text: &str) -> String {
        retried(&format!("`{text}` in the log of job {id}"), ENDS_WITHIN, || async {
            let answer = self.get_path(&format!("jobs_u/get_logs/{id}")).send().await;
            (answer.status == 200).then(|| answer.text()).filter(|log| log.contains(text))
        })
        .await
    }

    /// `jobs/list` with a query such as `running=true`.
    ///
    /// # Panics
    /// It is refused.
    pub async fn list(&self, query: &str) -> Vec<Value> {
        let rows = self.get_path(&format!("jobs/list?{query}")).send().await.expect(200).json();
        rows.as_array().expect("a list").clone()
    }

    /// Makes a token, such as `{"label": "x", "scopes": ["jobs:run"]}`, and returns it.
    ///
    /// # Panics
    /// It is refused.
    pub async fn make_token(&self, of: Value) -> String {
        self.post("/api/users/tokens/create").json(of).send().await.expect(201).text()
    }

    /// One's own tokens.
    ///
    /// # Panics
    /// It is refused.
    pub async fn tokens(&self) -> Vec<Value> {
        let rows = self.get_path("/api/users/tokens/list").send().await.expect(200).json();
        rows.as_array().expect("a list").clone()
    }

    /// Revokes a token by its first ten characters; more of it may be given.
    ///
    /// # Panics
    /// It is refused.
    pub async fn revoke(&self, token: &str) {
        let path = format!("/api/users/tokens/delete/{}", &token[..10]);
        self.request(Method::DELETE, &path).send().await.expect(200);
    }
}
