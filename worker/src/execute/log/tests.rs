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
    pump.run(vec![input], &too_much).await;
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
    let running = tokio::spawn(async move { pump.run(vec![output], &Notify::new()).await });
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

#[tokio::test]
async fn bounds_are_over_both_pipes_and_the_last_line_is_the_first_ones() {
    let limits = Limits { log_bytes: 10, output_kill_bytes: 15, ..Limits::default() };
    let (mut pump, mut chunks) = pump(limits);
    let too_much = Notify::new();
    pump.run(vec![&b"1234567\n"[..], &b"abcdefg\n"[..]], &too_much).await;
    let seen = pump.into_seen();
    assert_eq!((seen.bytes, seen.last_line.get()), (16, Some(&b"1234567"[..])));
    assert_eq!(seen.tail.lines(), b"1234567\nabcdefg\n");
    let log = chunks.recv().await.unwrap();
    assert!(log.starts_with(b"1234567\nab\n[the log is cut here: over 10 bytes"), "{log:?}");
    tokio::time::timeout(Duration::ZERO, too_much.notified()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_secret_split_by_the_other_pipe_is_struck_in_log_and_tail() {
    let (mut pump, mut chunks) = pump(Limits::default());
    let ((mut out, out_end), (mut errors, errors_end)) = (tokio::io::duplex(1024), tokio::io::duplex(1024));
    let running = tokio::spawn(async move {
        pump.run(vec![out_end, errors_end], &Notify::new()).await;
        pump.into_seen()
    });
    errors.write_all(b"hello tops").await.unwrap();
    assert_eq!(chunks.recv().await.unwrap(), "hello ");
    out.write_all(b"between\n").await.unwrap();
    assert_eq!(chunks.recv().await.unwrap(), "between\n");
    errors.write_all(b"ecret\n").await.unwrap();
    assert_eq!(chunks.recv().await.unwrap(), "********\n");
    drop((out, errors));
    assert_eq!(running.await.unwrap().tail.lines(), b"hello between\n********\n");
}

#[tokio::test(start_paused = true)]
async fn one_pipe_may_outlast_the_other() {
    let (mut pump, mut chunks) = pump(Limits::default());
    let ((out, out_end), (mut errors, errors_end)) = (tokio::io::duplex(64), tokio::io::duplex(64));
    let running = tokio::spawn(async move { pump.run(vec![out_end, errors_end], &Notify::new()).await });
    drop(out);
    errors.write_all(b"still ").await.unwrap();
    assert_eq!(chunks.recv().await.unwrap(), "still ");
    errors.write_all(b"there").await.unwrap();
    drop(errors);
    running.await.unwrap();
    assert_eq!(chunks.recv().await.unwrap(), "there");
}

#[tokio::test]
async fn the_end_of_a_flood_is_remembered_struck() {
    let limits = Limits { log_bytes: 10, ..Limits::default() };
    let flood = format!("{}\nlast topsecret\n", "x".repeat(300_000));
    let (texts, seen, _) = all(limits, flood.as_bytes()).await;
    assert!(texts.concat().len() < 100);
    assert_eq!(seen.tail.lines().strip_prefix(&b"x"[..]).map(<[u8]>::len), None);
    assert_eq!(seen.tail.lines(), b"last ********\n");
    assert_eq!(seen.last_line.get(), Some(&b"last topsecret"[..]));
}
