//! Typed configuration from flags, environment and a TOML file, in this order of precedence.
//! A service lists its keys once, in [`FromValues::from_values`]; help, `--check-config` and the search for
//! unknown keys come from the same list. Every problem is found in one go, before a socket is opened.

mod ask;
mod human;
mod print;
mod problems;
mod raw;
mod resolve;
mod secret;
mod sources;
#[cfg(test)]
mod tests;
mod values;

pub use human::{HumanDuration, HumanError, HumanSize};
pub use resolve::{Invalid, Resolved, resolve};
pub use secret::Secret;
pub use sources::Sources;
pub use values::Values;

/// A configuration that reads itself from [`Values`]: one line per key.
pub trait FromValues: Sized {
    /// Reads every key. Bad keys yield placeholders here and problems in `values`;
    /// a configuration with problems is dropped, never used.
    fn from_values(values: &mut Values) -> Self;
}
