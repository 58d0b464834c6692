//! Where scripts of a test, which can neither write nor look outside their sandbox, tell what they do and
//! wait until they are let go: a server on the loopback, at a port their worker lets them reach.
//!
//! A script says `say <text>`, or `wait <name>` and reads one line when it may go on, which it
//! then confirms by `ok`: whoever dies while it waits takes nobody's turn.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The server. Cheap to clone; its thread ends with the test's process.
#[derive(Clone, Debug)]
pub struct Hub {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    said: Vec<String>,
    turns: BTreeMap<String, usize>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// A new one, at a port of its own.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let hub = Self { address: listener.local_addr().expect("its port"), shared: Arc::default() };
        let shared = Arc::clone(&hub.shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &shared));
            }
        });
        hub
    }

    /// Its port on `127.0.0.1`.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Everything said so far.
    pub fn said(&self) -> Vec<String> {
        self.shared.state().said.clone()
    }

    /// The last lines that were said, so many at most.
    pub fn last_said(&self, most: usize) -> Vec<String> {
        let state = self.shared.state();
        state.said[state.said.len().saturating_sub(most)..].to_vec()
    }

    /// Lets so many who wait for `name` go, those of the future included.
    pub fn let_go(&self, name: &str, times: usize) {
        *self.shared.state().turns.entry(name.to_owned()).or_default() += times;
        self.shared.changed.notify_all();
    }

    /// Lets everybody go who ever waits for `name`.
    pub fn open(&self, name: &str) {
        self.let_go(name, usize::MAX / 2);
    }
}

/// One script, to the end of its connection.
fn serve(stream: TcpStream, shared: &Shared) {
    let Ok(mut answers) = stream.try_clone() else { return };
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        if let Some(text) = line.strip_prefix("say ") {
            shared.state().said.push(text.to_owned());
            // it goes on when it is known to be heard
            if answers.write_all(b"heard\n").is_err() {
                return;
            }
        } else if let Some(name) = line.strip_prefix("wait ")
            && !wait(name, &mut answers, shared)
        {
            return;
        }
    }
}

/// Waits for a turn; whether the script is still there to take it.
fn wait(name: &str, stream: &mut TcpStream, shared: &Shared) -> bool {
    take_turn(name, shared);
    let took = !has_ended(stream) && stream.write_all(b"go\n").is_ok() && confirms(stream);
    if !took {
        *shared.state().turns.entry(name.to_owned()).or_default() += 1;
        shared.changed.notify_all();
    }
    took
}

fn take_turn(name: &str, shared: &Shared) {
    let mut state = shared.state();
    loop {
        let turns = state.turns.entry(name.to_owned()).or_default();
        if *turns > 0 {
            *turns -= 1;
            return;
        }
        state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}

fn has_ended(stream: &TcpStream) -> bool {
    let mut fds = [PollFd::new(stream, PollFlags::RDHUP)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_err() || !fds[0].revents().is_empty()
}

/// `ok` and the end of its line, or the end of the script.
fn confirms(stream: &mut TcpStream) -> bool {
    std::io::Read::read_exact(stream, &mut [0; 3]).is_ok()
}
