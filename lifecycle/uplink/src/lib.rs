//! The way out of a network namespace that has no other: whoever holds the far end of its cable reads
//! the packets, and connects in the command's place, to whom it may only.
//!
//! TCP is taken apart and put together again by `smoltcp`: a command's connection is accepted only when
//! the one outside stands, and refused as that one is. UDP is passed on datagram by datagram. Nothing else
//! passes: no ICMP, no fragments, no broadcast.

mod cable;
mod connection;
mod datagrams;
mod door;
mod engine;
mod flows;
mod outside;
mod packet;
mod refusal;
mod rules;
mod source;

pub use engine::Uplink;
pub use rules::{FIRST_RESOLVER, MAX_RESOLVERS, Rules};
pub use source::SOURCE;
