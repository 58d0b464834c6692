//! Which build of this crate it is.

/// This crate's source: a host and a supervisor of different builds must not take each other's words for
/// their own.
pub const SOURCE: [&[u8]; 11] = [
    include_bytes!("cable.rs"),
    include_bytes!("connection.rs"),
    include_bytes!("datagrams.rs"),
    include_bytes!("door.rs"),
    include_bytes!("engine.rs"),
    include_bytes!("flows.rs"),
    include_bytes!("lib.rs"),
    include_bytes!("outside.rs"),
    include_bytes!("packet.rs"),
    include_bytes!("refusal.rs"),
    include_bytes!("rules.rs"),
];
