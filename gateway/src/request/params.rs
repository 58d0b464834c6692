//! Run parameters of the query string (contract 1.2). What is not built yet is refused by
//! name unless it asks for what happens anyway; unknown parameters are ignored.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;
use proto::{JobId, RetryPolicy, Tag};

use crate::error::{ApiError, ApiResult};

/// Parameters of the contract that ask for something this server does not do yet.
const NOT_BUILT: [&str; 12] = [
    "cache_ttl",
    "cache_ignore_s3_path",
    "timeout",
    "queue_limit",
    "skip_preprocessor",
    "invisible_to_owner",
    "poll_delay_ms",
    "memory_id",
    "trigger_external_id",
    "service_name",
    "suspended_mode",
    "approver",
];

/// How far ahead a job may be put aside: ten years.
const FARTHEST: TimeDelta = TimeDelta::days(3652);

/// How long, and with what consequence, a caller waits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Wait {
    /// None: the instance's default.
    pub(crate) timeout: Option<Duration>,
    pub(crate) cancel_on_disconnect: bool,
    pub(crate) cancel_on_timeout: bool,
}

/// The parameters of one trigger.
#[derive(Clone, Debug)]
pub(crate) struct RunParams {
    pub(crate) job_id: Option<JobId>,
    pub(crate) parent_job: Option<JobId>,
    pub(crate) root_job: Option<JobId>,
    pub(crate) tag: Option<Tag>,
    /// Unix microseconds of when it is to start; none: at once. Of no account where a caller waits.
    pub(crate) scheduled_us: Option<i64>,
    /// What follows a failure; none: what the script says.
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) wait: Wait,
    /// What an accepted asynchronous trigger is answered with.
    pub(crate) accepted: StatusCode,
    pub(crate) include_header: Vec<String>,
    /// Query parameters that become arguments, with their values.
    pub(crate) include_query: Vec<(String, String)>,
    pub(crate) raw: bool,
    pub(crate) wrap_body: bool,
    /// Base64 of the arguments, for GET.
    pub(crate) payload: Option<String>,
}

struct Query(Vec<(String, String)>);

impl Query {
    /// The last value of a name; the empty text counts as absent.
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(&self, name: &str) -> ApiResult<Option<T>> {
        let parse =
            |text: &str| text.parse().map_err(|error| ApiError::bad_request(format!("{name}: {error}")));
        self.get(name).map(parse).transpose()
    }

    fn flag(&self, name: &str) -> ApiResult<bool> {
        match self.get(name) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(other) => Err(ApiError::bad_request(format!("{name}: `{other}` is not true or false"))),
        }
    }

    fn names(&self, name: &str) -> Vec<String> {
        let list = self.get(name).unwrap_or_default().split(',').map(str::trim);
        list.filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }
}

impl RunParams {
    /// Reads a query string.
    pub(crate) fn parse(query: &str, wait_max: Duration) -> ApiResult<Self> {
        let query = Query(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect());
        refuse_unbuilt(&query)?;
        Ok(Self {
            job_id: query.parsed("job_id")?,
            parent_job: query.parsed("parent_job")?,
            root_job: query.parsed("root_job")?,
            tag: query.parsed("tag")?,
            scheduled_us: scheduled(&query, Utc::now())?,
            retry: retry(&query)?,
            wait: wait(&query, wait_max)?,
            accepted: accepted(&query)?,
            include_header: headers(&query)?,
            include_query: included(&query)?,
            raw: query.flag("raw")?,
            wrap_body: query.flag("wrap_body")?,
            payload: query.get("payload").map(str::to_owned),
        })
    }

    /// The fields only an unrestricted token may choose; `job_id` is judged apart.
    pub(crate) fn steering(&self) -> Option<&'static str> {
        match self {
            Self { tag: Some(_), .. } => Some("tag"),
            Self { parent_job: Some(_), .. } => Some("parent_job"),
            Self { root_job: Some(_), .. } => Some("root_job"),
            // code of the caller's
            Self { retry: Some(RetryPolicy { retry_if: Some(_), .. }), .. } => Some("retry_if"),
            _ => None,
        }
    }
}

fn refuse_unbuilt(query: &Query) -> ApiResult<()> {
    let asks = |name: &&&str| query.get(name).is_some_and(|value| !matches!(value, "false" | "0" | "null"));
    match NOT_BUILT.iter().find(asks) {
        Some(name) => Err(ApiError::bad_request(format!("the run parameter `{name}` is not supported yet"))),
        None => Ok(()),
    }
}

fn wait(query: &Query, most: Duration) -> ApiResult<Wait> {
    let timeout = query.parsed::<f64>("timeout_wait")?.map(|seconds| {
        let wait = Duration::try_from_secs_f64(seconds).ok().filter(|wait| *wait <= most && !wait.is_zero());
        wait.ok_or_else(|| {
            ApiError::bad_request(format!(
                "timeout_wait: {seconds} is not within 0 and {} seconds",
                most.as_secs()
            ))
        })
    });
    Ok(Wait {
        timeout: timeout.transpose()?,
        cancel_on_disconnect: query.flag("cancel_on_disconnect")?,
        cancel_on_timeout: query.flag("cancel_on_timeout")?,
    })
}

