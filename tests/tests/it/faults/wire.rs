//! A wire to NATS that can be cut after any number of bytes: what a process sends after the
//! cut is swallowed, and goes nowhere even when the process is killed. (A stopped NATS would
//! find it in its socket later.)

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// A proxy in front of NATS.
pub(crate) struct Wire {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    /// Bytes towards the server that are still let through.
    left: AtomicUsize,
    sent: AtomicUsize,
    cut: Notify,
}

impl Wire {
    /// A whole wire to `server`.
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let whole = AtomicUsize::new(usize::MAX);
        let shared = Arc::new(Shared { server, left: whole, sent: AtomicUsize::new(0), cut: Notify::new() });
        let carrying = shared.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(carrying.clone().carry(client));
            }
        });
        Self { address, shared }
    }

    /// `nats://…` for a service's configuration.
    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Lets so many more bytes through, and nothing after them.
    pub(crate) fn cut_after(&self, bytes: usize) {
        self.shared.left.store(bytes, Ordering::SeqCst);
    }

    /// Waits until something was swallowed.
    pub(crate) async fn cut(&self) {
        self.shared.cut.notified().await;
    }

    /// New connections are whole again.
    pub(crate) fn mend(&self) {
        self.cut_after(usize::MAX);
    }

    /// Bytes that went towards the server so far.
    pub(crate) fn sent(&self) -> usize {
        self.shared.sent.load(Ordering::SeqCst)
    }
}

impl Shared {
    async fn carry(self: Arc<Self>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(self.server).await else { return };
        let (mut from_server, mut to_server) = server.into_split();
        let (mut from_client, mut to_client) = client.into_split();
        let back = tokio::io::copy(&mut from_server, &mut to_client);
        let forth = self.forth(&mut from_client, &mut to_server);
        tokio::select! { _ = back => {}, () = forth => {} }
    }

    /// Until the client is gone; a cut wire does not come back.
    async fn forth(&self, from: &mut (impl AsyncReadExt + Unpin), to: &mut (impl AsyncWriteExt + Unpin)) {
        let (mut buffer, mut whole) = ([0; 4096], true);
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let through = if whole { self.take(read) } else { 0 };
            if through > 0 && to.write_all(&buffer[..through]).await.is_err() {
                return;
            }
            self.sent.fetch_add(through, Ordering::SeqCst);
            if through < read {
                whole = false;
                self.cut.notify_one();
            }
        }
    }

    fn take(&self, read: usize) -> usize {
        let left = self.left.load(Ordering::SeqCst);
        let through = read.min(left);
        self.left.store(left - through, Ordering::SeqCst);
        through
    }
}
