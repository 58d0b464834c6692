//! Ids and names, each a type of its own that cannot hold a malformed value.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// A name or id that is not of its form; the text says which form that is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{value}` is not valid: {form}")]
pub struct InvalidId {
    what: &'static str,
    value: String,
    form: &'static str,
}

impl InvalidId {
    fn new(what: &'static str, value: &str, form: &'static str) -> Self {
        let value = value.chars().take(80).collect();
        Self { what, value, form }
    }
}

/// A newtype over text with one validity rule; serialised as the text.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $form:literal, $valid:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text as one token of a subject or key.
            pub fn token(&self) -> String {
                crate::subject::encode(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if $valid(text) { Ok(Self(text.into())) } else { Err(InvalidId::new($what, text, $form)) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id!(
    /// A workspace: lower-case letters, digits, `-` and `_` (contract 5.3).
    WorkspaceId,
    "workspace",
    "1 to 50 lower-case letters, digits, `-` or `_`",
    workspace_form
);
text_id!(
    /// The path of a script or flow: `u/<user>/<name>` or `f/<folder>/<name>` (contract 5.5).
    ScriptPath,
    "path",
    "`u/<user>/<name>` or `f/<folder>/<name>`, segments of letters, digits, `_` and `-`, at most 255 characters",
    path_form
);
text_id!(
    /// The queue a job waits in; workers serve tags.
    Tag,
    "tag",
    "1 to 50 characters, none of them a control character",
    tag_form
);
text_id!(
    /// The internal id of a token; says nothing about the token itself.
    TokenId,
    "token id",
    "1 to 64 letters, digits, `-` or `_`",
    plain_form
);
text_id!(
    /// One running process of ours, new at each start; a subject token as it is.
    InstanceId,
    "instance id",
    "1 to 64 letters, digits, `-` or `_`",
    plain_form
);

fn workspace_form(text: &str) -> bool {
    let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    (1..=50).contains(&text.len()) && text != crate::subject::NONE && text.bytes().all(valid)
}

fn plain_form(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(plain_byte)
}

fn plain_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn tag_form(text: &str) -> bool {
    (1..=50).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

fn path_form(text: &str) -> bool {
    let mut segments = text.split('/');
    let root = matches!(segments.next(), Some("u" | "f"));
    let rest: Vec<&str> = segments.collect();
    let sound = |segment: &&str| !segment.is_empty() && segment.bytes().all(plain_byte);
    root && text.len() <= 255 && rest.len() >= 2 && rest.iter().all(sound)
}

impl ScriptPath {
    /// `x` of `u/x/…`: the user it belongs to.
    pub fn user(&self) -> Option<&str> {
        self.0.strip_prefix("u/").and_then(|rest| rest.split('/').next())
    }
}

impl TokenId {
    /// A new random id.
    pub fn random() -> Self {
        Self(Uuid::now_v7().simple().to_string().into())
    }
}

impl InstanceId {
    /// A new id that begins with the service's name.
    pub fn random(service: &str) -> Self {
        Self(format!("{service}-{}", Uuid::now_v7().simple()).into())
    }
}

/// A job's uuid; time-ordered (version 7) unless a caller chose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(Uuid);

impl JobId {
    /// A new time-ordered id.
    pub fn random() -> Self {
        Self(Uuid::now_v7())
    }

    /// The uuid.
    pub fn uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for JobId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for JobId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let parsed = Uuid::try_parse(text).ok().filter(|_| text.len() == 36);
        parsed.map(Self).ok_or_else(|| InvalidId::new("job id", text, "a uuid such as 0197c1f0-…"))
    }
}

impl serde::Serialize for JobId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for JobId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A script version: 8 bytes, on the wire 16 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScriptHash(u64);

impl ScriptHash {
    /// From the first 8 bytes of a digest, big-endian.
    pub fn from_be_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }
}

impl fmt::Display for ScriptHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for ScriptHash {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let hex = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let value = hex.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        value.map(Self).ok_or_else(|| InvalidId::new("script hash", text, "16 hexadecimal digits"))
    }
}

impl serde::Serialize for ScriptHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for ScriptHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for good in ["u/admin/x", "f/demo/hello", "f/a/b/c/d-e_f", "f/d/9"] {
            assert!(good.parse::<ScriptPath>().is_ok(), "{good}");
        }
        for bad in
            ["", "f", "f/x", "f//x", "f/x/", "g/x/y", "hub/1/x", "f/x/..", "f/x/a b", "/f/x/y", "f/x/é"]
        {
            assert!(bad.parse::<ScriptPath>().is_err(), "{bad}");
        }
        assert!(format!("f/x/{}", "y".repeat(251)).parse::<ScriptPath>().is_ok());
        assert!(format!("f/x/{}", "y".repeat(252)).parse::<ScriptPath>().is_err());
        assert_eq!("u/eve/x".parse::<ScriptPath>().unwrap().user(), Some("eve"));
        assert_eq!("f/eve/x".parse::<ScriptPath>().unwrap().user(), None);
    }

    #[test]
    fn workspaces() {
        for good in ["demo", "admins", "wm-fork-1", "a_b", "__"] {
            assert!(good.parse::<WorkspaceId>().is_ok(), "{good}");
        }
        for bad in ["", "_", "Demo", "a/b", "a.b", "a b"] {
            assert!(bad.parse::<WorkspaceId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn hashes() {
        let hash: ScriptHash = "00ff00ff00ff00ff".parse().unwrap();
        assert_eq!(hash.to_string(), "00ff00ff00ff00ff");
        assert_eq!("00FF00FF00FF00FF".parse::<ScriptHash>().unwrap(), hash);
        for bad in ["", "ff", "00ff00ff00ff00f", "00ff00ff00ff00fg", "+0ff00ff00ff00ff", "00ff00ff00ff00ff0"]
        {
            assert!(bad.parse::<ScriptHash>().is_err(), "{bad}");
        }
    }

    #[test]
    fn job_ids() {
        let id = JobId::random();
        assert_eq!(id.to_string().parse::<JobId>().unwrap(), id);
        for bad in [
            "",
            "x",
            "Unauthorized",
            "0197c1f000007000800000000000000",
            "{0197c1f0-0000-7000-8000-000000000000}",
        ] {
            assert!(bad.parse::<JobId>().is_err(), "{bad}");
        }
    }
}
