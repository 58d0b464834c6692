//! Words of the language of filters, as seccomp and packet sockets know it (linux/bpf_common.h).

/// The word at this place is to be looked at.
pub(crate) const LOAD: u16 = 0x20;

/// How many steps to pass over if it is this, and if not.
pub(crate) const IF_EQUAL: u16 = 0x15;

/// The same, if it is no less than this.
#[cfg(target_arch = "x86_64")]
pub(crate) const IF_AT_LEAST: u16 = 0x35;

/// This is the answer.
pub(crate) const RETURN: u16 = 0x06;
