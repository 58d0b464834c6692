//! `hookmill dead list/show/replay/discard`.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::api::Api;
use crate::failure::Failure;
use crate::output::{self, Format};

/// What can be done with jobs that are not tried any more.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Dead {
    /// List them, oldest first
    List {
        /// At most so many
        #[arg(long, default_value_t = 30)]
        limit: usize,
    },
    /// Show one, with the end of its log
    Show {
        /// The job
        id: String,
    },
    /// Try again: one, or all that fit
    Replay(Chosen),
    /// Forget: one, or all that fit
    Discard(Chosen),
}

/// Which ones.
#[derive(Clone, Debug, clap::Args)]
pub struct Chosen {
    /// One job
    #[arg(required_unless_present = "all", conflicts_with_all = ["all", "dry_run", "reason", "path"])]
    id: Option<String>,
    /// All that fit
    #[arg(long)]
    all: bool,
    /// Those that died of this
    #[arg(long, value_name = "worker_lost|unreadable", requires = "all")]
    reason: Option<String>,
    /// Those of this script
    #[arg(long, requires = "all")]
    path: Option<String>,
    /// Count them, and do nothing
    #[arg(long, requires = "all")]
    dry_run: bool,
}

/// One as `list` tells of it.
#[derive(Debug, Deserialize, Serialize)]
struct Row {
    job_id: String,
    reason: String,
    message: String,
    attempts: u32,
    died_at: String,
    script_path: Option<String>,
}

/// What came of many.
#[derive(Debug, Deserialize, Serialize)]
struct Many {
    matched: usize,
    done: Vec<Value>,
    failed: Vec<Value>,
    /// Where those begin that were not looked at.
    #[serde(default, skip_serializing)]
    next: Option<String>,
}

/// Does it.
///
/// # Errors
/// The installation refused it, or does not answer.
pub async fn dead(api: &Api, format: Format, verb: &Dead) -> Result<(), Failure> {
    match verb {
        Dead::List { limit } => list(api, format, *limit).await,
        Dead::Show { id } => {
            let whole: Value = api.here(Method::GET, &format!("dead_letters/get/{id}")).read().await?;
            output::json(&whole);
            Ok(())
        }
        Dead::Replay(chosen) => change(api, format, "replay", chosen).await,
        Dead::Discard(chosen) => change(api, format, "discard", chosen).await,
    }
}

async fn list(api: &Api, format: Format, limit: usize) -> Result<(), Failure> {
    let question = api.here(Method::GET, "dead_letters/list").query(&[("per_page", &limit.to_string())]);
    let rows: Vec<Row> = question.read().await?;
    match format {
        Format::Json => output::json(&json!(rows)),
        Format::Text if rows.is_empty() => output::line("none"),
        Format::Text => output::line(&in_words(&rows)),
    }
    Ok(())
}

fn in_words(rows: &[Row]) -> String {
    let cells = |row: &Row| {
        vec![
            row.job_id.clone(),
            row.script_path.clone().unwrap_or_else(|| "-".to_owned()),
            row.reason.clone(),
            row.attempts.to_string(),
            row.died_at.chars().take(16).collect(),
        ]
    };
    output::table(
        &["JOB", "SCRIPT", "REASON", "ATTEMPTS", "DIED"],
        &rows.iter().map(cells).collect::<Vec<_>>(),
    )
}

async fn change(api: &Api, format: Format, what: &str, chosen: &Chosen) -> Result<(), Failure> {
    if let Some(id) = &chosen.id {
        let text = api.here(Method::POST, &format!("dead_letters/{what}/{id}")).text().await?;
        match format {
            Format::Text => output::line(text.trim()),
            Format::Json => output::json(&json!({ what: text.trim() })),
        }
        return Ok(());
    }
    let many = all(api, what, chosen).await?;
    match format {
        Format::Json => output::json(&json!(many)),
        Format::Text => output::line(&told(what, chosen.dry_run, &many)),
    }
    match many.failed.first() {
        None => Ok(()),
        Some(failed) => Err(Failure::Partly(format!("{} failed, the first: {failed}", many.failed.len()))),
    }
}

/// As many at a time as the server takes.
async fn all(api: &Api, what: &str, chosen: &Chosen) -> Result<Many, Failure> {
    let mut sum = Many { matched: 0, done: Vec::new(), failed: Vec::new(), next: Some("0".to_owned()) };
    while let Some(cursor) = sum.next.take() {
        let question = api.here(Method::POST, &format!("dead_letters/{what}"));
        let question = question.query(&[("dry_run", &chosen.dry_run.to_string()), ("cursor", &cursor)]);
        let many: Many = question.json(&filter(chosen)).read().await?;
        sum.matched += many.matched;
        sum.done.extend(many.done);
        sum.failed.extend(many.failed);
        sum.next = many.next;
    }
    Ok(sum)
}

fn filter(chosen: &Chosen) -> Value {
    let mut filter = Map::new();
    for (name, value) in [("reason", &chosen.reason), ("script_path", &chosen.path)] {
        if let Some(value) = value {
            filter.insert(name.into(), json!(value));
        }
    }
    filter.into()
}

fn told(what: &str, dry_run: bool, many: &Many) -> String {
    if dry_run {
        format!("{} would be {what}ed", many.matched)
    } else {
        format!("{} of {} {what}ed", many.done.len(), many.matched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_reads_well() {
        let many = Many { matched: 3, done: vec![json!({}), json!({})], failed: vec![json!({})], next: None };
        assert_eq!(told("replay", false, &many), "2 of 3 replayed");
        assert_eq!(told("discard", true, &many), "3 would be discarded");
    }

    #[test]
    fn a_filter_has_only_what_was_asked_for() {
        let mut chosen = Chosen { id: None, all: true, reason: None, path: None, dry_run: false };
        assert_eq!(filter(&chosen), json!({}));
        chosen.path = Some("f/a/b".into());
        assert_eq!(filter(&chosen), json!({"script_path": "f/a/b"}));
    }
}
