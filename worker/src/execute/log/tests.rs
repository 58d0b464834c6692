use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::*;

struct Channel(mpsc::UnboundedSender<Bytes>);

impl LogSink for Channel {
    async fn write(&mut self, chunk: Bytes) {
        self.0.send(chunk).unwrap();
    }
}

fn pump(limits: Limits) -> (LogPump<Channel>, mpsc::UnboundedReceiver<Bytes>) {
    let (send, receive) = mpsc::unbounded_channel();
    let masks = Arc::new(Masks::new(&["topsecret".to_owned()]));
    (LogPump::new(Channel(send), masks, limits), receive)
}

async fn all(limits: Limits, input: &[u8]) -> (Vec<String>, Seen, bool) {
    let (mut pump, mut chunks) = pump(limits);
    let too_much = Notify::new();
    pump.run(input, &too_much).await;
    let seen = pump.into_seen();
    let mut texts = Vec::new();
    while let Some(chunk) = chunks.recv().await {
        texts.push(String::from_utf8(chunk.to_vec()).unwrap());
    }
    let notified = tokio::time::timeout(Duration::ZERO, too_much.notified()).await.is_ok();
    (texts, seen, notified)
}

#[tokio::test]
async fn empty_output_makes_no_chunk() {
    let (texts, seen, _) = all(Limits::default(), b"").await;
    assert!(texts.is_empty());
    assert_eq!(seen.last_line.get(), None);
}

#[tokio::test]
async fn cut_at_its_bound_with_a_mark() {
    let limits = Limits { log_bytes: 101, ..Limits::default() };
    let (texts, seen, notified) = all(limits, "é".repeat(100_000).as_bytes()).await;
    let text = texts.concat();
    let kept = text.strip_suffix("\n[the log is cut here: over 101 bytes; the job goes on]\n").unwrap();
    assert_eq!(kept, "é".repeat(50));
    assert_eq!(seen.bytes, 200_000);
    assert!(!notified);
}

#[tokio::test]
async fn exactly_at_the_bound_is_whole() {
    let limits = Limits { log_bytes: 5, ..Limits::default() };
    assert_eq!(all(limits, b"12345").await.0, ["12345"]);
}

#[tokio::test]
async fn a_flood_is_told() {
    let limits = Limits { output_kill_bytes: 1000, ..Limits::default() };
    assert!(all(limits, &[b'x'; 1001]).await.2);
    assert!(!all(limits, &[b'x'; 1000]).await.2);
}

#[tokio::test(start_paused = true)]
async fn a_line_waits_no_longer_than_its_time_and_secrets_are_whole() {
    let (mut pump, mut chunks) = pump(Limits::default());
    let (mut script, output) = tokio::io::duplex(1024);
    let running = tokio::spawn(async move { pump.run(output, &Notify::new()).await });
    let start = Instant::now();
    script.write_all(b"hello tops").await.unwrap();
    assert_eq!(chunks.recv().await.unwrap(), "hello ");
    assert_eq!(start.elapsed(), FLUSH_AFTER);
    script.write_all(b"ecret\nmore").await.unwrap();
    assert_eq!(chunks.recv().await.unwrap(), "********\nmore");
    drop(script);
    running.await.unwrap();
    assert!(chunks.recv().await.is_none());
}
