//! Whether a server answers, and is the one we started: asked by connecting, never by reading its log.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Between two attempts: a refused connection on the loopback costs microseconds.
const PAUSE: Duration = Duration::from_millis(5);

/// The longest line a server may greet us with, in bytes.
const MAX_LINE: u64 = 64 * 1024;

/// How to ask a server.
#[derive(Clone)]
pub(crate) enum Probe {
    /// It greets with its name.
    Nats { addr: SocketAddr },
    /// It takes the user's password and has loaded its data.
    Valkey { addr: SocketAddr, user: &'static str, password: String },
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Probe({})", self.addr())
    }
}

impl Probe {
    pub(crate) fn nats(addr: SocketAddr) -> Self {
        Self::Nats { addr }
    }

    pub(crate) fn valkey(addr: SocketAddr, user: &'static str, password: &str) -> Self {
        Self::Valkey { addr, user, password: password.to_owned() }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        match self {
            Self::Nats { addr } | Self::Valkey { addr, .. } => *addr,
        }
    }

    /// Asks until the answer is good. The caller bounds it.
    pub(crate) async fn until_it_answers(&self) {
        while !self.answers().await.unwrap_or(false) {
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn answers(&self) -> io::Result<bool> {
        let mut stream = BufReader::new(TcpStream::connect(self.addr()).await?);
        match self {
            Self::Nats { .. } => {
                let greeting = line(&mut stream).await?;
                Ok(greeting.starts_with("INFO ") && greeting.contains("\"server_name\":\"hookmill\""))
            }
            Self::Valkey { user, password, .. } => {
                let command = format!("AUTH {user} {password}\r\nPING\r\n");
                stream.write_all(command.as_bytes()).await?;
                Ok(line(&mut stream).await? == "+OK" && line(&mut stream).await? == "+PONG")
            }
        }
    }
}

async fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    use tokio::io::AsyncReadExt;
    let mut text = String::new();
    stream.take(MAX_LINE).read_line(&mut text).await?;
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn greeted_with(text: &'static str) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
        });
        let answer = Probe::nats(addr).answers().await.unwrap_or(false);
        server.await.unwrap();
        answer
    }

    #[tokio::test]
    async fn only_our_own_server_counts() {
        assert!(greeted_with("INFO {\"server_id\":\"X\",\"server_name\":\"hookmill\"} \r\n").await);
        assert!(!greeted_with("INFO {\"server_name\":\"somebody else\"}\r\n").await);
        assert!(!greeted_with("220 mail\r\n").await);
        assert!(!greeted_with("").await);
    }
}