/// `scheduled_for` says when; else `scheduled_in_secs` says how much later than now.
fn scheduled(query: &Query, now: DateTime<Utc>) -> ApiResult<Option<i64>> {
    let (name, at) = match query.parsed::<DateTime<Utc>>("scheduled_for")? {
        Some(at) => ("scheduled_for", Some(at)),
        None => match query.parsed::<u32>("scheduled_in_secs")? {
            Some(seconds) => ("scheduled_in_secs", Some(now + TimeDelta::seconds(seconds.into()))),
            None => return Ok(None),
        },
    };
    let at = at.filter(|at| *at <= now + FARTHEST);
    let too_far = || {
        ApiError::bad_request(format!(
            "{name}: no job is put aside for more than {} days",
            FARTHEST.num_days()
        ))
    };
    at.map(|at| Some(at.timestamp_micros())).ok_or_else(too_far)
}

fn retry(query: &Query) -> ApiResult<Option<RetryPolicy>> {
    let parse = |json| RetryPolicy::parse(json).map_err(|error| ApiError::bad_request(error.to_string()));
    Ok(query.get("retry").map(parse).transpose()?.flatten())
}

fn accepted(query: &Query) -> ApiResult<StatusCode> {
    match query.get("status") {
        None | Some("201") => Ok(StatusCode::CREATED),
        Some("200") => Ok(StatusCode::OK),
        Some("202") => Ok(StatusCode::ACCEPTED),
        Some(other) => Err(ApiError::bad_request(format!("status: `{other}` is none of 200, 201, 202"))),
    }
}

fn headers(query: &Query) -> ApiResult<Vec<String>> {
    let names: Vec<String> = query.names("include_header").iter().map(|name| name.to_lowercase()).collect();
    match names
        .iter()
        .find(|name| matches!(name.as_str(), "authorization" | "cookie" | "proxy-authorization"))
    {
        Some(name) => Err(ApiError::bad_request(format!(
            "include_header: `{name}` holds a credential and is never an argument"
        ))),
        None => Ok(names),
    }
}

fn included(query: &Query) -> ApiResult<Vec<(String, String)>> {
    let names = query.names("include_query");
    if names.iter().any(|name| name == "token") {
        return Err(ApiError::bad_request("include_query: `token` is a credential and is never an argument"));
    }
    let value = |name: String| {
        query.0.iter().rev().find(|(key, _)| *key == name).map(|(_, value)| (name.clone(), value.clone()))
    };
    Ok(names.into_iter().filter_map(value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> ApiResult<RunParams> {
        RunParams::parse(query, Duration::from_secs(600))
    }

    #[test]
    fn defaults_and_empty_values() {
        let params = parse(
            "parent_job=&root_job=&job_id=&tag=&approver=&unknown=1&skip_preprocessor=false&cache_ttl=0",
        )
        .unwrap();
        assert!(params.job_id.is_none() && params.parent_job.is_none() && params.tag.is_none());
        assert_eq!(params.accepted, StatusCode::CREATED);
        assert_eq!(params.wait.timeout, None);
        assert_eq!(params.steering(), None);
    }

    #[test]
    fn bad_values_are_named() {
        for (query, named) in [
            ("job_id=nope", "job_id"),
            ("status=204", "status"),
            ("timeout_wait=0", "timeout_wait"),
            ("timeout_wait=601", "timeout_wait"),
            ("timeout_wait=NaN", "timeout_wait"),
            ("timeout_wait=-1", "timeout_wait"),
            ("cancel_on_timeout=perhaps", "cancel_on_timeout"),
            ("include_header=Authorization", "authorization"),
            ("include_query=a,token", "token"),
            ("scheduled_in_secs=-5", "scheduled_in_secs"),
            ("scheduled_in_secs=4000000000", "scheduled_in_secs"),
            ("scheduled_in_secs=soon", "scheduled_in_secs"),
            ("scheduled_for=tomorrow", "scheduled_for"),
            ("scheduled_for=9999-01-01T00:00:00Z", "scheduled_for"),
            ("retry=%7B%22times%22%3A3%7D", "times"),
            ("retry=3", "retry"),
            ("suspended_mode=true", "suspended_mode"),
        ] {
            let error = parse(query).unwrap_err();
            assert!(error.message.contains(named), "{query}: {}", error.message);
        }
    }

    #[test]
    fn a_job_is_put_aside_until_a_point_in_time_or_for_a_while() {
        let at = |query: &str| parse(query).unwrap().scheduled_us;
        let noon = DateTime::parse_from_rfc3339("2026-11-22T12:00:00Z").unwrap().timestamp_micros();
        assert_eq!(at("scheduled_for=2026-11-22T12:00:00Z"), Some(noon));
        assert_eq!(at("scheduled_for=2026-11-22T13:00:00%2B01:00&scheduled_in_secs=7"), Some(noon));
        assert_eq!(at("scheduled_for=&scheduled_in_secs="), None);
        let now = Utc::now().timestamp_micros();
        let later = at("scheduled_in_secs=60").unwrap() - now;
        assert!((60_000_000..61_000_000).contains(&later), "{later}");
    }

    #[test]
    fn included_parameters_bring_their_values() {
        let params = parse("include_query=a,b,c&a=1&b=x%20y&a=2").unwrap();
        assert_eq!(params.include_query, [("a".into(), "2".into()), ("b".into(), "x y".into())]);
        assert_eq!(parse("timeout_wait=0.5").unwrap().wait.timeout, Some(Duration::from_millis(500)));
    }
}
