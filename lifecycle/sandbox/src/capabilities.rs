//! What of root's power an ordinary user has inside its own user namespace.

use rustix::io;
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, configure_capability_in_ambient_set,
    set_capabilities,
};

/// What a launcher needs in its namespaces: to mount, to lay a cable and hear what comes out of it, and to listen
/// at any port of its own.
const NEEDED: [CapabilitySet; 4] = [
    CapabilitySet::SYS_ADMIN,
    CapabilitySet::NET_ADMIN,
    CapabilitySet::NET_RAW,
    CapabilitySet::NET_BIND_SERVICE,
];

/// Keeps what is needed over an exec, which takes everything from a user that is not root.
pub(crate) fn keep_over_exec() -> io::Result<()> {
    let needed = CapabilitySet::from_iter(NEEDED);
    set_capabilities(None, CapabilitySets { effective: needed, permitted: needed, inheritable: needed })?;
    NEEDED.into_iter().try_for_each(|one| configure_capability_in_ambient_set(one, true))
}

/// Gives all of it up.
pub(crate) fn drop_all() -> io::Result<()> {
    clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}
