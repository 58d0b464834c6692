//! What is wrong with a configuration: bad and missing keys as they are asked for, unknown ones at the end.

use super::sources::{is_service_link, is_stranger};
use super::values::Values;

/// Flags that belong to every program and are no keys.
const RESERVED: [&str; 3] = ["help", "version", "check-config"];

impl Values {
    pub(super) fn missing(&mut self, key: &str, help: &str) {
        let name = self.env_name(key);
        self.bad(format!("{key} is missing: {help} (give --{key}, {name} or {key} in the file)"));
    }

    pub(super) fn bad(&mut self, problem: String) {
        self.problems.push(problem);
        self.placeholders = true;
    }

    /// Every problem, those of unknown keys included. Ask for all keys first.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = self.problems.clone();
        problems.extend(self.unknown());
        if !self.placeholders {
            problems.extend(self.failed_checks.iter().cloned());
        }
        problems
    }

    fn unknown(&self) -> Vec<String> {
        let known = |name: &str| self.keys.iter().any(|key| key.name == name);
        let flags = self.flags.keys().filter(|flag| !known(flag) && !RESERVED.contains(&flag.as_str()));
        let file = self.file.keys().filter(|key| !known(key));
        let flags = flags.map(|flag| format!("unknown flag --{flag}"));
        let file = file.map(|key| format!("unknown key {key} in {}", self.file_name));
        flags.chain(self.unknown_env()).chain(file).collect()
    }

    fn unknown_env(&self) -> impl Iterator<Item = String> {
        let known: Vec<_> = self.keys.iter().map(|key| self.env_name(&key.name)).collect();
        self.env.iter().filter_map(move |(name, value)| {
            let ours = name.starts_with(&self.env_prefix) && !known.contains(name);
            let problem = if is_service_link(name, value) {
                return None;
            } else if ours {
                "unknown variable"
            } else if is_stranger(name) && !name.starts_with(&self.env_prefix) {
                "variable of no known program"
            } else {
                return None;
            };
            Some(format!("{problem} {name}"))
        })
    }
}
