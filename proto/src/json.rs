//! Arguments as raw JSON: checked once, split at the top level, never re-serialised,
//! so that `1.0`, `1e400`, 2^63+1 and the order of keys reach the script as sent.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The top level of a JSON object: keys in order, values as their exact source text.
#[derive(Debug, Default)]
pub struct RawObject<'a> {
    /// The members, in the order sent; no key stands twice.
    pub members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

/// Why bytes are not the JSON that was wanted; the text names the place.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Not JSON.
    #[error("invalid JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    /// The same key twice at the top level.
    #[error("duplicate key `{0}` at the top level")]
    Duplicate(String),
}

impl<'a> RawObject<'a> {
    /// The members of the object in `bytes`.
    ///
    /// # Errors
    /// Not a JSON object, or a key that stands twice at the top level.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, JsonError> {
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let object = deserializer.deserialize_map(Members)?;
        deserializer.end()?;
        object.without_duplicates()
    }

    /// The exact source text of a member's value.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.members.iter().find(|(name, _)| name == key).map(|(_, value)| value.get())
    }

    fn without_duplicates(self) -> Result<Self, JsonError> {
        let mut seen = std::collections::HashSet::with_capacity(self.members.len());
        match self.members.iter().find(|(key, _)| !seen.insert(key.as_ref())) {
            Some((key, _)) => Err(JsonError::Duplicate(key.chars().take(100).collect())),
            None => Ok(self),
        }
    }
}

/// Checks that `bytes` are one JSON value and returns its source text without the
/// white space around it.
///
/// # Errors
/// Not JSON.
pub fn raw_value(bytes: &[u8]) -> Result<&str, JsonError> {
    Ok(serde_json::from_slice::<&RawValue>(bytes)?.get())
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = RawObject<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(Key(key)) = map.next_key()? {
            members.push((key, map.next_value()?));
        }
        Ok(RawObject { members })
    }
}

/// A key that borrows where it has no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_text_and_order() {
        let object =
            RawObject::parse(br#" {"z": 1.0, "a":1e400,"big": 9223372036854775809 , "k\u00e9": [1,  2]} "#)
                .unwrap();
        let members: Vec<_> = object.members.iter().map(|(k, v)| (k.as_ref(), v.get())).collect();
        assert_eq!(
            members,
            [("z", "1.0"), ("a", "1e400"), ("big", "9223372036854775809"), ("ké", "[1,  2]")]
        );
        assert_eq!(object.get("a"), Some("1e400"));
    }

    #[test]
    fn duplicates_are_named_even_when_escaped() {
        let error = RawObject::parse(br#"{"a":1,"\u0061":2}"#).unwrap_err();
        assert_eq!(error.to_string(), "duplicate key `a` at the top level");
        assert!(RawObject::parse(br#"{"a":{"b":1,"b":2}}"#).is_ok());
    }

    #[test]
    fn malformed_names_the_place() {
        let error = RawObject::parse(b"{\"a\":\n tru}").unwrap_err().to_string();
        assert!(error.contains("line 2 column"), "{error}");
        for bad in [&b"[]"[..], b"1", b"{} {}", b"{", b"\xff", b"{\"a\":01}", b"{\"a\":\"\xff\"}"] {
            assert!(RawObject::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_not_a_crash() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
        // either answer is sound; a stack overflow is not
        let _ = RawObject::parse(deep.as_bytes());
    }

    #[test]
    fn any_value() {
        assert_eq!(raw_value(b" [1, 2] ").unwrap(), "[1, 2]");
        assert!(raw_value(b"nope").is_err());
    }
}
