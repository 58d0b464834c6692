//! Script languages of the contract (0.3, a closed enum on the wire).

use std::fmt;
use std::str::FromStr;

macro_rules! languages {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// A script language, by the contract's names. Which of them run is the workers' say.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "the names are the documentation")]
        pub enum Language { $($variant),+ }

        impl Language {
            /// Every language of the contract.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

languages! {
    Python3 = "python3", Deno = "deno", Go = "go", Bash = "bash", Powershell = "powershell",
    Postgresql = "postgresql", Mysql = "mysql", Bigquery = "bigquery", Snowflake = "snowflake",
    Mssql = "mssql", Oracledb = "oracledb", Graphql = "graphql", Nativets = "nativets", Bun = "bun",
    Bunnative = "bunnative", Php = "php", Rust = "rust", Ansible = "ansible", Csharp = "csharp",
    Nu = "nu", Java = "java", Ruby = "ruby", Rlang = "rlang", Duckdb = "duckdb", Dbt = "dbt",
}

impl Language {
    /// The tag its jobs get when neither script nor caller names one.
    pub fn default_tag(self) -> &'static str {
        self.as_str()
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no language of the contract.
#[derive(Debug, thiserror::Error)]
#[error("unknown language `{0}`")]
pub struct UnknownLanguage(String);

impl FromStr for Language {
    type Err = UnknownLanguage;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|language| language.as_str() == text);
        found.copied().ok_or_else(|| UnknownLanguage(text.to_owned()))
    }
}

impl serde::Serialize for Language {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Language {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for language in Language::ALL {
            assert_eq!(language.as_str().parse::<Language>().unwrap(), *language);
        }
        assert!("python".parse::<Language>().is_err());
    }
}
