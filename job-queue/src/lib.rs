//! What is *run*: the job streams in NATS, and records, results, logs and listings in
//! Redis (`docs/redis-keys.md`). The only crate that touches either.
//!
//! - [`Publisher`] puts a job into the stream and waits for its acknowledgement;
//! - [`Mover`] puts jobs there whose timers have fired, and hands on what else has come due;
//! - [`Puller`] hands out as many jobs as there are free slots, each as a [`Delivery`];
//! - [`Records`] is the store: the start and end scripts, logs, cancellation, listings;
//! - [`Pressure`] says whether new jobs may come in;
//! - [`Completions`], [`Events`] and [`Control`] are the subjects that wake waiters and workers.

mod collect;
mod model;
#[cfg(feature = "planted-bugs")]
pub mod planted;
mod pressure;
mod store;
mod stream;
mod subjects;
mod sweep;

pub use collect::{Collected, Collector};
pub use model::{
    Args, CallerInfo, CancelRequest, End, Grant, InvalidEnvelope, Job, JobState, Outcome, ProcessStart,
    Record, Trace, canceled_result, error_result, now_us,
};
pub use pressure::{Bounds, NoShare, Pressure, Refusal, Share, Stream, Unit};
pub use store::{
    CancelAnswer, CountAnswer, CountRequest, Counted, CountedEnd, EndAnswer, EndRequest, Filter, LogChunk,
    LogSlice, Memory, NextTry, Order, Page, PageCursor, Passed, PastAttempt, Presence, QueueCursor,
    QueueFilter, QueuePage, QueuePart, QueueQuery, QueuedRows, Records, RedisConfig, Renewal, Reservation,
    Reserved, Retention, RetryAnswer, RetryRequest, StartAnswer, StartRequest, StoreError, Term, TermField,
    Undo, WorkerRow,
};
pub use stream::{
    After, Afters, ArgsError, ArgsStore, Consumer, Consumers, DeadLetter, DeadLetters, DeadPage, DeathReason,
    Delivery, DeliveryNumber, Due, Finder, FiredAfter, FiredTick, Health, KeptLetter, Lease, LeaseError,
    Mover, PROVISION_DEFAULT_MAX_BYTES, Place, PublishError, Publisher, Puller, PullerConfig, QueuedJob,
    Slot, Slots, StreamError, Tick, Ticks, provision,
};
pub use subjects::{Completions, Control, EventKind, EventWatch, Events, TooManyWaiters, Waited, Waiter};
pub use sweep::{SweepError, Sweeper, Swept};
