//! How strongly a command is confined.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Each level has all that the ones before it have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Own user where we are root, no new privileges, no inherited descriptors, limits.
    Process,
    /// Landlock and seccomp.
    Landlock,
    /// Own user, mount, process, IPC and host name namespaces.
    Namespaces,
}

/// A word that names no [`Level`].
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is none of process, landlock and namespaces")]
pub struct UnknownLevel(String);

impl Level {
    /// All, the strongest first.
    pub const ALL: [Self; 3] = [Self::Namespaces, Self::Landlock, Self::Process];

    /// Its word in configurations and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Landlock => "landlock",
            Self::Namespaces => "namespaces",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|level| level.as_str() == word);
        found.ok_or_else(|| UnknownLevel(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_order() {
        assert!(Level::ALL.is_sorted_by(|a, b| a > b));
        for level in Level::ALL {
            assert_eq!(level.to_string().parse::<Level>().unwrap(), level);
        }
        assert!("Landlock".parse::<Level>().unwrap_err().to_string().contains("Landlock"));
    }
}
