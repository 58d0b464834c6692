//! Moments at which a process is killed, each recognised by what passes a link: the product
//! has no part in it.

use std::fmt;

use super::fault::Victim;
use crate::link::Trap;
use crate::links::Peer;

/// A point in the life of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A gateway is about to publish a job.
    BeforePublish,
    /// The stream has a job, and its gateway has not heard so.
    BeforeAckOfPublish,
    /// A gateway knows that the stream has a job, and its caller does not.
    BeforeAnswer,
    /// A caller waits for a job's end.
    WhileWaiting,
    /// A worker has a job and is about to count an attempt.
    BeforeStart,
    /// A script runs.
    MidScript,
    /// A script has ended, and its end is not recorded.
    BeforeEnd,
    /// The same, and the message that records it arrives when another worker runs the job.
    LateEnd,
    /// The end is recorded, and nobody knows.
    AfterEnd,
    /// The caller is told, and watchers are not.
    BetweenEffects,
    /// Everybody is told, and the message is still in its queue.
    BeforeAck,
}

/// Where a moment is recognised.
pub(super) enum Sign {
    /// A trap on the way to a server.
    Up(Peer, Trap),
    /// A trap on the way back.
    Down(Peer, Trap),
    /// A trap on the way to the gateway's callers.
    ToCallers(Trap),
    /// The ledger knows of a caller who waits.
    Waiting,
    /// The ledger knows of a script that runs.
    Running,
}

/// How Redis' protocol carries the outcome of a job that succeeded.
const SUCCESS: &str = "\r\nsuccess\r\n";

impl Moment {
    /// In the order of a job's life.
    pub const ALL: [Self; 11] = [
        Self::BeforePublish,
        Self::BeforeAckOfPublish,
        Self::BeforeAnswer,
        Self::WhileWaiting,
        Self::BeforeStart,
        Self::MidScript,
        Self::BeforeEnd,
        Self::LateEnd,
        Self::AfterEnd,
        Self::BetweenEffects,
        Self::BeforeAck,
    ];

    /// Those of a worker.
    pub const OF_WORKERS: [Self; 7] = [
        Self::BeforeStart,
        Self::MidScript,
        Self::BeforeEnd,
        Self::LateEnd,
        Self::AfterEnd,
        Self::BetweenEffects,
        Self::BeforeAck,
    ];

    /// Who dies then.
    pub(super) fn victim(self, number: usize) -> Victim {
        if Self::OF_WORKERS.contains(&self) { Victim::Worker(number) } else { Victim::Gateway(number) }
    }

    pub(super) fn sign(self) -> Sign {
        match self {
            Self::BeforePublish => Sign::Up(Peer::Nats, Trap::swallow(&["PUB job."])),
            Self::BeforeAckOfPublish => Sign::Down(Peer::Nats, Trap::swallow(&["\"stream\":\"JOBS_0\""])),
            Self::BeforeAnswer => Sign::ToCallers(Trap::swallow(&["HTTP/1.1 201"])),
            Self::WhileWaiting => Sign::Waiting,
            // the first line of an attempt's log, which the start script writes
            Self::BeforeStart => Sign::Up(Peer::Valkey, Trap::swallow(&[" tag=bash worker="])),
            Self::MidScript => Sign::Running,
            Self::BeforeEnd => Sign::Up(Peer::Valkey, Trap::swallow(&[SUCCESS])),
            Self::LateEnd => Sign::Up(Peer::Valkey, Trap::hold(&[SUCCESS])),
            Self::AfterEnd => Sign::Up(Peer::Nats, Trap::swallow(&["PUB done."])),
            Self::BetweenEffects => Sign::Up(Peer::Nats, Trap::swallow(&["PUB done.", "PUB ev."])),
            Self::BeforeAck => Sign::Up(Peer::Nats, Trap::swallow(&["+ACK"])),
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforePublish => "before it publishes",
            Self::BeforeAckOfPublish => "before it hears the stream's acknowledgement",
            Self::BeforeAnswer => "before its caller hears the acknowledgement",
            Self::WhileWaiting => "while a caller waits",
            Self::BeforeStart => "before it starts a job",
            Self::MidScript => "in the middle of a script",
            Self::BeforeEnd => "before an end is recorded",
            Self::LateEnd => "before an end is recorded, which arrives late",
            Self::AfterEnd => "after an end is recorded",
            Self::BetweenEffects => "between after-effects",
            Self::BeforeAck => "before it acknowledges",
        })
    }
}
