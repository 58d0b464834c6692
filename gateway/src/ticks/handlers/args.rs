//! What a handler is given: Windmill's names, and behind them what the schedule adds.

use std::collections::BTreeMap;

use bytes::Bytes;
use catalog::{HandlerKind, Json};
use job_queue::{Counted, Record, StoreError};
use proto::JobId;
use proto::json::{RawObject, raw_value};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::News;
use crate::app::App;
use crate::present::timestamp;

/// A result of more bytes than this is left out: it can be read from its job.
const MOST: usize = 1024 * 1024;

/// What stands in its place.
const TOO_BIG: &str = "\"WINDMILL_TOO_BIG\"";

/// Arguments by name, each in its own characters.
#[derive(Default)]
struct Named(BTreeMap<String, Box<RawValue>>);

/// The arguments of one handler: a JSON object.
pub(super) async fn of(app: &App, news: &News, kind: HandlerKind) -> Result<Bytes, StoreError> {
    let job = &news.record.job;
    let mut named = Named::default();
    named.set("path", &job.path);
    named.set("is_flow", &news.schedule.is_flow);
    named.set("schedule_path", &news.schedule.path);
    named.set("job_id", &job.id.to_string());
    let result = result_of(app, &news.record).await?;
    match &news.counted {
        Counted::Failure { times, .. } => {
            named.put("error", error_in(result));
            named.set("failed_times", times);
            named.set("started_at", &started(&news.record));
        }
        Counted::Success { times, failed, .. } => {
            named.put("success_result", result.map(|result| shown(&result)));
            named.set("success_times", times);
            named.set("success_started_at", &started(&news.record));
            if kind == HandlerKind::Recovery {
                failure(app, news, *failed, &mut named).await?;
            }
        }
    }
    named.add(news.schedule.settings.extra_args(kind));
    Ok(named.text())
}

/// The failure that is over; null where nothing of it is kept any more.
async fn failure(app: &App, news: &News, failed: Option<JobId>, named: &mut Named) -> Result<(), StoreError> {
    let (mut error, mut at) = (None, None);
    let record = match failed {
        Some(id) => app.records.get(&news.record.job.workspace, id).await?,
        None => None,
    };
    if let Some(record) = record {
        error = result_of(app, &record).await?;
        at = Some(started(&record));
    }
    named.put("error", error_in(error));
    named.set("error_started_at", &at);
    Ok(())
}

/// Not read where it would be left out.
async fn result_of(app: &App, record: &Record) -> Result<Option<Bytes>, StoreError> {
    if record.result_len.is_some_and(|bytes| bytes > MOST as u64) {
        return Ok(Some(Bytes::from_static(TOO_BIG.as_bytes())));
    }
    Ok(app.records.end_of(&record.job.workspace, record.job.id).await?.map(|end| end.result))
}

/// A job that ended without having been started began when it ended, as it is shown.
fn started(record: &Record) -> String {
    timestamp(record.started_us.or(record.ended_us).unwrap_or(record.job.created_us))
}

/// Failed jobs have their error under this key (contract 2.2).
fn error_in(result: Option<Bytes>) -> Option<Box<RawValue>> {
    let result = result?;
    let error = RawObject::parse(&result).ok().and_then(|object| object.get("error").map(str::to_owned));
    Some(shown(error.as_deref().map_or(&result[..], str::as_bytes)))
}

fn shown(json: &[u8]) -> Box<RawValue> {
    let text = if json.len() > MOST { TOO_BIG } else { raw_value(json).unwrap_or("null") };
    RawValue::from_string(text.to_owned()).unwrap_or_else(|_| raw(&()))
}

fn raw(value: &impl Serialize) -> Box<RawValue> {
    to_raw_value(value).expect("texts, numbers and null are JSON")
}

impl Named {
    fn set(&mut self, name: &str, value: &impl Serialize) {
        self.0.insert(name.to_owned(), raw(value));
    }

    fn put(&mut self, name: &str, value: Option<Box<RawValue>>) {
        self.0.insert(name.to_owned(), value.unwrap_or_else(|| raw(&())));
    }

    /// What the schedule adds; of two with one name it is the schedule's that counts.
    fn add(&mut self, extra: Option<&Json>) {
        let Some(object) = extra.and_then(|extra| RawObject::parse(extra.text().as_bytes()).ok()) else {
            return;
        };
        self.0.extend(object.members.into_iter().map(|(name, value)| (name.into_owned(), value.to_owned())));
    }

    fn text(&self) -> Bytes {
        serde_json::to_vec(&self.0).expect("JSON values by name are JSON").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_what_the_result_holds_of_one() {
        let error = |result: &str| {
            error_in(Some(Bytes::copy_from_slice(result.as_bytes()))).map(|raw| raw.get().to_owned())
        };
        assert_eq!(error(r#"{"error": {"name": "E", "n": 1.0}}"#).unwrap(), r#"{"name": "E", "n": 1.0}"#);
        assert_eq!(error("[1e400]").unwrap(), "[1e400]");
        assert_eq!(error("not json").unwrap(), "null");
        assert_eq!(error_in(None).map(|raw| raw.get().to_owned()), None);
    }

    #[test]
    fn what_is_too_large_is_left_out() {
        let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
        assert_eq!(shown(text(MOST).as_bytes()).get(), text(MOST));
        assert_eq!(shown(text(MOST + 1).as_bytes()).get(), "\"WINDMILL_TOO_BIG\"");
    }

    #[test]
    fn what_the_schedule_adds_comes_last() {
        let mut named = Named::default();
        named.set("path", &"f/a/x");
        named.put("error", None);
        let extra: Json = serde_json::from_str(r#"{"to": [1.0], "path": "mine"}"#).unwrap();
        named.add(Some(&extra));
        assert_eq!(named.text(), r#"{"error":null,"path":"mine","to":[1.0]}"#);
    }
}
