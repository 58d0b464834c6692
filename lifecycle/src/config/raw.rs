//! Raw values by key, one table per source. Types come later: see [`super::Values`].

use std::collections::BTreeMap;

/// What the arguments said.
#[derive(Debug, Default)]
pub(super) struct Flags {
    /// `--key value` and `--key=value`; `None` where no value followed.
    pub(super) values: BTreeMap<String, Option<String>>,
    /// What could not be understood.
    pub(super) problems: Vec<String>,
}

impl Flags {
    /// Reads arguments. A value that starts with `--` needs the form `--key=value`.
    pub(super) fn parse(args: &[String]) -> Self {
        let mut flags = Self::default();
        let mut rest = args.iter().peekable();
        while let Some(arg) = rest.next() {
            let Some(name) = arg.strip_prefix("--").filter(|name| !name.is_empty()) else {
                flags.unexpected(arg);
                continue;
            };
            match name.split_once('=') {
                Some((key, value)) => flags.add(key, Some(value.to_owned())),
                None => flags.add(name, rest.next_if(|next| !next.starts_with("--")).cloned()),
            }
        }
        flags
    }

    fn unexpected(&mut self, arg: &str) {
        let hint = if arg == "-h" { " (for help: --help)" } else { "" };
        self.problems.push(format!("unexpected argument {arg:?}{hint}"));
    }

    fn add(&mut self, key: &str, value: Option<String>) {
        if self.values.insert(key.to_owned(), value).is_some() {
            self.problems.push(format!("--{key} is given twice"));
        }
    }
}

/// Reads a flat TOML table. Problems name the file and the line, never its text: it may hold secrets.
pub(super) fn parse_file(name: &str, text: &str) -> (BTreeMap<String, String>, Vec<String>) {
    let table = match text.parse::<toml::Table>() {
        Ok(table) => table,
        Err(error) => return (BTreeMap::new(), vec![malformed(name, text, &error)]),
    };
    let mut values = BTreeMap::new();
    let mut problems = Vec::new();
    for (key, value) in table {
        match plain(&value) {
            Ok(text) => drop(values.insert(key, text)),
            Err(why) => problems.push(format!("{key} in {name} {why}")),
        }
    }
    (values, problems)
}

fn malformed(name: &str, text: &str, error: &toml::de::Error) -> String {
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    let line = text.get(..start).map_or(1, |before| before.matches('\n').count() + 1);
    format!("{name} line {line} is not TOML: {}", error.message())
}

fn plain(value: &toml::Value) -> Result<String, &'static str> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Float(number) => Ok(number.to_string()),
        toml::Value::Boolean(truth) => Ok(truth.to_string()),
        toml::Value::Datetime(time) => Ok(time.to_string()),
        toml::Value::Array(items) => joined(items),
        toml::Value::Table(_) => Err("is a table, but the file is flat"),
    }
}

fn joined(items: &[toml::Value]) -> Result<String, &'static str> {
    let texts = items.iter().map(plain).collect::<Result<Vec<_>, _>>()?;
    if texts.iter().any(|text| text.contains(',')) {
        return Err("has an element with a comma in it");
    }
    Ok(texts.join(","))
}
