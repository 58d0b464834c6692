//! Scopes of tokens (contract 5.4): `{domain}:{action}[:{path,path}]`, with
//! `jobs:run[:scripts|:flows[:paths]]` and its legacy forms `run:script/<path>`.

use crate::ScriptPath;

/// What a token is narrowed to; empty means all rights of its account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

/// A scope that is not of the vocabulary's form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid scope `{0}`: expected `domain:action`, `domain:action:path,…` or `jobs:run[:scripts|flows[:path,…]]`"
)]
pub struct InvalidScope(String);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Scope {
    text: String,
    domain: String,
    action: String,
    /// `scripts` or `flows`, for `jobs:run` only.
    kind: Option<String>,
    /// Empty: every path.
    paths: Vec<String>,
}

const ACTIONS: [&str; 3] = ["read", "write", "run"];
const RUN_KINDS: [&str; 2] = ["scripts", "flows"];

impl Scopes {
    /// Parses scopes as they were given at a token's making.
    ///
    /// # Errors
    /// The first that is not of the form.
    pub fn parse<S: AsRef<str>>(texts: &[S]) -> Result<Self, InvalidScope> {
        texts.iter().map(|text| Scope::parse(text.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether no scope narrows the token.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The scopes as given.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(|scope| scope.text.clone()).collect()
    }

    pub(super) fn only_run(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(Scope::is_run)
    }

    pub(super) fn run_script(&self, path: &ScriptPath) -> bool {
        self.0.is_empty() || self.0.iter().any(|scope| scope.runs("scripts", path.as_str()))
    }

    pub(super) fn allow(&self, domain: &str, action: &str, path: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|scope| scope.allows(domain, action, path))
    }

    /// Whether every one of these scopes is within `wider`: a token may only make
    /// tokens that can do no more than itself.
    pub fn within(&self, wider: &Self) -> bool {
        wider.0.is_empty() || (!self.0.is_empty() && self.0.iter().all(|scope| scope.within_any(&wider.0)))
    }
}

impl Scope {
    fn parse(text: &str) -> Result<Self, InvalidScope> {
        let canonical = legacy(text).unwrap_or_else(|| text.to_owned());
        let mut parts = canonical.splitn(3, ':').map(str::to_owned);
        let (Some(domain), Some(action)) = (parts.next(), parts.next()) else {
            return Err(InvalidScope(text.to_owned()));
        };
        let rest = parts.next();
        let (kind, paths) = if domain == "jobs" && action == "run" { split_kind(rest) } else { (None, rest) };
        let scope =
            Self { text: text.to_owned(), domain, action, kind, paths: split_paths(paths.as_deref()) };
        if scope.is_sound(paths.as_deref()) { Ok(scope) } else { Err(InvalidScope(text.to_owned())) }
    }

    fn is_sound(&self, paths: Option<&str>) -> bool {
        let known_kind = self.kind.as_deref().is_none_or(|kind| RUN_KINDS.contains(&kind));
        let run_needs_kind = self.is_run() && self.kind.is_none() && paths.is_some();
        let lower =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let paths_sound = paths.is_none() || self.paths.iter().all(|path| path == "*" || is_pattern(path));
        let any_path = paths.is_none() || !self.paths.is_empty();
        lower(&self.domain)
            && ACTIONS.contains(&self.action.as_str())
            && known_kind
            && !run_needs_kind
            && paths_sound
            && any_path
    }

    fn is_run(&self) -> bool {
        self.domain == "jobs" && self.action == "run"
    }

    fn runs(&self, kind: &str, path: &str) -> bool {
        self.is_run() && self.kind.as_deref().is_none_or(|own| own == kind) && self.covers(path)
    }

    fn allows(&self, domain: &str, action: &str, path: &str) -> bool {
        let verb = self.action == action || (self.action == "write" && action == "read");
        self.domain == domain && verb && self.covers(path)
    }

    fn covers(&self, path: &str) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|pattern| matches(pattern, path))
    }

    fn within_any(&self, wider: &[Self]) -> bool {
        wider.iter().any(|other| self.within(other))
    }

    fn within(&self, other: &Self) -> bool {
        let verb = self.action == other.action || (other.action == "write" && self.action == "read");
        let kind = other.kind.is_none() || other.kind == self.kind;
        let paths = other.paths.is_empty()
            || (!self.paths.is_empty() && self.paths.iter().all(|path| other.covers(path)));
        self.domain == other.domain && verb && kind && paths
    }
}

/// The newer spelling of a legacy scope.
fn legacy(text: &str) -> Option<String> {
    let script = text.strip_prefix("run:script/").map(|path| format!("jobs:run:scripts:{path}"));
    let flow = || text.strip_prefix("run:flow/").map(|path| format!("jobs:run:flows:{path}"));
    script.or_else(flow).or_else(|| match text {
        "jobs:runscript" => Some("jobs:run:scripts".to_owned()),
        "jobs:runflow" => Some("jobs:run:flows".to_owned()),
        "jobs:listjobs" => Some("jobs:read".to_owned()),
        _ => None,
    })
}

fn split_kind(rest: Option<String>) -> (Option<String>, Option<String>) {
    match rest {
        None => (None, None),
        Some(rest) => match rest.split_once(':') {
            Some((kind, paths)) => (Some(kind.to_owned()), Some(paths.to_owned())),
            None => (Some(rest), None),
        },
    }
}

fn split_paths(paths: Option<&str>) -> Vec<String> {
    let list = paths.unwrap_or_default().split(',').map(str::trim);
    list.filter(|path| !path.is_empty()).map(str::to_owned).collect()
}

/// A path, or a folder followed by `/*`.
fn is_pattern(text: &str) -> bool {
    let body = text.strip_suffix("/*").unwrap_or(text);
    !body.contains('*') && !body.is_empty() && !body.ends_with('/')
}

fn matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix) && path != prefix,
        None => pattern == path,
    }
}
