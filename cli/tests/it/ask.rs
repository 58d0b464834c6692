//! Just enough of the two servers' protocols to see who is let in and what is kept: the crates that own
//! them stay the only ones to use their clients.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// One command as a Valkey user: the first line of the answer, or what was refused.
pub(crate) async fn ask(
    addr: SocketAddr,
    user: &str,
    password: &str,
    command: &[&str],
) -> Result<String, String> {
    let mut stream = open(addr).await?;
    exchange(&mut stream, &["AUTH", user, password]).await?;
    exchange(&mut stream, command).await
}

/// One command without a word about who asks.
pub(crate) async fn ask_unnamed(addr: SocketAddr, command: &[&str]) -> Result<String, String> {
    exchange(&mut open(addr).await?, command).await
}

/// Connects to NATS as a user: what the server said of itself, or what was refused.
pub(crate) async fn greet_nats(addr: SocketAddr, user: &str, password: &str) -> Result<String, String> {
    let mut stream = open(addr).await?;
    let info = line(&mut stream).await?;
    let me = serde_json::json!({ "user": user, "pass": password, "verbose": false, "protocol": 1 });
    let hello = format!("CONNECT {me}\r\nPING\r\n");
    stream.write_all(hello.as_bytes()).await.map_err(|error| error.to_string())?;
    match line(&mut stream).await?.as_str() {
        "PONG" => Ok(info),
        other => Err(other.to_owned()),
    }
}

async fn open(addr: SocketAddr) -> Result<BufReader<TcpStream>, String> {
    TcpStream::connect(addr).await.map(BufReader::new).map_err(|error| error.to_string())
}

async fn exchange(stream: &mut BufReader<TcpStream>, command: &[&str]) -> Result<String, String> {
    let words = command.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    let text = format!("*{}\r\n{}", command.len(), words.collect::<Vec<_>>().concat());
    stream.write_all(text.as_bytes()).await.map_err(|error| error.to_string())?;
    let first = line(stream).await?;
    match first.split_at_checked(1) {
        Some(("-", error)) => Err(error.to_owned()),
        Some(("$", length)) if length != "-1" => line(stream).await,
        Some((_, answer)) => Ok(answer.to_owned()),
        None => Err("the connection was closed".into()),
    }
}

async fn line(stream: &mut BufReader<TcpStream>) -> Result<String, String> {
    let mut text = String::new();
    stream.read_line(&mut text).await.map_err(|error| error.to_string())?;
    Ok(text.trim_end().to_owned())
}
