//! The program as people run it, and the servers it starts, as real processes on throw-away data.

mod ask;
mod configs;
mod host;
mod servers;
mod verbs;
