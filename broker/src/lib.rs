//! How a Hookmill process is connected to NATS: one place for the connect options that
//! bite (reconnects, inboxes, capacities), the state of the link, the names of streams
//! and subjects, and what each service may do there.

mod connection;
pub mod names;
pub mod permissions;

pub use connection::{Broker, BrokerConfig, ConnectError, Link};
