//! The one HTTP client of every measurement: a kept-alive connection that sends one request at a time.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How long one answer may take: a job at concurrency 64 waits for 63 others.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// A request as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// Empty for none.
    pub(crate) token: String,
    /// JSON, or empty.
    pub(crate) body: Bytes,
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// One connection to one server.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Call {
    /// Asks for a resource.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), token: String::new(), body: Bytes::new() }
    }

    /// Sends JSON.
    pub(crate) fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, path: path.into(), token: String::new(), body: body.into() }
    }

    /// As whoever holds the token.
    pub(crate) fn with_token(self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self }
    }

    fn request(self, host: &str) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut builder = Request::builder().method(self.method).uri(self.path).header(header::HOST, host);
        if !self.token.is_empty() {
            builder = builder.header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        }
        if !self.body.is_empty() {
            builder = builder.header(header::CONTENT_TYPE, "application/json");
        }
        builder.body(Full::new(self.body))
    }
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(addr: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(addr).await.with_context(|| format!("no connection to {addr}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // its failure is the failure of the request under way
        tokio::spawn(connection);
        Ok(Self { sender, host: addr.to_string() })
    }

    /// Sends one request and reads its answer whole.
    pub(crate) async fn send(&mut self, call: Call) -> anyhow::Result<Reply> {
        let path = call.path.clone();
        let request = call.request(&self.host)?;
        match tokio::time::timeout(ANSWER_WITHIN, self.exchange(request)).await {
            Ok(reply) => reply.with_context(|| format!("no answer from {}{path}", self.host)),
            Err(_) => bail!("no answer from {}{path} within {} s", self.host, ANSWER_WITHIN.as_secs()),
        }
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<Reply> {
        self.sender.ready().await?;
        let (parts, body) = self.sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Reply { status: parts.status, headers: parts.headers, body })
    }
}

impl Reply {
    /// Itself, if it has this status; else an error that shows what came.
    pub(crate) fn expect(self, status: StatusCode) -> anyhow::Result<Self> {
        if self.status == status {
            return Ok(self);
        }
        let shown = String::from_utf8_lossy(&self.body[..self.body.len().min(500)]).into_owned();
        bail!("status {} instead of {status}: {shown}", self.status.as_u16())
    }
}

/// One request over a connection of its own.
pub(crate) async fn once(addr: SocketAddr, call: Call) -> anyhow::Result<Reply> {
    Connection::open(addr).await?.send(call).await
}

/// Repeats a request until it has this status. There is no event to wait for: a port that opens tells nobody.
pub(crate) async fn until(
    addr: SocketAddr,
    call: &Call,
    status: StatusCode,
    bound: Duration,
) -> anyhow::Result<()> {
    const PAUSE: Duration = Duration::from_millis(10);
    let mut last = None;
    let tries = async {
        loop {
            match once(addr, call.clone()).await.and_then(|reply| reply.expect(status)) {
                Ok(_) => return,
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let answered = tokio::time::timeout(bound, tries).await;
    answered.map_err(|_| {
        let last = last.map_or_else(|| "nothing".to_owned(), |error| format!("{error:#}"));
        anyhow::anyhow!("{addr}{} was not ready within {} s, last: {last}", call.path, bound.as_secs())
    })
}
