//! A job as our processes see it, and its translation from and to the envelope on the
//! wire. Wire types stop here: what [`Job::decode`] returns is checked.

mod process_start;
mod record;

use std::time::Duration;

use broker::names;
use bytes::Bytes;
use prost::Message;
use proto::job as wire;
use proto::{InstanceId, JobId, Language, RetryPolicy, ScriptHash, ScriptPath, Tag, WorkspaceId};

pub use process_start::ProcessStart;
pub use record::{CancelRequest, End, JobState, Outcome, Record, canceled_result, error_result};

/// The envelope version this code writes, and the only one it reads.
const SCHEMA_VERSION: u32 = 1;

/// One job, complete enough for any worker to run it.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its uuid.
    pub id: JobId,
    /// Where it belongs.
    pub workspace: WorkspaceId,
    /// The script's path when it was triggered.
    pub path: ScriptPath,
    /// The script's version.
    pub hash: ScriptHash,
    /// The version's language.
    pub language: Language,
    /// The tag it waits under.
    pub tag: Tag,
    /// Its arguments.
    pub args: Args,
    /// Who triggered it.
    pub caller: CallerInfo,
    /// auth-service's word for it.
    pub grant: Grant,
    /// W3C trace context of the trigger.
    pub trace: Trace,
    /// The gateway instance that waits for the end.
    pub reply_to: Option<InstanceId>,
    /// Unix microseconds of the trigger.
    pub created_us: i64,
    /// Unix microseconds of when it is to start; none: at once.
    pub scheduled_us: Option<i64>,
    /// What follows a failure, where the call says so; else the script does.
    pub retry: Option<RetryPolicy>,
    /// How many tries of it have failed before this message was made.
    pub retries: u32,
    /// The schedule it is a tick of.
    pub schedule: Option<ScriptPath>,
    /// How long its workspace kept records when it was triggered.
    pub retention: Option<Duration>,
    /// Unix microseconds until which an idempotency key may stand for it.
    pub keyed_until_us: Option<i64>,
    /// The job that called it.
    pub parent: Option<JobId>,
    /// The root of the tree it belongs to.
    pub root: Option<JobId>,
}

/// A JSON object, byte for byte as received.
#[derive(Clone, Debug, PartialEq)]
pub enum Args {
    /// In the envelope.
    Inline(Bytes),
    /// In the object store, because too large for the envelope.
    Stored {
        /// The object's name.
        object: String,
        /// Its size in bytes.
        size: u64,
    },
}

impl Args {
    /// Their size in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::Stored { size, .. } => usize::try_from(*size).unwrap_or(usize::MAX),
        }
    }
}

/// Who triggered a job, as shown on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallerInfo {
    /// A user name or a token's label (contract 0.4).
    pub created_by: String,
    /// The name in the workspace.
    pub username: String,
    /// The account.
    pub email: String,
    /// `u/<username>`.
    pub permissioned_as: String,
}

/// A grant and auth-service's signature over it, opaque to everyone else.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grant {
    /// Serialised `hookmill.auth.v1.Grant`.
    pub grant: Bytes,
    /// The HMAC over it.
    pub signature: Bytes,
}

/// W3C trace context; empty where there is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// `traceparent`.
    pub parent: String,
    /// `tracestate`.
    pub state: String,
}

