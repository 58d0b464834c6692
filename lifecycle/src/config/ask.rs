//! How [`Values`] finds the raw value of a key: declares it, then looks through the sources in their order.

use super::Secret;
use super::raw::parse_file;
use super::sources::{Source, read_bounded};
use super::values::{Given, Key, Kind, Values};

impl Values {
    pub(super) fn load_file(&mut self, given: Option<(String, String)>) {
        let path =
            self.ask("config", Kind::Optional, "TOML file with these keys, without the dashes in front");
        let Some((name, text)) = given.or_else(|| self.read_file(path?)) else { return };
        let (file, problems) = parse_file(&name, &text);
        self.file = file;
        self.file_name = name;
        self.problems.extend(problems);
    }

    fn read_file(&mut self, path: Given) -> Option<(String, String)> {
        match read_bounded(&path.text) {
            Ok(text) => Some((path.text, text)),
            Err(why) => {
                self.problems.push(format!("config: {why} (from {})", path.source));
                None
            }
        }
    }

    /// Declares a key and finds its value.
    pub(super) fn ask(&mut self, key: &str, kind: Kind, help: &str) -> Option<Given> {
        let given = self.find(key);
        let default = match &kind {
            Kind::Default(text) => Some((text.clone(), Source::Default)),
            Kind::Switch => Some(("false".to_owned(), Source::Default)),
            Kind::Required { .. } | Kind::Optional | Kind::Secret { .. } => None,
        };
        let shown = given.as_ref().map(|given| (given.text.clone(), given.source.clone())).or(default);
        self.keys.push(Key { name: key.to_owned(), help: help.to_owned(), kind, shown });
        given
    }

    pub(super) fn ask_secret(&mut self, key: &str, required: bool, help: &str) -> Option<Secret<String>> {
        let file_key = format!("{key}-file");
        let direct = self.ask(key, Kind::Secret { required }, help);
        let by_file = self.ask(&file_key, Kind::Optional, &format!("file that holds {key}"));
        if let (Some(direct), Some(by_file)) = (&direct, &by_file) {
            let (one, other) = (&direct.source, &by_file.source);
            self.bad(format!("{key} is given twice: by {one} and by {other}"));
        }
        let source = direct.as_ref().or(by_file.as_ref())?.source.clone();
        let text = match (direct, by_file) {
            (Some(direct), _) => direct.text,
            (None, by_file) => self.read_secret(&file_key, &by_file?)?,
        };
        if text.is_empty() {
            self.bad(format!("{key} is empty (from {source})"));
            return None;
        }
        Some(Secret::new(text))
    }

    fn read_secret(&mut self, key: &str, path: &Given) -> Option<String> {
        match read_bounded(&path.text) {
            Ok(text) => Some(text.trim_end_matches(['\n', '\r']).to_owned()),
            Err(why) => {
                self.bad(format!("{key}: {why} (from {})", path.source));
                None
            }
        }
    }

    fn find(&mut self, key: &str) -> Option<Given> {
        match self.flags.get(key) {
            Some(Some(text)) => {
                return Some(Given { text: text.clone(), source: Source::Flag(key.to_owned()) });
            }
            Some(None) => self.bad(format!("--{key} needs a value")),
            None => {}
        }
        let name = self.env_name(key);
        if let Some(text) = self.env.get(&name) {
            return Some(Given { text: text.clone(), source: Source::Env(name) });
        }
        let text = self.file.get(key)?.clone();
        Some(Given { text, source: Source::File(self.file_name.clone()) })
    }
}
