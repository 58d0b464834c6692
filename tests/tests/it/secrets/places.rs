//! Where a secret could be left, and the one search that looks there.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use system_tests::System;

/// Everything that was kept or said, by place.
pub(super) struct Places(BTreeMap<String, Vec<u8>>);

impl Places {
    pub(super) fn of(system: &System, traces: Vec<u8>, answers: Vec<String>) -> Self {
        let mut places = BTreeMap::from([
            ("traces".to_owned(), traces),
            ("answers of the API".to_owned(), answers.join("\n").into_bytes()),
            ("data of NATS".to_owned(), content(system.nats().folder())),
            ("data of Valkey".to_owned(), content(system.valkey().folder())),
            ("log of NATS".to_owned(), content(system.nats().log())),
            ("log of Valkey".to_owned(), content(system.valkey().log())),
        ]);
        for service in system.services() {
            places.insert(format!("log of {}", service.name()), content(service.log()));
        }
        Self(places)
    }

    /// Valkey logs nothing that a client could choose: there its own words show that the
    /// search reads what it should.
    pub(super) fn assert_everywhere(&self, marker: &str) {
        for (place, content) in &self.0 {
            let wanted = if place == "log of Valkey" { "Ready to accept connections" } else { marker };
            assert!(holds(content, wanted), "{place} ({} bytes): no `{wanted}`", content.len());
        }
    }

    pub(super) fn assert_nowhere(&self, secret: &str) {
        for (place, content) in &self.0 {
            let at = content.windows(secret.len()).position(|window| window == secret.as_bytes());
            // what stands before it, not the secret itself
            let before =
                at.map(|at| String::from_utf8_lossy(&content[at.saturating_sub(120)..at]).into_owned());
            assert!(before.is_none(), "{place} holds a secret after `{}`", before.unwrap_or_default());
        }
    }
}

fn holds(content: &[u8], text: &str) -> bool {
    content.windows(text.len()).any(|window| window == text.as_bytes())
}

/// All bytes of a file, or of all files below a folder.
fn content(path: &Path) -> Vec<u8> {
    if path.is_file() {
        return std::fs::read(path).unwrap();
    }
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|entry| content(&entry)).collect()
}

/// A secret as it could be written: plain (its part that no list shows), URL-encoded, and in
/// base64 wherever it may begin.
pub(super) fn forms(secret: &str) -> Vec<String> {
    let hidden = secret[10..].to_owned();
    let encoded = secret.bytes().map(|byte| match byte {
        b'_' | b'-' | b'.' => format!("%{byte:02X}"),
        other => char::from(other).to_string(),
    });
    let encoded: String = encoded.collect();
    let mut forms = vec![hidden, encoded];
    for before in ["", "x", "xx"] {
        let text = format!("{before}{secret}");
        // but for the characters at both ends that depend on what stands beside
        let inner = |text: String| text[4..text.len() - 4].to_owned();
        forms.extend([STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)].map(inner));
    }
    forms
}
