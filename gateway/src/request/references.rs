//! `$var:` and `$res:`: strings that stand for a variable or a resource (contract 8.1), of which there are none yet.

use serde_json::Value;

use crate::error::{ApiError, ApiResult};

const REFERENCES: [&str; 2] = ["$var:", "$res:"];

/// Refuses arguments in which one stands, at any depth: a script must not be given the reference for the value.
///
/// # Errors
/// 400 that names the first.
pub(crate) fn refuse(args: &[u8]) -> ApiResult<()> {
    let text = String::from_utf8_lossy(args);
    // an escape may hide one
    if !REFERENCES.iter().any(|reference| text.contains(reference)) && !text.contains("\\u0024") {
        return Ok(());
    }
    // what cannot be read as values (nested too deeply) is not resolved either
    let args: Value = serde_json::from_slice(args).unwrap_or_default();
    match first(&args) {
        Some(reference) => {
            let shown: String = reference.chars().take(100).collect();
            let text = format!(
                "the argument `{shown}` refers to a variable or a resource, which are not supported yet"
            );
            Err(ApiError::bad_request(text))
        }
        None => Ok(()),
    }
}

/// Recursion is bounded by the parser's.
fn first(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => REFERENCES.iter().any(|reference| text.starts_with(reference)).then_some(text),
        Value::Array(items) => items.iter().find_map(first),
        Value::Object(members) => members.values().find_map(first),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_refused_at_any_depth_and_nothing_else_is() {
        for refused in [
            r#"{"a":"$var:u/x/y"}"#,
            r#"{"a":[{"b":"$res:f/db"}]}"#,
            r#"{"a":"\u0024var:x"}"#,
            r#"{"a":"$res:"}"#,
        ] {
            assert!(refuse(refused.as_bytes()).is_err(), "{refused}");
        }
        for fine in [
            "{}",
            r#"{"a":"costs $var: 5"}"#,
            r#"{"a":"\"$var:x\""}"#,
            r#"{"$var:x":1}"#,
            r#"{"a":"\u0024 5"}"#,
        ] {
            assert!(refuse(fine.as_bytes()).is_ok(), "{fine}");
        }
        let deep = format!("{{\"a\":{}\"$var:x\"{}}}", "[".repeat(200), "]".repeat(200));
        assert!(refuse(deep.as_bytes()).is_ok());
    }
}
