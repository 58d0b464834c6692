//! The names of streams, subjects and inboxes: each stands here once.

/// The catalog's key-value bucket and its stream.
pub const CATALOG_BUCKET: &str = "CATALOG";
/// The stream under [`CATALOG_BUCKET`].
pub const CATALOG_STREAM: &str = "KV_CATALOG";
/// What the catalog's subjects begin with.
pub const CATALOG_PREFIX: &str = "$KV.CATALOG.";
/// The object store of bodies too large for a catalog value, named by their SHA-256.
pub const BLOBS_BUCKET: &str = "BLOBS";
/// The object store of arguments too large for an envelope.
pub const ARGS_BUCKET: &str = "ARGS";
/// The stream under [`ARGS_BUCKET`].
pub const ARGS_STREAM: &str = "OBJ_ARGS";

/// The one shard of today; the token is in every subject from the start.
pub const SHARD: &str = "0";
/// The ready jobs' stream of [`SHARD`].
pub const JOBS_STREAM: &str = "JOBS_0";

/// The stream of jobs that are not tried any more.
pub const DEAD_STREAM: &str = "DEAD";

/// The stream of what is to happen later: messages that the server itself publishes when they are due.
pub const TIMERS_STREAM: &str = "TIMERS";
/// The consumer of timers of [`SHARD`] that have fired.
pub const FIRE_CONSUMER: &str = "fire-0";

/// `_INBOX_<user>`: each service's replies are its own.
pub fn inbox_prefix(user: &str) -> String {
    format!("_INBOX_{user}")
}

/// `job.<shard>.<tag>.<priority>.<ws>.<job id>`; `ws` and `tag` already tokens.
pub fn job_subject(tag: &str, priority: &str, workspace: &str, job: &str) -> String {
    format!("job.{SHARD}.{tag}.{priority}.{workspace}.{job}")
}

/// Every ready job of one tag and priority.
pub fn jobs_of(tag: &str, priority: &str) -> String {
    format!("job.{SHARD}.{tag}.{priority}.>")
}

/// The subject of one job whatever its tag and priority.
pub fn job_anywhere(workspace: &str, job: &str) -> String {
    format!("job.{SHARD}.*.*.{workspace}.{job}")
}

/// The timer of one job; `workspace` already a token.
pub fn timer(workspace: &str, job: &str) -> String {
    format!("timer.{SHARD}.job.{workspace}.{job}")
}

/// Where the timer of one job fires to: a schedule cannot leave its stream.
pub fn fire(workspace: &str, job: &str) -> String {
    format!("fire.{SHARD}.job.{workspace}.{job}")
}

/// The timer of one job, fired or not.
pub fn timer_anywhere(workspace: &str, job: &str) -> String {
    format!("*.{SHARD}.job.{workspace}.{job}")
}

/// The timer of a schedule's next tick; both already tokens.
pub fn schedule_timer(workspace: &str, schedule: &str) -> String {
    format!("timer.{SHARD}.cron.{workspace}.{schedule}")
}

/// Where the timer of a schedule's next tick fires to.
pub fn schedule_fire(workspace: &str, schedule: &str) -> String {
    format!("fire.{SHARD}.cron.{workspace}.{schedule}")
}

/// The timer of a schedule's next tick, fired or not.
pub fn schedule_anywhere(workspace: &str, schedule: &str) -> String {
    format!("*.{SHARD}.cron.{workspace}.{schedule}")
}

/// The timer by which the handlers of a schedule hear of a job's end; `workspace` already a token.
pub fn after_timer(workspace: &str, job: &str) -> String {
    format!("timer.{SHARD}.after.{workspace}.{job}")
}

/// Where that timer fires to.
pub fn after_fire(workspace: &str, job: &str) -> String {
    format!("fire.{SHARD}.after.{workspace}.{job}")
}

/// Every timer of a job, fired or not.
pub fn timers_of_jobs() -> String {
    format!("*.{SHARD}.job.>")
}

/// Every timer that has fired.
pub fn fires() -> String {
    format!("fire.{SHARD}.>")
}

/// What the subject of a timer that has fired says it is of, both as tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fired<'a> {
    /// A job.
    Job {
        /// Its workspace.
        workspace: &'a str,
        /// Its id.
        id: &'a str,
    },
    /// A schedule's next tick.
    Schedule {
        /// Its workspace.
        workspace: &'a str,
        /// Its path.
        path: &'a str,
    },
    /// The end of a schedule's job.
    After {
        /// The job's workspace.
        workspace: &'a str,
        /// Its id.
        id: &'a str,
    },
}

/// What a timer that has fired is of; none if this is no such subject.
pub fn fired(subject: &str) -> Option<Fired<'_>> {
    let tokens: Vec<&str> = subject.split('.').collect();
    match tokens[..] {
        ["fire", SHARD, "job", workspace, id] => Some(Fired::Job { workspace, id }),
        ["fire", SHARD, "cron", workspace, path] => Some(Fired::Schedule { workspace, path }),
        ["fire", SHARD, "after", workspace, id] => Some(Fired::After { workspace, id }),
        _ => None,
    }
}

/// The dead letter of one job; `workspace` already a token.
pub fn dead(workspace: &str, job: &str) -> String {
    format!("dead.{workspace}.{job}")
}

/// Every dead letter of a workspace.
pub fn dead_of(workspace: &str) -> String {
    format!("dead.{workspace}.*")
}

/// A piece of an object of [`ARGS_BUCKET`], in the form of NATS' object stores.
pub fn args_chunk(nuid: &str) -> String {
    format!("$O.{ARGS_BUCKET}.C.{nuid}")
}

/// What is said of an object of [`ARGS_BUCKET`]; its name as base64.
pub fn args_meta(name: &str) -> String {
    format!("$O.{ARGS_BUCKET}.M.{name}")
}

/// The tokens of workspace and job in a job's subject; none if it is no such subject.
pub fn job_of(subject: &str) -> Option<(&str, &str)> {
    let tokens: Vec<&str> = subject.split('.').collect();
    let ["job", SHARD, _, _, workspace, job] = tokens[..] else { return None };
    // nothing else is ever published, and a wildcard or a line's end must not pass for one
    let safe = |token: &&str| {
        !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-=".contains(&byte))
    };
    tokens.iter().all(safe).then_some((workspace, job))
}

/// The completion subject of one gateway instance.
pub fn done(instance: &str) -> String {
    format!("done.{instance}")
}

/// The event subject of one job.
pub fn event(workspace: &str, job: &str) -> String {
    format!("ev.{workspace}.{job}")
}

/// The control subject of one worker.
pub fn control(worker: &str) -> String {
    format!("ctl.{worker}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_of_a_job_names_it() {
        assert_eq!(job_of(&job_subject("bash", "p1", "my=2Ews", "id-1")), Some(("my=2Ews", "id-1")));
        for none in [
            "",
            "job.0.bash.p1.main",
            "job.1.bash.p1.main.x",
            "job.0.*.p1.main.x",
            "job.0.bash.p1.main.>",
            "job.0.ba\nsh.p1.main.x",
            "job.0..p1.main.x",
            "dead.0.bash.p1.main.x",
        ] {
            assert_eq!(job_of(none), None, "{none}");
        }
    }
}
