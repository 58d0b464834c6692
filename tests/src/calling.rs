//! The one thread on which all requests of the tests are made, with their connections.
//!
//! hyper hands a request to its connection's task through tokio's unbounded channel. When the server
//! closes just then, and both tasks run on different threads, the request can be put there after the
//! receiver has emptied the channel for the last time: it stays there, and its caller waits for ever
//! (7 of 729,000 requests to a server that closes each connection at once, hyper 1.12, tokio 1.54). A
//! suite that counts callers without an answer must not make them itself. On one thread both cannot
//! happen at once.

use std::future::Future;
use std::sync::LazyLock;
use std::sync::mpsc::sync_channel;

use tokio::runtime::{Builder, Handle};
use tokio_util::task::AbortOnDropHandle;

static THREAD: LazyLock<Handle> = LazyLock::new(|| {
    let (tell, told) = sync_channel(1);
    let thread = std::thread::Builder::new().name("calls".to_owned());
    let started = thread.spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        tell.send(runtime.handle().clone()).expect("it is waited for");
        runtime.block_on(std::future::pending::<()>());
    });
    drop(started.expect("a thread can be started"));
    told.recv().expect("the thread says so")
});

/// Does what is asked there; it is given up when the caller gives up.
pub(crate) async fn call<T: Send + 'static>(what: impl Future<Output = T> + Send + 'static) -> T {
    let task = AbortOnDropHandle::new(THREAD.spawn(what));
    task.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
