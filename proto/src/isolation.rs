//! How much of its process one job leaves to the next.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a script, its workspace or nobody has chosen: `isolation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IsolationMode {
    /// One process takes the jobs of a version one after the other; globals of modules stay.
    #[default]
    Warm,
    /// Each job has a child of a process that has loaded the script, forked before the job comes; nothing stays.
    Fork,
    /// Each job has a new process.
    Fresh,
}

impl IsolationMode {
    /// All of them, by name.
    const ALL: [Self; 3] = [Self::Warm, Self::Fork, Self::Fresh];

    /// The name in settings and comments.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Fork => "fork",
            Self::Fresh => "fresh",
        }
    }

    /// What the first line of a script says, if that is a comment such as `# isolation: fork` or `// isolation: fork`;
    /// behind `#!` it may be the second.
    ///
    /// # Errors
    /// It says `isolation:` and names no mode.
    pub fn of_source(source: &str) -> Result<Option<Self>, UnknownIsolation> {
        let line = source.lines().find(|line| !line.starts_with("#!")).unwrap_or_default();
        let comment = line.trim().strip_prefix('#').or_else(|| line.trim().strip_prefix("//"));
        let asked = comment.and_then(|text| text.trim().strip_prefix("isolation:"));
        asked.map(|name| name.trim().parse()).transpose()
    }
}

impl fmt::Display for IsolationMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no mode.
#[derive(Debug, thiserror::Error)]
#[error("unknown isolation `{0}`: it is `warm`, `fork` or `fresh`")]
pub struct UnknownIsolation(String);

impl FromStr for IsolationMode {
    type Err = UnknownIsolation;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|mode| mode.as_str() == text);
        found.copied().ok_or_else(|| UnknownIsolation(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_may_say_it() {
        let of = |source| IsolationMode::of_source(source);
        assert_eq!(of("# isolation: fork\ndef main(): pass").unwrap(), Some(IsolationMode::Fork));
        assert_eq!(of("//isolation:fresh").unwrap(), Some(IsolationMode::Fresh));
        assert_eq!(of("#!/usr/bin/env bash\n  # isolation: warm  \n").unwrap(), Some(IsolationMode::Warm));
        for none in ["", "import os", "import os\n# isolation: fork", "# isolated", "isolation: fork"] {
            assert_eq!(of(none).unwrap(), None, "{none:?}");
        }
        assert_eq!(
            of("# isolation: cosy").unwrap_err().to_string(),
            "unknown isolation `cosy`: it is `warm`, `fork` or `fresh`"
        );
    }
}
