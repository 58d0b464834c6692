//! Starts a server again when it has ended without being told to.

use std::time::Duration;

use lifecycle::supervisor::{Host, ServiceHandle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::server::{STOP_GRACE, Server, StartError};

/// The pause before the first new start.
const SHORTEST: Duration = Duration::from_millis(100);

/// The pause between starts that keep failing.
const LONGEST: Duration = Duration::from_secs(5);

/// A server that ran this long had started well: the next pause is the shortest again.
const WELL: Duration = Duration::from_secs(10);

/// Keeps the server running until `stop`, then ends it in order: SIGTERM, 5 s, SIGKILL.
pub async fn keep_running(server: Server, mut handle: ServiceHandle, host: Host, stop: CancellationToken) {
    let mut pause = SHORTEST;
    loop {
        let since = Instant::now();
        tokio::select! {
            ended = handle.exited() => {
                let how = ended.map_or_else(|lost| lost.to_string(), |ended| format!("{:?}", ended.exit.status));
                tracing::error!(server.name = server.name(), how, "server ended, starting it again");
            }
            () = stop.cancelled() => return end(&server, handle).await,
        }
        if since.elapsed() > WELL {
            pause = SHORTEST;
        }
        let Some(again) = start_again(&server, &host, &mut pause, &stop).await else { return };
        handle = again;
    }
}

/// None when it is to stop; what was started by then has been ended in order.
async fn start_again(
    server: &Server,
    host: &Host,
    pause: &mut Duration,
    stop: &CancellationToken,
) -> Option<ServiceHandle> {
    loop {
        stop.run_until_cancelled(tokio::time::sleep(*pause)).await?;
        *pause = (*pause * 2).min(LONGEST);
        match start_unless_stopped(server, host, stop).await? {
            Ok(handle) => {
                tracing::warn!(server.name = server.name(), "server runs again");
                return Some(handle);
            }
            Err(error) => note(server, &error),
        }
    }
}

async fn start_unless_stopped(
    server: &Server,
    host: &Host,
    stop: &CancellationToken,
) -> Option<Result<ServiceHandle, StartError>> {
    let mut handle = match server.begin(host).await {
        Ok(handle) => handle,
        Err(error) => return Some(Err(error)),
    };
    let ready = stop.run_until_cancelled(server.ready(&mut handle)).await;
    if ready.is_none() {
        end(server, handle).await;
        return None;
    }
    ready.map(|ready| ready.map(|()| handle))
}

fn note(server: &Server, error: &StartError) {
    tracing::error!(server.name = server.name(), %error, "server did not start");
}

async fn end(server: &Server, handle: ServiceHandle) {
    if let Err(lost) = handle.stop(STOP_GRACE).await {
        tracing::warn!(server.name = server.name(), %lost, "server did not end in order");
    }
}
