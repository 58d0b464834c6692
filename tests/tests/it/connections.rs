//! Connections of callers that are kept between requests.

use std::time::Duration;

use system_tests::{System, eventually, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

const BOUND: Duration = Duration::from_secs(20);
/// How long the gateway lets one be idle here.
const KEPT: Duration = Duration::from_secs(2);

async fn asks(stream: &mut TcpStream) {
    stream.write_all(b"GET /api/version HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it is open");
}

async fn is_answered(stream: &mut TcpStream) {
    let mut heard = Vec::new();
    let answer = async {
        while !heard.windows(4).any(|end| end == b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut heard).await.expect("it is open"), 0, "closed without an answer");
        }
    };
    within("an answer", BOUND, answer).await;
    assert!(heard.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&heard));
}

#[tokio::test]
async fn an_idle_one_is_closed_after_its_time_and_not_before_a_request_that_waits() {
    let system = System::start().gateway_setting("keep-alive", "2s").await;
    let gateway = system.gateway(0);
    let address = gateway.url().replace("http://", "");
    let mut idle = TcpStream::connect(&address).await.expect("a connection");
    asks(&mut idle).await;
    is_answered(&mut idle).await;
    let since = Instant::now();
    // the rest of the body, if any, and then the end
    let end = async { while idle.read(&mut [0; 1024]).await.expect("it is closed in order") > 0 {} };
    within("the end of an idle connection", KEPT * 3, end).await;
    assert!(since.elapsed() >= KEPT, "{:?}", since.elapsed());

    let mut stopped = TcpStream::connect(&address).await.expect("a connection");
    asks(&mut stopped).await;
    is_answered(&mut stopped).await;
    gateway.pause();
    let paused = Instant::now();
    asks(&mut stopped).await;
    eventually("its time to be over", BOUND, async || (paused.elapsed() > KEPT * 2).then_some(())).await;
    gateway.resume();
    is_answered(&mut stopped).await;
}
