//! Which build of this crate it is.

/// A number that changes with this crate's source: a host and a launcher of different builds must not
/// take each other's words for their own.
pub const SOURCE: u64 = {
    let parts: [&[u8]; 16] = [
        include_bytes!("capabilities.rs"),
        include_bytes!("cgroup.rs"),
        include_bytes!("confinement.rs"),
        include_bytes!("filesystem.rs"),
        include_bytes!("identity.rs"),
        include_bytes!("level.rs"),
        include_bytes!("lib.rs"),
        include_bytes!("limits.rs"),
        include_bytes!("link.rs"),
        include_bytes!("mounts.rs"),
        include_bytes!("namespaces.rs"),
        include_bytes!("netlink.rs"),
        include_bytes!("network.rs"),
        include_bytes!("steps.rs"),
        include_bytes!("syscalls.rs"),
        include_bytes!("tasks.rs"),
    ];
    let (mut hash, mut part) = (0xcbf2_9ce4_8422_2325, 0);
    while part < parts.len() {
        hash = fnv1a(hash, parts[part]);
        part += 1;
    }
    hash
};

/// FNV-1a over `text`, going on from `hash`.
pub const fn fnv1a(mut hash: u64, text: &[u8]) -> u64 {
    let mut place = 0;
    while place < text.len() {
        // a const fn has neither iterators nor `From`
        hash = (hash ^ text[place] as u64).wrapping_mul(0x0100_0000_01b3);
        place += 1;
    }
    hash
}
