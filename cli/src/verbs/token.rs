//! `hookmill token create/list/revoke`.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use crate::api::Api;
use crate::failure::Failure;
use crate::output::{self, Format};

/// What can be done with tokens.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Token {
    /// Make a token; it is shown this once
    Create(Create),
    /// List your tokens
    List,
    /// Revoke a token: it is refused everywhere within 100 ms
    Revoke {
        /// The token's first ten characters, as `list` shows them
        prefix: String,
    },
}

/// What the new token is for.
#[derive(Clone, Debug, clap::Args)]
pub struct Create {
    /// What it is for; `list` shows it
    #[arg(long)]
    label: Option<String>,
    /// When it ends: after 12h, 30d, 8w …; never by default
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires_in: Option<TimeDelta>,
    /// What it may do, such as jobs:run:scripts:f/tools/*; repeat for more; everything by default
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// It works for --workspace alone
    #[arg(long)]
    bind: bool,
}

/// A token as `list` tells of it.
#[derive(Debug, Deserialize, Serialize)]
struct Row {
    token_prefix: String,
    label: Option<String>,
    scopes: Option<Vec<String>>,
    workspace_id: Option<String>,
    created_at: String,
    expiration: Option<String>,
    last_used_at: Option<String>,
}

/// Does it.
///
/// # Errors
/// The installation refused it, or does not answer.
pub async fn token(api: &Api, format: Format, verb: &Token) -> Result<(), Failure> {
    match verb {
        Token::Create(args) => create(api, format, args).await,
        Token::List => list(api, format).await,
        Token::Revoke { prefix } => revoke(api, format, prefix).await,
    }
}

async fn create(api: &Api, format: Format, args: &Create) -> Result<(), Failure> {
    let body = body(args, api.workspace(), Utc::now())?;
    let token = api.global(Method::POST, "users/tokens/create").json(&body).text().await?;
    match format {
        Format::Text => output::line(token.trim()),
        Format::Json => output::json(&json!({ "token": token.trim() })),
    }
    Ok(())
}

fn body(args: &Create, workspace: &str, now: DateTime<Utc>) -> Result<serde_json::Value, Failure> {
    let mut body = Map::new();
    if let Some(label) = &args.label {
        body.insert("label".into(), json!(label));
    }
    if let Some(lifetime) = args.expires_in {
        let end = now.checked_add_signed(lifetime);
        let end = end.ok_or_else(|| Failure::Usage("--expires-in is too far away".into()))?;
        body.insert("expiration".into(), json!(end.to_rfc3339_opts(SecondsFormat::Secs, true)));
    }
    if !args.scopes.is_empty() {
        body.insert("scopes".into(), json!(args.scopes));
    }
    if args.bind {
        body.insert("workspace_id".into(), json!(workspace));
    }
    Ok(body.into())
}

async fn list(api: &Api, format: Format) -> Result<(), Failure> {
    let question = api.global(Method::GET, "users/tokens/list").query(&[("exclude_ephemeral", "true")]);
    let rows: Vec<Row> = question.read().await?;
    match format {
        Format::Text => output::line(&in_words(&rows)),
        Format::Json => output::json(&json!(rows)),
    }
    Ok(())
}

fn in_words(rows: &[Row]) -> String {
    let cells = |row: &Row| {
        let or = |value: &Option<String>, none: &str| value.clone().unwrap_or_else(|| none.to_owned());
        let day = |value: &Option<String>, none: &str| or(value, none).chars().take(16).collect::<String>();
        let scopes = row.scopes.as_ref().filter(|scopes| !scopes.is_empty());
        vec![
            row.token_prefix.clone(),
            or(&row.label, "-"),
            or(&row.workspace_id, "any"),
            scopes.map_or("everything".into(), |scopes| scopes.join(" ")),
            day(&row.expiration, "never"),
            day(&row.last_used_at, "-"),
        ]
    };
    let rows: Vec<_> = rows.iter().map(cells).collect();
    output::table(&["PREFIX", "LABEL", "WORKSPACE", "MAY DO", "ENDS", "LAST USED"], &rows)
}

async fn revoke(api: &Api, format: Format, prefix: &str) -> Result<(), Failure> {
    // a whole token is as good, and must not go into an address
    let handle: String = prefix.chars().take(proto::bearer::HANDLE_LEN).collect();
    let text = api.global(Method::DELETE, &format!("users/tokens/delete/{handle}")).text().await?;
    match format {
        Format::Text => output::line(text.trim()),
        Format::Json => output::json(&json!({ "revoked": handle })),
    }
    Ok(())
}

/// `12h`, `30d` or `8w`.
fn lifetime(text: &str) -> Result<TimeDelta, String> {
    let form = || format!("`{text}` is not a number and m, h, d or w, such as 30d");
    let unit = text.chars().last().ok_or_else(form)?;
    let number: i64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| form())?;
    let length = match unit {
        'm' => TimeDelta::try_minutes(number),
        'h' => TimeDelta::try_hours(number),
        'd' => TimeDelta::try_days(number),
        'w' => TimeDelta::try_weeks(number),
        _ => return Err(form()),
    };
    length.filter(|length| *length > TimeDelta::zero()).ok_or_else(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes() {
        assert_eq!(lifetime("90m"), Ok(TimeDelta::minutes(90)));
        assert_eq!(lifetime("30d"), Ok(TimeDelta::days(30)));
        assert_eq!(lifetime("2w"), Ok(TimeDelta::weeks(2)));
        for bad in ["", "d", "0d", "-1d", "1", "1y", "1.5d", "9223372036854775807w", "é"] {
            assert!(lifetime(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_what_was_asked_for_is_sent() {
        let mut args = Create { label: None, expires_in: None, scopes: Vec::new(), bind: false };
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        assert_eq!(body(&args, "main", now).unwrap(), json!({}));
        args.label = Some("ci".into());
        args.expires_in = Some(TimeDelta::hours(1));
        args.scopes = vec!["jobs:run".into()];
        args.bind = true;
        let expected = json!({"label":"ci","expiration":"2023-11-14T23:13:20Z","scopes":["jobs:run"],"workspace_id":"main"});
        assert_eq!(body(&args, "main", now).unwrap(), expected);
        args.expires_in = Some(TimeDelta::MAX);
        assert!(body(&args, "main", now).is_err());
    }

    #[test]
    fn rows_read_well() {
        let rows: Vec<Row> = serde_json::from_str(
            r#"[{"token_prefix":"hkm_abcdef","created_at":"2026-11-22T04:00:00Z","last_used_at":"2026-11-22T05:06:07Z","read_only":false}]"#,
        )
        .unwrap();
        let text = in_words(&rows);
        let line = text.lines().nth(1).unwrap();
        assert_eq!(line, "hkm_abcdef  -      any        everything  never  2026-11-22T05:06");
    }
}
