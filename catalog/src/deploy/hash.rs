//! The hash of a version: the first 8 bytes of SHA-256 over a versioned encoding of all
//! fields of the new script, each as name and value with their lengths before them, so
//! that no two scripts share an encoding. The encoding is for ever: stored hashes are
//! keys. `auto_parent` is an order to the deploy and not a field of the version; the
//! parent it found is.

use proto::{ScriptHash, Tag};
use ring::digest::{Context, SHA256};
use serde_json::Value;

use crate::NewScript;

/// What every encoding begins with.
const DOMAIN: &[u8] = b"hookmill.script.v1\n";

/// The id of the version that `new` becomes after `parent`.
pub fn script_hash(new: &NewScript, parent: Option<ScriptHash>) -> ScriptHash {
    let mut fields = Fields::new();
    fields.text("path", Some(new.path.as_str()));
    fields.text("parent_hash", parent.map(|hash| hash.to_string()).as_deref());
    fields.text("summary", Some(&new.summary));
    fields.text("description", Some(&new.description));
    fields.text("content", Some(&new.content));
    fields.text("language", Some(new.language.as_str()));
    fields.text("schema", new.schema.as_ref().map(canonical).as_deref());
    fields.text("kind", new.kind.as_deref());
    fields.text("tag", new.tag.as_ref().map(Tag::as_str));
    fields.text("timeout", new.timeout.map(|seconds| seconds.to_string()).as_deref());
    fields.text("lock", new.lock.as_deref());
    fields.text("deployment_message", new.deployment_message.as_deref());
    let mut others: Vec<(&String, &Value)> = new.other.iter().collect();
    others.sort_by_key(|(name, _)| *name);
    for (name, value) in others {
        fields.text(name, Some(&canonical(value)));
    }
    fields.finish()
}

struct Fields(Context);

impl Fields {
    fn new() -> Self {
        let mut context = Context::new(&SHA256);
        context.update(DOMAIN);
        Self(context)
    }

    /// Length and bytes of the name, then `0` for an absent value or `1` with its
    /// length and bytes; lengths are 8 bytes, big-endian.
    fn text(&mut self, name: &str, value: Option<&str>) {
        self.sized(name);
        self.0.update(&[u8::from(value.is_some())]);
        if let Some(value) = value {
            self.sized(value);
        }
    }

    fn sized(&mut self, text: &str) {
        self.0.update(&(text.len() as u64).to_be_bytes());
        self.0.update(text.as_bytes());
    }

    fn finish(self) -> ScriptHash {
        let digest = self.0.finish();
        let mut first = [0; 8];
        first.copy_from_slice(&digest.as_ref()[..8]);
        ScriptHash::from_be_bytes(first)
    }
}

/// JSON with sorted keys and without white space: the order a client happens to send
/// its keys in makes no other version.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            let members: Vec<String> = sorted
                .into_iter()
                .map(|(name, value)| format!("{}:{}", quoted(name), canonical(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn script(more: &Value) -> NewScript {
        let mut sent = json!({"path": "f/a/b", "summary": "s", "content": "echo", "language": "bash"});
        sent.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(sent).unwrap()
    }

    /// The bytes written out by hand from the rule.
    #[test]
    fn golden() {
        const BYTES: &[u8] = b"hookmill.script.v1\n\
            \0\0\0\0\0\0\0\x04path\x01\0\0\0\0\0\0\0\x05f/a/b\
            \0\0\0\0\0\0\0\x0bparent_hash\x01\0\0\0\0\0\0\0\x1000000000000000ff\
            \0\0\0\0\0\0\0\x07summary\x01\0\0\0\0\0\0\0\x01s\
            \0\0\0\0\0\0\0\x0bdescription\x01\0\0\0\0\0\0\0\0\
            \0\0\0\0\0\0\0\x07content\x01\0\0\0\0\0\0\0\x04echo\
            \0\0\0\0\0\0\0\x08language\x01\0\0\0\0\0\0\0\x04bash\
            \0\0\0\0\0\0\0\x06schema\x01\0\0\0\0\0\0\0\x10{\"a\":1,\"b\":[{}]}\
            \0\0\0\0\0\0\0\x04kind\0\
            \0\0\0\0\0\0\0\x03tag\x01\0\0\0\0\0\0\0\x03gpu\
            \0\0\0\0\0\0\0\x07timeout\x01\0\0\0\0\0\0\0\x0230\
            \0\0\0\0\0\0\0\x04lock\x01\0\0\0\0\0\0\0\0\
            \0\0\0\0\0\0\0\x12deployment_message\0\
            \0\0\0\0\0\0\0\x04envs\x01\0\0\0\0\0\0\0\x05[\"A\"]\
            \0\0\0\0\0\0\0\x08priority\x01\0\0\0\0\0\0\0\x04null";
        let more = json!({"priority": null, "envs": ["A"], "tag": "gpu", "timeout": 30, "lock": "",
            "schema": {"b": [{}], "a": 1}, "auto_parent": true});
        let hash = script_hash(&script(&more), Some("00000000000000ff".parse().unwrap()));
        let digest = proto::bearer::sha256(BYTES);
        assert_eq!(hash.to_string(), hex::encode(&digest[..8]));
    }

    #[test]
    fn every_field_counts_once() {
        let plain = script_hash(&script(&json!({})), None);
        assert_eq!(
            plain,
            script_hash(&script(&json!({"auto_parent": true, "parent_hash": "00000000000000ff"})), None)
        );
        let changes = [
            json!({"path": "f/a/c"}),
            json!({"summary": "t"}),
            json!({"description": "d"}),
            json!({"content": "echo "}),
            json!({"language": "deno"}),
            json!({"schema": {}}),
            json!({"kind": "script"}),
            json!({"tag": "x"}),
            json!({"timeout": 0}),
            json!({"lock": ""}),
            json!({"deployment_message": ""}),
            json!({"anything": false}),
            json!({"summary": "", "description": "s"}),
        ];
        let mut hashes: std::collections::HashSet<_> =
            changes.iter().map(|change| script_hash(&script(change), None)).collect();
        hashes.insert(plain);
        hashes.insert(script_hash(&script(&json!({})), Some("00000000000000ff".parse().unwrap())));
        assert_eq!(hashes.len(), changes.len() + 2);
    }
}
