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

#[tokio::test]
async fn a_body_that_stops_coming_is_answered_wherever_it_is_read() {
    let system = System::start().gateway_setting("body-idle", "1s").await;
    let client = system.client();
    client.deploy("f/a/b", "bash", "echo ran").await;
    let address = system.gateway(0).url().replace("http://", "");
    for path in ["jobs/run/p/f/a/b", "jobs_u/queue/cancel/00000000-0000-0000-0000-000000000000"] {
        let mut caller = TcpStream::connect(&address).await.expect("a connection");
        let request = format!(
            "POST /api/w/{}/{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{\"half\":",
            client.workspace(),
            client.token()
        );
        caller.write_all(request.as_bytes()).await.expect("it is open");
        let mut heard = Vec::new();
        within("the answer", BOUND, caller.read_to_end(&mut heard)).await.expect("it is closed in order");
        let heard = String::from_utf8_lossy(&heard);
        assert!(heard.starts_with("HTTP/1.1 408"), "{path}: {heard}");
        assert!(heard.contains("nothing more of the body came within 1s"), "{path}: {heard}");
    }
    assert_eq!(client.list("").await.len(), 0, "no job was made");
}
