//! Starting, keeping and ending the two servers.

use std::time::Duration;

use hookmill::up::keep_running::keep_running;
use hookmill::up::server::{Server, StartError, start_on_free_port};
use hookmill::up::servers::Servers;
use tokio_util::sync::CancellationToken;

use crate::ask::ask;
use crate::host::{Data, host, is_alive};

const GRACE: Duration = Duration::from_secs(5);

async fn write(server: &Server, data: &Data, value: &str) {
    let password = data.credentials.valkey_password("worker");
    ask(server.addr(), "worker", password, &["SET", "hm:test", value]).await.unwrap();
}

async fn read(server: &Server, data: &Data) -> Result<String, String> {
    let password = data.credentials.valkey_password("worker");
    ask(server.addr(), "worker", password, &["GET", "hm:test"]).await
}

#[tokio::test]
async fn a_restart_keeps_data_and_port() {
    let data = Data::new();
    let host = host();
    let (server, handle) =
        start_on_free_port(&host, |port| Server::valkey(data.ingredients(), port)).await.unwrap();
    write(&server, &data, "kept").await;
    handle.stop(GRACE).await.unwrap();
    let handle = server.start(&host).await.unwrap();
    assert_eq!(read(&server, &data).await.unwrap(), "kept");
    handle.stop(GRACE).await.unwrap();
}

#[tokio::test]
async fn a_server_that_dies_is_started_again_on_its_port() {
    let data = Data::new();
    let host = host();
    let (server, mut handle) =
        start_on_free_port(&host, |port| Server::valkey(data.ingredients(), port)).await.unwrap();
    write(&server, &data, "kept").await;
    let pid = handle.started().await.unwrap();
    let stop = CancellationToken::new();
    let keeper = tokio::spawn(keep_running(server.clone(), handle, host.clone(), stop.clone()));
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let again = tokio::time::timeout(Duration::from_secs(20), async {
        while read(&server, &data).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        read(&server, &data).await
    });
    assert_eq!(again.await.unwrap().unwrap(), "kept");
    assert!(!is_alive(pid));
    stop.cancel();
    keeper.await.unwrap();
    assert!(read(&server, &data).await.is_err(), "it was stopped");
}

#[tokio::test]
async fn a_bad_configuration_is_quoted_and_a_taken_port_tried_elsewhere() {
    let data = Data::new();
    let host = host();
    let server = Server::valkey(data.ingredients(), 1).unwrap();
    std::fs::write(server.config(), "no such directive\n").unwrap();
    let error = server.start(&host).await.unwrap_err();
    assert!(matches!(error, StartError::Ended { .. }), "{error}");
    assert!(error.to_string().contains("no such directive"), "{error}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let first = std::sync::atomic::AtomicBool::new(true);
    let make = |free| {
        let first = first.swap(false, std::sync::atomic::Ordering::Relaxed);
        Server::nats(data.ingredients(), if first { port } else { free }, None)
    };
    let (server, handle) = start_on_free_port(&host, make).await.unwrap();
    assert_ne!(server.addr().port(), port);
    handle.stop(GRACE).await.unwrap();
}

#[tokio::test]
async fn both_start_and_end_together() {
    let data = Data::new();
    let servers = Servers::start(&host(), data.ingredients()).await.unwrap();
    let (nats, valkey) = (servers.nats.addr(), servers.valkey.addr());
    servers.stop().await;
    for addr in [nats, valkey] {
        assert!(tokio::net::TcpStream::connect(addr).await.is_err(), "{addr} is closed");
    }
    // and again on the same folder
    Servers::start(&host(), data.ingredients()).await.unwrap().stop().await;
}

#[tokio::test]
async fn dropping_everything_ends_everything_before_the_next_start() {
    let data = Data::new();
    drop(Servers::start(&host(), data.ingredients()).await.unwrap());
    // waits for what is still ending on the same files
    Servers::start(&host(), data.ingredients()).await.unwrap().stop().await;
}
