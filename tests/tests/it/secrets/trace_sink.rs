//! A collector of traces that keeps the bytes it is sent: HTTP/2 and gRPC's framing, as the
//! exporter needs them, and nothing read out of them.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Collected, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};

/// Listens until the test's runtime ends.
pub(super) struct TraceSink {
    port: u16,
    received: Arc<Mutex<Vec<u8>>>,
}

impl TraceSink {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let keep = received.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, keep.clone()));
            }
        });
        Self { port, received }
    }

    /// What the services are configured with.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Every byte of every export.
    pub(super) fn received(&self) -> Vec<u8> {
        self.received.lock().unwrap().clone()
    }
}

async fn serve(stream: TcpStream, keep: Arc<Mutex<Vec<u8>>>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let keep = keep.clone();
        async move {
            let sent = request.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default();
            keep.lock().unwrap().extend_from_slice(&sent);
            Ok::<_, Infallible>(done())
        }
    });
    // a service that ends breaks off
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

type Frames = StreamBody<stream::Iter<std::array::IntoIter<Result<Frame<Bytes>, Infallible>, 2>>>;

/// An empty message and gRPC's status 0.
fn done() -> Response<Frames> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Ok(Frame::data(Bytes::from_static(&[0; 5]))), Ok(Frame::trailers(trailers))];
    let response = Response::builder().header("content-type", "application/grpc");
    response.body(StreamBody::new(stream::iter(frames))).expect("the headers are valid")
}
