//! Bugs on purpose, one at a time, for the one test that shows that the chaos suite finds them.
//! They are in no build but that of the feature `planted-bugs`, which no release can have.

use std::sync::OnceLock;

#[cfg(not(debug_assertions))]
compile_error!("planted bugs are for tests: a release has none");

/// A bug that was chosen by `PLANTED_BUG`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A message is acknowledged before the end of its job is recorded.
    AckBeforeEnd,
    /// An attempt that is not the last one may record an end.
    NoFence,
    /// Who finds an end recorded acknowledges, and tells nobody.
    NoAfterEffects,
}

/// Whether this is the bug of this process.
pub fn has(bug: Bug) -> bool {
    static CHOSEN: OnceLock<Option<Bug>> = OnceLock::new();
    *CHOSEN.get_or_init(chosen) == Some(bug)
}

fn chosen() -> Option<Bug> {
    match std::env::var_os("PLANTED_BUG")?.to_str()? {
        "ack-before-end" => Some(Bug::AckBeforeEnd),
        "no-fence" => Some(Bug::NoFence),
        "no-after-effects" => Some(Bug::NoAfterEffects),
        _ => None,
    }
}

/// The script that records an end, without its fence if that is the bug.
pub(crate) fn end_script(text: &str) -> String {
    if has(Bug::NoFence) { text.replace(FENCE, "") } else { text.to_owned() }
}

/// The line of `end.lua` that refuses what is not the last attempt.
const FENCE: &str = "if got[1] ~= 'running' or got[2] ~= ARGV[2] then return {'fenced'} end\n";

#[cfg(test)]
mod tests {
    #[test]
    fn the_fence_is_the_line_that_would_be_missing() {
        assert!(include_str!("lua/end.lua").contains(super::FENCE));
    }
}
