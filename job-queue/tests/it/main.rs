//! The crate against a real nats-server and a real valkey-server, each service with its own
//! least-privilege user. `stage` sets the scene; the other modules are one concern each.

mod cancel;
mod collect;
mod dead;
mod fence;
mod keys;
mod life;
mod listing;
mod logs;
mod memory;
mod outages;
mod presence;
mod pressure;
mod pulling;
mod queue;
mod retention;
mod retries;
mod stage;
mod sweep;
mod tallies;
mod timers;
mod waiting;
