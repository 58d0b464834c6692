//! `hookmill script push FILE`: deploys a file as the newest version of a script.

use std::path::{Path, PathBuf};

use anyhow::Context;
use proto::{Language, ScriptHash, ScriptPath};
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::api::Api;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::script_file;

/// Settings of the version before that a push keeps.
const KEPT: [&str; 6] = ["summary", "description", "schema", "kind", "tag", "timeout"];

/// What can be done with scripts.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Script {
    /// Deploy a file as the newest version of a script
    Push(Push),
}

/// The file, and what its name does not say.
#[derive(Clone, Debug, clap::Args)]
pub struct Push {
    /// The script: .py, .ts, .js or .sh
    file: PathBuf,
    /// Its path; by default from the file's place below a folder f/ or u/
    #[arg(long)]
    path: Option<ScriptPath>,
    /// One line about it; by default that of the version before
    #[arg(long)]
    summary: Option<String>,
    /// Its language; by default from the file's ending
    #[arg(long)]
    language: Option<Language>,
}

/// A script to deploy.
#[derive(Clone, Debug)]
pub struct NewScript {
    /// Its path.
    pub path: ScriptPath,
    /// Its language.
    pub language: Language,
    /// Its text.
    pub content: String,
    /// One line about it.
    pub summary: Option<String>,
}

/// What a deploy came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// The version that now is the latest.
    pub hash: ScriptHash,
    /// Whether it was so before.
    pub unchanged: bool,
}

/// Does it.
///
/// # Errors
/// The file says too little, the installation refused it, or does not answer.
pub async fn script(api: &Api, format: Format, verb: &Script) -> Result<(), Failure> {
    match verb {
        Script::Push(args) => push(api, format, args).await,
    }
}

async fn push(api: &Api, format: Format, args: &Push) -> Result<(), Failure> {
    let script = read(args)?;
    let deployed = deploy(api, &script).await?;
    match format {
        Format::Text => output::line(&in_words(api, &script.path, &deployed)),
        Format::Json => output::json(&json!({
            "path": script.path.as_str(), "hash": deployed.hash.to_string(), "unchanged": deployed.unchanged,
        })),
    }
    Ok(())
}

fn read(args: &Push) -> Result<NewScript, Failure> {
    let content = text_of(&args.file)?;
    let language = match args.language {
        Some(language) => language,
        None => script_file::language(&args.file, &content)?,
    };
    let path = match &args.path {
        Some(path) => path.clone(),
        None => script_file::path(&args.file)?,
    };
    Ok(NewScript { path, language, content, summary: args.summary.clone() })
}

fn text_of(file: &Path) -> Result<String, Failure> {
    let read = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()));
    read.map_err(|error| Failure::Usage(format!("{error:#}")))
}

fn in_words(api: &Api, path: &ScriptPath, deployed: &Deployed) -> String {
    let (base, workspace, hash) = (api.base(), api.workspace(), &deployed.hash);
    let jobs = format!("{base}/api/w/{workspace}/jobs");
    let done = if deployed.unchanged { "unchanged" } else { "deployed" };
    format!(
        "{done} {path} {hash}\n  answers with the result  {jobs}/run_wait_result/p/{path}\n  \
         answers with the job id  {jobs}/run/p/{path}"
    )
}

/// Deploys a script on top of what is at its path, with the settings of the version before.
///
/// # Errors
/// The installation refused it, or does not answer.
pub async fn deploy(api: &Api, script: &NewScript) -> Result<Deployed, Failure> {
    let at = format!("scripts/get/p/{}", script.path);
    let before: Option<Map<String, Value>> = api.here(Method::GET, &at).find().await?;
    let parent = before.as_ref().and_then(|before| before.get("hash")).and_then(Value::as_str);
    let request = api.here(Method::POST, "scripts/create").query(&[("skip_if_noop", "true")]);
    let answer = request.json(&body(script, before.as_ref(), parent)).text().await?;
    let hash: ScriptHash = answer
        .trim()
        .parse()
        .map_err(|_| Failure::Strange { base: api.base().to_owned(), why: "no script hash".into() })?;
    let unchanged = parent.is_some_and(|parent| parent == hash.to_string());
    Ok(Deployed { hash, unchanged })
}

fn body(script: &NewScript, before: Option<&Map<String, Value>>, parent: Option<&str>) -> Value {
    let mut body = json!({
        "path": script.path.as_str(), "summary": "", "description": "",
        "content": script.content, "language": script.language.as_str(),
    });
    for key in KEPT {
        let value = before.and_then(|before| before.get(key));
        // what every script is by default is left out, as in a first version
        if let Some(value) = value.filter(|value| !value.is_null() && **value != "script") {
            body[key] = value.clone();
        }
    }
    if let Some(summary) = &script.summary {
        body["summary"] = json!(summary);
    }
    if let Some(parent) = parent {
        body["parent_hash"] = json!(parent);
        body["auto_parent"] = json!(true);
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(summary: Option<&str>) -> NewScript {
        NewScript {
            path: "f/a/b".parse().unwrap(),
            language: Language::Bash,
            content: "echo 1".into(),
            summary: summary.map(str::to_owned),
        }
    }

    #[test]
    fn a_first_version_names_no_parent() {
        let body = body(&script(None), None, None);
        assert_eq!(
            body,
            json!({"path":"f/a/b","summary":"","description":"","content":"echo 1","language":"bash"})
        );
    }

    #[test]
    fn a_next_version_keeps_settings() {
        let before = json!({"hash":"00ff","summary":"old","tag":"gpu","timeout":null,"kind":"script","content":"old","lock":"x"});
        let before = before.as_object().unwrap();
        let kept = body(&script(None), Some(before), Some("00ff"));
        assert_eq!(kept["summary"], "old");
        assert_eq!(kept["tag"], "gpu");
        assert_eq!(kept["content"], "echo 1");
        assert_eq!((&kept["parent_hash"], &kept["auto_parent"]), (&json!("00ff"), &json!(true)));
        for key in ["timeout", "kind", "lock"] {
            assert!(kept.get(key).is_none(), "{key}");
        }
        assert_eq!(body(&script(Some("new")), Some(before), Some("00ff"))["summary"], "new");
    }
}