/// The bytes are not an envelope this code may act on.
#[derive(Debug, thiserror::Error)]
pub enum InvalidEnvelope {
    /// Not the protobuf message.
    #[error("the envelope is not readable: {0}")]
    Encoding(#[from] prost::DecodeError),
    /// From a newer or unknown version.
    #[error("envelope schema version {0} is not known here (known: {SCHEMA_VERSION})")]
    Version(u32),
    /// It is that of another job than its subject says.
    #[error("the envelope is that of job {id} of workspace {workspace}, which waits elsewhere")]
    Elsewhere {
        /// The job it names.
        id: JobId,
        /// That job's workspace.
        workspace: WorkspaceId,
    },
    /// A field is absent or malformed.
    #[error("the envelope's {field} is not valid: {why}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

impl Job {
    /// The envelope as published.
    pub fn encode(&self) -> Bytes {
        self.wire(true).encode_to_vec().into()
    }

    /// The envelope as kept on the record: without inline arguments and grant.
    pub(crate) fn encode_for_record(&self) -> Vec<u8> {
        self.wire(false).encode_to_vec()
    }

    /// Reads an envelope.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidEnvelope> {
        let wire = wire::Job::decode(bytes)?;
        if wire.schema_version != SCHEMA_VERSION {
            return Err(InvalidEnvelope::Version(wire.schema_version));
        }
        Self::from_wire(wire)
    }

    /// Unix microseconds from which on it may run: its place among the queued jobs.
    pub fn due_us(&self) -> i64 {
        self.scheduled_us.unwrap_or(self.created_us)
    }

    /// Itself, if this is the subject of a job of its workspace and id: rights are given by subject.
    ///
    /// # Errors
    /// It says that it is another's.
    pub(crate) fn waiting_at(self, subject: &str) -> Result<Self, InvalidEnvelope> {
        let (workspace, id) = (self.workspace.token(), self.id.to_string());
        if names::job_of(subject) == Some((workspace.as_str(), id.as_str())) {
            return Ok(self);
        }
        Err(InvalidEnvelope::Elsewhere { id: self.id, workspace: self.workspace })
    }

    fn wire(&self, whole: bool) -> wire::Job {
        let grant = if whole { self.grant.clone() } else { Grant::default() };
        wire::Job {
            schema_version: SCHEMA_VERSION,
            id: self.id.to_string(),
            workspace: self.workspace.to_string(),
            runnable: Some(wire::Runnable {
                path: self.path.to_string(),
                hash: self.hash.to_string(),
                language: self.language.to_string(),
            }),
            tag: self.tag.to_string(),
            args: self.wire_args(whole),
            caller: Some(self.wire_caller()),
            grant: grant.grant,
            grant_signature: grant.signature,
            traceparent: self.trace.parent.clone(),
            tracestate: self.trace.state.clone(),
            reply_to: self.reply_to.as_ref().map(ToString::to_string).unwrap_or_default(),
            created_at_us: self.created_us,
            scheduled_for_us: self.scheduled_us.unwrap_or_default(),
            retry: self.retry.as_ref().map(retry_json).unwrap_or_default(),
            retries: self.retries,
            schedule_path: self.schedule.as_ref().map(ToString::to_string).unwrap_or_default(),
            retention_s: self.retention.map_or(0, |retention| retention.as_secs().max(1)),
            keyed_until_us: self.keyed_until_us.unwrap_or_default(),
            parent_job: self.parent.map(|id| id.to_string()).unwrap_or_default(),
            root_job: self.root.map(|id| id.to_string()).unwrap_or_default(),
        }
    }

    fn wire_args(&self, whole: bool) -> Option<wire::job::Args> {
        match &self.args {
            Args::Inline(bytes) => whole.then(|| wire::job::Args::InlineArgs(bytes.clone())),
            Args::Stored { object, size } => Some(wire::job::Args::StoredArgs(wire::StoredArgs {
                object: object.clone(),
                size_bytes: *size,
            })),
        }
    }

    fn wire_caller(&self) -> wire::Caller {
        wire::Caller {
            created_by: self.caller.created_by.clone(),
            username: self.caller.username.clone(),
            email: self.caller.email.clone(),
            permissioned_as: self.caller.permissioned_as.clone(),
        }
    }

    fn from_wire(wire: wire::Job) -> Result<Self, InvalidEnvelope> {
        let runnable = wire.runnable.ok_or_else(|| invalid("runnable", "absent"))?;
        let caller = wire.caller.unwrap_or_default();
        Ok(Self {
            id: field("id", &wire.id)?,
            workspace: field("workspace", &wire.workspace)?,
            path: field("runnable.path", &runnable.path)?,
            hash: field("runnable.hash", &runnable.hash)?,
            language: field("runnable.language", &runnable.language)?,
            tag: field("tag", &wire.tag)?,
            args: args_from_wire(wire.args),
            caller: CallerInfo {
                created_by: caller.created_by,
                username: caller.username,
                email: caller.email,
                permissioned_as: caller.permissioned_as,
            },
            grant: Grant { grant: wire.grant, signature: wire.grant_signature },
            trace: Trace { parent: wire.traceparent, state: wire.tracestate },
            reply_to: optional("reply_to", &wire.reply_to)?,
            created_us: wire.created_at_us,
            scheduled_us: Some(wire.scheduled_for_us).filter(|at| *at != 0),
            retry: retry(&wire.retry)?,
            retries: wire.retries,
            schedule: optional("schedule_path", &wire.schedule_path)?,
            retention: Some(wire.retention_s).filter(|s| *s != 0).map(Duration::from_secs),
            keyed_until_us: Some(wire.keyed_until_us).filter(|at| *at != 0),
            parent: optional("parent_job", &wire.parent_job)?,
            root: optional("root_job", &wire.root_job)?,
        })
    }
}

fn args_from_wire(args: Option<wire::job::Args>) -> Args {
    match args {
        Some(wire::job::Args::InlineArgs(bytes)) => Args::Inline(bytes),
        Some(wire::job::Args::StoredArgs(stored)) => {
            Args::Stored { object: stored.object, size: stored.size_bytes }
        }
        None => Args::Inline(Bytes::from_static(b"{}")),
    }
}

fn retry(json: &str) -> Result<Option<RetryPolicy>, InvalidEnvelope> {
    if json.is_empty() { Ok(None) } else { RetryPolicy::parse(json).map_err(|error| invalid("retry", error)) }
}

fn retry_json(policy: &RetryPolicy) -> String {
    serde_json::to_string(policy).expect("a policy is JSON")
}

fn field<T: std::str::FromStr<Err: std::fmt::Display>>(
    name: &'static str,
    text: &str,
) -> Result<T, InvalidEnvelope> {
    text.parse().map_err(|error: T::Err| invalid(name, error))
}

fn optional<T: std::str::FromStr<Err: std::fmt::Display>>(
    name: &'static str,
    text: &str,
) -> Result<Option<T>, InvalidEnvelope> {
    if text.is_empty() { Ok(None) } else { field(name, text).map(Some) }
}

#[expect(clippy::needless_pass_by_value, reason = "the form `map_err` takes")]
fn invalid(field: &'static str, why: impl ToString) -> InvalidEnvelope {
    InvalidEnvelope::Field { field, why: why.to_string() }
}

/// Unix microseconds now.
pub fn now_us() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        Job {
            id: JobId::random(),
            workspace: "demo".parse().unwrap(),
            path: "f/demo/hello".parse().unwrap(),
            hash: "00ff00ff00ff00ff".parse().unwrap(),
            language: Language::Python3,
            tag: "python3".parse().unwrap(),
            args: Args::Inline(Bytes::from_static(b"{\"b\":1.0,\"a\":1e400}")),
            caller: CallerInfo { created_by: "eve".into(), ..CallerInfo::default() },
            grant: Grant { grant: Bytes::from_static(b"g"), signature: Bytes::from_static(b"s") },
            trace: Trace::default(),
            reply_to: Some(InstanceId::random("gateway")),
            created_us: now_us(),
            scheduled_us: Some(now_us() + 1),
            retry: RetryPolicy::parse(r#"{"constant":{"attempts":1,"seconds":2}}"#).unwrap(),
            retries: 3,
            schedule: Some("f/demo/nightly".parse().unwrap()),
            retention: Some(Duration::from_hours(1)),
            keyed_until_us: Some(now_us() + 2),
            parent: None,
            root: Some(JobId::random()),
        }
    }

    #[test]
    fn round_trips() {
        let job = job();
        assert_eq!(Job::decode(&job.encode()).unwrap(), job);
    }

    #[test]
    fn the_record_keeps_neither_arguments_nor_grant() {
        let kept = Job::decode(&job().encode_for_record()).unwrap();
        assert_eq!(kept.args, Args::Inline(Bytes::from_static(b"{}")));
        assert_eq!(kept.grant, Grant::default());
    }

    #[test]
    fn other_versions_and_garbage_are_refused() {
        let mut wire = job().wire(true);
        wire.schema_version = 2;
        let newer = Job::decode(&wire.encode_to_vec()).unwrap_err();
        assert!(matches!(newer, InvalidEnvelope::Version(2)), "{newer}");
        assert!(Job::decode(b"\xff\xff\xff").is_err());
        assert!(Job::decode(b"").is_err());
        wire.schema_version = 1;
        wire.id = "nope".into();
        let bad = Job::decode(&wire.encode_to_vec()).unwrap_err();
        assert!(bad.to_string().contains("id"), "{bad}");
    }
}
