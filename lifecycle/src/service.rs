//! What a program says about itself: the three facts every start, help text and metric needs.

/// One program of ours, as its `main.rs` names it.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// Name in lower case with dashes, such as `auth-service`; it decides the environment prefix.
    pub name: &'static str,
    /// One line for `--help`.
    pub about: &'static str,
    /// Version, usually `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
}
