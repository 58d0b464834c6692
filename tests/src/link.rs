//! A connection between two processes that a test can spoil: held back, slowed down, cut, or
//! stopped at exactly the moment when something certain is about to pass. What is swallowed
//! goes nowhere even when its sender is killed; what is held arrives later, as a late packet does.

mod flow;

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use self::flow::Direction;
pub use self::flow::{Flow, Trap};

/// A proxy in front of one server, for one of its clients.
#[derive(Clone, Debug)]
pub struct Link {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    up: Direction,
    down: Direction,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    Up,
    /// Back.
    Down,
}

/// The most that is read at once.
const CHUNK: usize = 64 * 1024;

impl Link {
    /// An open link to `server`, at a port of its own.
    ///
    /// # Panics
    /// There is no free port, or no runtime.
    pub fn to(server: SocketAddr) -> Self {
        let listener = StdListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket has modes");
        let address = listener.local_addr().expect("its port");
        let listener = TcpListener::from_std(listener).expect("a runtime");
        let shared = Arc::new(Shared { server, up: Direction::default(), down: Direction::default() });
        let carrying = shared.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carrying.clone().carry(client));
            }
        });
        Self { address, shared }
    }

    /// Where the client connects to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes how bytes go one way, for connections that are and that come.
    pub fn set(&self, way: Way, flow: Flow) {
        self.way(way).set(flow);
    }

    /// The same both ways.
    pub fn set_both(&self, flow: &Flow) {
        self.set(Way::Up, flow.clone());
        self.set(Way::Down, flow.clone());
    }

    /// As at first. Connections that lost bytes end; what was held goes on.
    pub fn mend(&self) {
        self.set_both(&Flow::Open);
    }

    /// Waits until a trap of this way has sprung.
    pub async fn trapped(&self, way: Way) {
        self.way(way).trapped().await;
    }

    fn way(&self, way: Way) -> &Direction {
        match way {
            Way::Up => &self.shared.up,
            Way::Down => &self.shared.down,
        }
    }
}

impl Shared {
    async fn carry(self: Arc<Self>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(self.server).await else { return };
        // small messages are not to wait for each other
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_server, to_server) = server.into_split();
        let (from_client, to_client) = client.into_split();
        let up = pump(&self.up, from_client, to_server);
        let down = pump(&self.down, from_server, to_client);
        // whichever side ends, the other learns of it
        tokio::select! { () = up => {}, () = down => {} }
    }
}

/// Until one of both sides is gone, or the way is mended after it lost bytes.
async fn pump(way: &Direction, mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin) {
    let mut passage = way.passage();
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            () = passage.mended() => return,
        };
        let Ok(read @ 1..) = read else { return };
        let mut rest = &buffer[..read];
        while !rest.is_empty() && !passage.lost {
            let (through, later) = rest.split_at(passage.admit(rest).await);
            if !through.is_empty() && to.write_all(through).await.is_err() {
                return;
            }
            rest = later;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::waiting::within;

    const BOUND: Duration = Duration::from_secs(10);

    /// A link, the client's end and the server's.
    async fn connected() -> (Link, TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let link = Link::to(listener.local_addr().unwrap());
        let client = TcpStream::connect(link.address()).await.unwrap();
        let (server, _) = within("a connection", BOUND, listener.accept()).await.unwrap();
        (link, client, server)
    }

    async fn hears(stream: &mut TcpStream, text: &str) {
        let mut heard = vec![0; text.len()];
        within("some bytes", BOUND, stream.read_exact(&mut heard)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&heard), text);
    }

    #[tokio::test]
    async fn what_is_held_arrives_even_when_its_sender_is_gone() {
        let (link, mut client, mut server) = connected().await;
        link.set(Way::Up, Flow::At(Trap::hold(&["end"])));
        client.write_all(b"first end").await.unwrap();
        within("the trap springs", BOUND, link.trapped(Way::Up)).await;
        hears(&mut server, "first ").await;
        drop(client);
        link.mend();
        hears(&mut server, "end").await;
    }

    #[tokio::test]
    async fn what_is_swallowed_does_not() {
        let (link, mut client, mut server) = connected().await;
        link.set(Way::Up, Flow::At(Trap::swallow(&["one", "two"])));
        client.write_all(b"two one x").await.unwrap();
        hears(&mut server, "two one x").await;
        client.write_all(b" two").await.unwrap();
        within("the trap springs", BOUND, link.trapped(Way::Up)).await;
        link.mend();
        hears(&mut server, " ").await;
        assert_eq!(within("the end", BOUND, server.read(&mut [0; 8])).await.unwrap(), 0);
    }
}
