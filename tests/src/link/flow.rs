//! How bytes go one way of a link.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// What happens to the bytes of one way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// They pass.
    #[default]
    Open,
    /// They pass later.
    Slow(Duration),
    /// They wait until the link is mended.
    Held,
    /// They are lost, and their connections with them.
    Swallowed,
    /// They pass up to a certain moment.
    At(Trap),
}

/// A moment: these texts have passed in this order, up to the last, which does not pass any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    texts: Vec<&'static str>,
    /// What then happens to everything.
    holds: bool,
}

impl Trap {
    /// From the last of these texts on, everything is lost.
    pub fn swallow(texts: &[&'static str]) -> Self {
        Self { texts: texts.to_vec(), holds: false }
    }

    /// From the last of these texts on, everything waits.
    pub fn hold(texts: &[&'static str]) -> Self {
        Self { texts: texts.to_vec(), holds: true }
    }

    fn sprung(&self) -> Flow {
        if self.holds { Flow::Held } else { Flow::Swallowed }
    }
}

/// One way of a link, over all its connections.
#[derive(Debug)]
pub(super) struct Direction {
    flow: watch::Sender<Flow>,
    /// How many texts of the trap have passed.
    passed: Mutex<usize>,
}

impl Default for Direction {
    fn default() -> Self {
        Self { flow: watch::Sender::new(Flow::Open), passed: Mutex::new(0) }
    }
}

impl Direction {
    pub(super) fn set(&self, flow: Flow) {
        *self.passed.lock().unwrap_or_else(PoisonError::into_inner) = 0;
        self.flow.send_replace(flow);
    }

    pub(super) async fn trapped(&self) {
        let mut flow = self.flow.subscribe();
        // the sender is ours: it is never gone
        let _ = flow.wait_for(|flow| matches!(flow, Flow::Held | Flow::Swallowed)).await;
    }

    pub(super) fn passage(&self) -> Passage<'_> {
        Passage { way: self, flow: self.flow.subscribe(), tail: Vec::new(), lost: false }
    }

    /// How many of these bytes come before the moment, of which the first `old` have passed before.
    fn before(&self, trap: &Trap, bytes: &[u8], old: usize) -> Option<usize> {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut from = 0;
        while let Some(text) = trap.texts.get(*passed) {
            // one that had passed already does not count again
            from = from.max((old + 1).saturating_sub(text.len()));
            let found = find(bytes.get(from..)?, text.as_bytes())?;
            if *passed + 1 == trap.texts.len() {
                return Some((from + found).saturating_sub(old));
            }
            from += found + text.len();
            *passed += 1;
        }
        None
    }
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}

/// One connection's part in a way.
pub(super) struct Passage<'a> {
    way: &'a Direction,
    flow: watch::Receiver<Flow>,
    /// The end of what passed: a text may come in two pieces.
    tail: Vec<u8>,
    /// It has lost bytes: nothing may follow them.
    pub(super) lost: bool,
}

/// More than any text of a trap has.
const TAIL: usize = 48;

impl Passage<'_> {
    /// Resolves when the way is open again and this connection has lost bytes.
    pub(super) async fn mended(&mut self) {
        if !self.lost {
            return std::future::pending().await;
        }
        // the sender lives as long as we do
        let _ = self.flow.wait_for(|flow| *flow != Flow::Swallowed).await;
    }

    /// How many of these bytes may go, once they may; perhaps not all at once.
    pub(super) async fn admit(&mut self, bytes: &[u8]) -> usize {
        let flow = self.flow.borrow_and_update().clone();
        match flow {
            Flow::Open => {}
            Flow::Slow(by) => tokio::time::sleep(by).await,
            // the sender lives as long as we do
            Flow::Held => drop(self.flow.wait_for(|flow| *flow != Flow::Held).await),
            Flow::Swallowed => {
                self.lost = true;
                return 0;
            }
            Flow::At(trap) => return self.up_to(&trap, bytes),
        }
        self.pass(bytes)
    }

    fn up_to(&mut self, trap: &Trap, bytes: &[u8]) -> usize {
        let whole = [self.tail.as_slice(), bytes].concat();
        let Some(through) = self.way.before(trap, &whole, self.tail.len()) else { return self.pass(bytes) };
        self.way.flow.send_replace(trap.sprung());
        self.pass(&bytes[..through])
    }

    fn pass(&mut self, bytes: &[u8]) -> usize {
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        let surplus = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..surplus);
        bytes.len()
    }
}
