//! What each service may publish and subscribe to in NATS: nothing but what is listed.
//! The server's configuration is rendered from this table, and a system test tries each
//! user on each subject it has no business with.

use crate::names::inbox_prefix;

/// One NATS user and its allow-lists.
#[derive(Clone, Debug)]
pub struct ServiceUser {
    /// The user's name, also the middle of its inbox prefix.
    pub name: &'static str,
    /// Subjects it may publish to.
    pub publish: Vec<String>,
    /// Subjects it may subscribe to.
    pub subscribe: Vec<String>,
}

/// Makes streams and consumers, once per installation.
pub const PROVISION: &str = "provision";
/// The only writer of users and tokens.
pub const AUTH_SERVICE: &str = "auth-service";
/// Publishes jobs, reads definitions and results.
pub const GATEWAY: &str = "gateway";
/// Pulls jobs and tells of their ends.
pub const WORKER: &str = "worker";

/// Every user of an installation.
pub fn users() -> Vec<ServiceUser> {
    vec![provision(), auth_service(), gateway(), worker()]
}

fn user(name: &'static str, publish: Vec<String>, mut subscribe: Vec<String>) -> ServiceUser {
    subscribe.push(format!("{}.>", inbox_prefix(name)));
    ServiceUser { name, publish, subscribe }
}

fn owned(subjects: &[&str]) -> Vec<String> {
    subjects.iter().map(|subject| (*subject).to_owned()).collect()
}

/// Reading the given kinds of the catalog: by key, and by a watch (whose filter is in
/// the subject, so that the kind can be checked here).
fn read_catalog(kinds: &[&str]) -> Vec<String> {
    let direct = kinds.iter().map(|kind| format!("$JS.API.DIRECT.GET.KV_CATALOG.$KV.CATALOG.{kind}.>"));
    let watch = kinds.iter().map(|kind| format!("$JS.API.CONSUMER.CREATE.KV_CATALOG.*.$KV.CATALOG.{kind}.>"));
    let mut subjects: Vec<String> = direct.chain(watch).collect();
    // ordered consumers replace themselves, and answer the server's flow control
    subjects.extend(owned(&[
        "$JS.API.CONSUMER.INFO.KV_CATALOG.*",
        "$JS.API.CONSUMER.DELETE.KV_CATALOG.*",
        "$JS.FC.KV_CATALOG.>",
    ]));
    subjects
}

fn write_catalog(kinds: &[&str]) -> Vec<String> {
    kinds.iter().map(|kind| format!("$KV.CATALOG.{kind}.>")).collect()
}

fn read_objects(bucket: &str) -> Vec<String> {
    vec![
        format!("$JS.API.STREAM.INFO.OBJ_{bucket}"),
        format!("$JS.API.DIRECT.GET.OBJ_{bucket}.>"),
        format!("$JS.API.STREAM.MSG.GET.OBJ_{bucket}"),
        format!("$JS.API.CONSUMER.CREATE.OBJ_{bucket}.>"),
        format!("$JS.API.CONSUMER.CREATE.OBJ_{bucket}"),
        format!("$JS.API.CONSUMER.INFO.OBJ_{bucket}.*"),
        format!("$JS.API.CONSUMER.DELETE.OBJ_{bucket}.*"),
        format!("$JS.FC.OBJ_{bucket}.>"),
    ]
}

fn write_objects(bucket: &str) -> Vec<String> {
    vec![format!("$O.{bucket}.>"), format!("$JS.API.STREAM.PURGE.OBJ_{bucket}")]
}

fn provision() -> ServiceUser {
    user(PROVISION, owned(&["$JS.API.>"]), Vec::new())
}

fn auth_service() -> ServiceUser {
    let mut publish = read_catalog(&["workspace", "account", "user", "token", "revoked"]);
    publish.extend(write_catalog(&["workspace", "account", "user", "token", "revoked", "audit"]));
    user(AUTH_SERVICE, publish, Vec::new())
}

fn gateway() -> ServiceUser {
    let mut publish = read_catalog(&[
        "workspace",
        "user",
        "revoked",
        "head",
        "script",
        "schedule",
        "schedule_defaults",
        "audit",
    ]);
    publish.extend(write_catalog(&["head", "script", "schedule", "schedule_defaults", "audit"]));
    publish.extend(read_objects("BLOBS"));
    publish.extend(write_objects("BLOBS"));
    publish.extend(read_objects("ARGS"));
    publish.extend(write_objects("ARGS"));
    // the collector's walk: many of a stream at once
    publish.push("$JS.API.DIRECT.GET.OBJ_ARGS".to_owned());
    publish.extend(owned(&[
        "job.0.>",
        "$JS.API.DIRECT.GET.JOBS_0",
        "$JS.API.STREAM.INFO.JOBS_0",
        // how long the oldest job of a tag has been waiting
        "$JS.API.CONSUMER.INFO.JOBS_0.*",
        "$JS.API.STREAM.MSG.DELETE.JOBS_0",
        "$JS.API.DIRECT.GET.DEAD",
        "$JS.API.STREAM.MSG.DELETE.DEAD",
        "timer.0.>",
        "$JS.API.DIRECT.GET.TIMERS",
        "$JS.API.STREAM.INFO.TIMERS",
        "$JS.API.STREAM.MSG.DELETE.TIMERS",
        "$JS.API.CONSUMER.CREATE.TIMERS.fire-0.fire.0.>",
        "$JS.API.CONSUMER.MSG.NEXT.TIMERS.fire-0",
        "$JS.API.CONSUMER.INFO.TIMERS.fire-0",
        // acknowledgements, in the form of servers before and after 2.15
        "$JS.ACK.TIMERS.>",
        "$JS.ACK.*.*.TIMERS.>",
        "ctl.*",
        "ev.*.*",
        // a job cancelled while it was queued ends here
        "done.*",
    ]));
    user(GATEWAY, publish, owned(&["done.*", "ev.*.*"]))
}

fn worker() -> ServiceUser {
    let mut publish = read_catalog(&["head", "script"]);
    publish.extend(read_objects("BLOBS"));
    publish.extend(read_objects("ARGS"));
    publish.extend(owned(&[
        "$JS.API.CONSUMER.CREATE.JOBS_0.*.job.0.*.*.>",
        "$JS.API.CONSUMER.MSG.NEXT.JOBS_0.*",
        "$JS.API.CONSUMER.INFO.JOBS_0.*",
        // acknowledgements, in the form of servers before and after 2.15
        "$JS.ACK.JOBS_0.>",
        "$JS.ACK.*.*.JOBS_0.>",
        "dead.*.*",
        // a job that is tried again, later
        "timer.0.job.*.*",
        // a job of a schedule that has ended
        "timer.0.after.*.*",
        "done.*",
        "ev.*.*",
    ]));
    user(WORKER, publish, owned(&["ctl.*"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_auth_service_touches_tokens() {
        for user in users().iter().filter(|user| user.name != AUTH_SERVICE && user.name != PROVISION) {
            let all = user.publish.iter().chain(&user.subscribe);
            for subject in all {
                assert!(
                    !subject.contains(".token.") && !subject.contains(".account."),
                    "{}: {subject}",
                    user.name
                );
                assert!(
                    !subject.starts_with('>') && !subject.starts_with("$JS.API.>"),
                    "{}: {subject}",
                    user.name
                );
            }
        }
    }

    #[test]
    fn workers_write_no_definitions_and_no_jobs() {
        for subject in worker().publish {
            assert!(
                !subject.starts_with("$KV") && !subject.starts_with("job.") && !subject.starts_with("$O."),
                "{subject}"
            );
        }
    }
}
