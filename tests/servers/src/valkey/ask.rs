//! One command to the server, in the protocol's inline form: enough to see that it answers
//! and to read its counters.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// The text of the answer; none when there is none, or an error.
pub(super) async fn ask(port: u16, password: &str, command: &str) -> Option<String> {
    tokio::time::timeout(Duration::from_secs(2), exchange(port, password, command)).await.ok()?
}

async fn exchange(port: u16, password: &str, command: &str) -> Option<String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let mut stream = BufReader::new(stream);
    let sent = format!("AUTH default {password}\r\n{command}\r\n");
    stream.write_all(sent.as_bytes()).await.ok()?;
    answer(&mut stream).await.filter(|word| word == "OK")?;
    answer(&mut stream).await
}

/// A simple string or a bulk string.
async fn answer(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let line = line.trim_end();
    if let Some(word) = line.strip_prefix('+') {
        return Some(word.to_owned());
    }
    let length: usize = line.strip_prefix('$')?.parse().ok()?;
    let mut body = vec![0; length + 2];
    stream.read_exact(&mut body).await.ok()?;
    body.truncate(length);
    String::from_utf8(body).ok()
}

/// `cmdstat_<name>:calls=<n>,…` lines.
pub(super) fn calls(text: &str) -> BTreeMap<String, u64> {
    let entry = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    };
    text.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_statistics_are_read() {
        let text = "# Commandstats\r\ncmdstat_config|get:calls=2,usec=9\r\ncmdstat_get:calls=31,usec=1,rejected_calls=0\r\n";
        let expected = BTreeMap::from([("config|get".to_owned(), 2), ("get".to_owned(), 31)]);
        assert_eq!(calls(text), expected);
        assert!(calls("").is_empty());
    }
}
