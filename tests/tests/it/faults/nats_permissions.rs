//! Each service's NATS user is refused each subject it has no business with. The table is
//! written by hand, not taken from `broker::permissions`, which it judges. What a user needs
//! is tried the same way, so that a server that refuses everything would be noticed.

use std::net::SocketAddr;

use serde_json::json;
use system_tests::{System, within};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::stage::BOUND;

/// What one user may (not) do, in the words of the protocol.
struct Row {
    user: &'static str,
    may: &'static [&'static str],
    may_not: &'static [&'static str],
}

/// Nobody but `provision` changes streams; nobody at all reads everything or the system's own.
const NO_SERVICE_MAY: &[&str] = &[
    "PUB $JS.API.STREAM.CREATE.EVIL",
    "PUB $JS.API.STREAM.UPDATE.JOBS_0",
    "PUB $JS.API.STREAM.DELETE.JOBS_0",
    "PUB $JS.API.STREAM.PURGE.JOBS_0",
    "PUB $JS.API.STREAM.PURGE.DEAD",
    "PUB $JS.API.STREAM.PURGE.TIMERS",
    "PUB $JS.API.CONSUMER.CREATE.TIMERS.spy",
    "PUB $JS.API.CONSUMER.DELETE.TIMERS.fire-0",
    "PUB timer.1.job.main.x",
    "PUB fire.0.job.main.x",
    "PUB fire.0.after.main.x",
    "SUB timer.>",
    "SUB fire.>",
    "PUB $JS.API.CONSUMER.CREATE.DEAD.spy",
    "SUB dead.>",
    "PUB $JS.API.STREAM.MSG.GET.JOBS_0",
    "PUB $JS.API.STREAM.DELETE.KV_CATALOG",
    "PUB $JS.API.STREAM.PURGE.KV_CATALOG",
    "PUB $JS.API.STREAM.MSG.GET.KV_CATALOG",
    "PUB $JS.API.STREAM.MSG.DELETE.KV_CATALOG",
    "PUB $JS.API.STREAM.SNAPSHOT.KV_CATALOG",
    // the key is in the body, where no permission sees it
    "PUB $JS.API.DIRECT.GET.KV_CATALOG",
    "PUB $JS.API.CONSUMER.CREATE.KV_CATALOG",
    "PUB $JS.API.CONSUMER.CREATE.KV_CATALOG.spy",
    "PUB $JS.API.CONSUMER.DURABLE.CREATE.KV_CATALOG.spy",
    "PUB $JS.API.CONSUMER.CREATE.KV_CATALOG.spy.$KV.CATALOG.>",
    "PUB $JS.API.CONSUMER.DELETE.JOBS_0.w-bash-p1",
    "PUB $JS.API.CONSUMER.CREATE.JOBS_0.spy",
    "PUB $JS.API.CONSUMER.DURABLE.CREATE.JOBS_0.spy",
    "PUB job.1.bash.p1.main.x",
    "PUB $SYS.REQ.SERVER.PING",
    "SUB >",
    "SUB *",
    "SUB _INBOX.>",
    "SUB $JS.API.>",
    "SUB $JS.ACK.>",
    "SUB $KV.>",
    "SUB $O.>",
    "SUB $SYS.>",
    "SUB job.>",
    "SUB job.0.bash.p1.>",
    "SUB ev.>",
    "SUB _INBOX_provision.>",
];

const TABLE: &[Row] = &[
    Row {
        user: "gateway",
        may: &[
            "PUB job.0.bash.p1.main.x",
            "PUB $KV.CATALOG.script.main.x",
            "PUB $KV.CATALOG.head.main.x",
            "PUB $KV.CATALOG.schedule.main.x",
            "PUB $KV.CATALOG.schedule_defaults.main.x",
            "PUB $JS.API.DIRECT.GET.KV_CATALOG.$KV.CATALOG.schedule.main.x",
            "PUB $JS.API.DIRECT.GET.KV_CATALOG.$KV.CATALOG.schedule_defaults.main.x",
            "PUB $JS.API.CONSUMER.CREATE.KV_CATALOG.w.$KV.CATALOG.schedule.>",
            "PUB $KV.CATALOG.audit.main.x",
            "PUB $JS.API.DIRECT.GET.KV_CATALOG.$KV.CATALOG.head.main.x",
            "PUB $JS.API.CONSUMER.CREATE.KV_CATALOG.w.$KV.CATALOG.revoked.>",
            "PUB $JS.API.STREAM.MSG.DELETE.JOBS_0",
            "PUB $JS.API.STREAM.INFO.JOBS_0",
            "PUB $JS.API.STREAM.INFO.TIMERS",
            "PUB $JS.API.CONSUMER.INFO.JOBS_0.w-bash-p1",
            "PUB $JS.API.CONSUMER.INFO.TIMERS.fire-0",
            "PUB timer.0.job.main.x",
            "PUB timer.0.after.main.x",
            "PUB $JS.API.CONSUMER.CREATE.TIMERS.fire-0.fire.0.>",
            "PUB $JS.API.CONSUMER.MSG.NEXT.TIMERS.fire-0",
            "PUB $JS.ACK.TIMERS.fire-0.1.1.1.1.0",
            "PUB $O.ARGS.C.x",
            "PUB $JS.API.DIRECT.GET.OBJ_ARGS",
            "PUB $JS.API.STREAM.PURGE.OBJ_ARGS",
            "PUB ctl.worker-1",
            "SUB done.gateway-1",
            "SUB ev.main.x",
            "SUB _INBOX_gateway.x.>",
        ],
        may_not: &[
            "PUB $KV.CATALOG.token._.x",
            "PUB $KV.CATALOG.account._.x",
            "PUB $KV.CATALOG.user.main.x",
            "PUB $KV.CATALOG.workspace._.x",
            "PUB $KV.CATALOG.revoked._.x",
            "PUB $JS.API.DIRECT.GET.KV_CATALOG.$KV.CATALOG.token._.x",
            "PUB $JS.API.DIRECT.GET.KV_CATALOG.$KV.CATALOG.account._.x",
            "PUB $JS.API.CONSUMER.CREATE.KV_CATALOG.w.$KV.CATALOG.token.>",
            "PUB $JS.API.CONSUMER.CREATE.KV_CATALOG.w.$KV.CATALOG.account.>",
            "PUB $JS.API.CONSUMER.CREATE.JOBS_0.w.job.0.bash.p1.>",
            "PUB $JS.API.CONSUMER.MSG.NEXT.JOBS_0.w-bash-p1",
            "PUB $JS.API.CONSUMER.INFO.TIMERS.spy",
            "PUB $JS.API.CONSUMER.INFO.DEAD.spy",
            "PUB $JS.API.STREAM.INFO.DEAD",
            "PUB $JS.ACK.JOBS_0.w-bash-p1.1.1.1.1.0",
            "PUB _INBOX_worker.x",
            "PUB _INBOX_auth-service.x",
            "SUB ctl.worker-1",
            "SUB _INBOX_worker.>",
            "SUB _INBOX_auth-service.>",
        ],
    },
    Row {
        user: "auth-service",
        may: &[
            "PUB $KV.CATALOG.token._.x",
            "PUB $KV.CATALOG.account._.x",
            "PUB $KV.CATALOG.user.main.x",
            "PUB $KV.CATALOG.workspace._.x",
            "PUB $KV.CATALOG.revoked._.x",
            "PUB $KV.CATALOG.audit._.x",
            "PUB $JS.API.DIRECT.GET.KV_CATALOG.$KV.CATALOG.token._.x",
            "PUB $JS.API.CONSUMER.CREATE.KV_CATALOG.w.$KV.CATALOG.token.>",
            "SUB _INBOX_auth-service.x.>",
        ],
        may_not: &[
            "PUB job.0.bash.p1.main.x",
            "PUB $KV.CATALOG.script.main.x",
            "PUB $KV.CATALOG.head.main.x",
            "PUB $KV.CATALOG.schedule.main.x",
            "PUB $JS.API.DIRECT.GET.KV_CATALOG.$KV.CATALOG.schedule.main.x",
            "PUB $JS.API.CONSUMER.CREATE.KV_CATALOG.w.$KV.CATALOG.schedule.>",
            "PUB $JS.API.DIRECT.GET.KV_CATALOG.$KV.CATALOG.script.main.x",
            "PUB $JS.API.CONSUMER.CREATE.KV_CATALOG.w.$KV.CATALOG.script.>",
            "PUB $JS.API.CONSUMER.CREATE.KV_CATALOG.w.$KV.CATALOG.audit.>",
            "PUB $JS.API.CONSUMER.CREATE.JOBS_0.w.job.0.bash.p1.>",
            "PUB $JS.API.CONSUMER.MSG.NEXT.JOBS_0.w-bash-p1",
            "PUB $JS.API.STREAM.MSG.DELETE.JOBS_0",
            "PUB $JS.API.DIRECT.GET.DEAD",
            "PUB dead.main.x",
            "PUB timer.0.job.main.x",
            "PUB timer.0.after.main.x",
            "PUB $JS.API.CONSUMER.MSG.NEXT.TIMERS.fire-0",
            "PUB $JS.API.DIRECT.GET.TIMERS",
            "PUB $JS.API.STREAM.INFO.OBJ_ARGS",
            "PUB $JS.API.STREAM.INFO.TIMERS",
            "PUB $JS.API.CONSUMER.INFO.JOBS_0.w-bash-p1",
            "PUB $JS.API.DIRECT.GET.JOBS_0",
            "PUB $JS.ACK.JOBS_0.w-bash-p1.1.1.1.1.0",
            "PUB $O.ARGS.C.x",
            "PUB $O.BLOBS.C.x",
            "PUB done.gateway-1",
            "PUB ev.main.x",
            "PUB ctl.worker-1",
            "PUB _INBOX_gateway.x",
            "PUB _INBOX_worker.x",
            "SUB done.gateway-1",
            "SUB ev.main.x",
            "SUB ctl.worker-1",
            "SUB _INBOX_gateway.>",
            "SUB _INBOX_worker.>",
        ],
    },
    Row {
        user: "worker",
        may: &[
            "PUB $JS.API.CONSUMER.CREATE.JOBS_0.w-bash-p1.job.0.bash.p1.>",
            "PUB $JS.API.CONSUMER.MSG.NEXT.JOBS_0.w-bash-p1",
            // what its consumer does, for metrics
            "PUB $JS.API.CONSUMER.INFO.JOBS_0.w-bash-p1",
            "PUB $JS.ACK.JOBS_0.w-bash-p1.1.1.1.1.0",
            "PUB $JS.API.DIRECT.GET.KV_CATALOG.$KV.CATALOG.script.main.x",
            "PUB dead.main.x",
            "PUB timer.0.job.main.x",
            "PUB timer.0.after.main.x",
            "PUB done.gateway-1",
            "PUB ev.main.x",
            "SUB ctl.worker-1",
            "SUB _INBOX_worker.x.>",
        ],
        may_not: &[
            "PUB job.0.bash.p1.main.x",
            "PUB $KV.CATALOG.script.main.x",
            "PUB $KV.CATALOG.head.main.x",
            "PUB $KV.CATALOG.schedule.main.x",
            "PUB $JS.API.DIRECT.GET.KV_CATALOG.$KV.CATALOG.schedule.main.x",
            "PUB $JS.API.CONSUMER.CREATE.KV_CATALOG.w.$KV.CATALOG.schedule.>",
            "PUB $KV.CATALOG.token._.x",
            "PUB $KV.CATALOG.account._.x",
            "PUB $KV.CATALOG.user.main.x",
            "PUB $KV.CATALOG.workspace._.x",
            "PUB $KV.CATALOG.revoked._.x",
            "PUB $KV.CATALOG.audit.main.x",
            "PUB $JS.API.DIRECT.GET.KV_CATALOG.$KV.CATALOG.token._.x",
            "PUB $JS.API.DIRECT.GET.KV_CATALOG.$KV.CATALOG.user.main.x",
            // what bounds a job comes with its token
            "PUB $JS.API.DIRECT.GET.KV_CATALOG.$KV.CATALOG.workspace._.x",
            "PUB $JS.API.CONSUMER.CREATE.KV_CATALOG.w.$KV.CATALOG.workspace.>",
            "PUB $JS.API.DIRECT.GET.KV_CATALOG.$KV.CATALOG.audit.main.x",
            "PUB $JS.API.CONSUMER.CREATE.KV_CATALOG.w.$KV.CATALOG.token.>",
            "PUB $JS.API.CONSUMER.CREATE.KV_CATALOG.w.$KV.CATALOG.account.>",
            "PUB $JS.API.CONSUMER.CREATE.KV_CATALOG.w.$KV.CATALOG.user.>",
            "PUB $JS.API.CONSUMER.CREATE.JOBS_0.spy.job.>",
            "PUB $JS.API.STREAM.INFO.TIMERS",
            "PUB $JS.API.CONSUMER.INFO.TIMERS.fire-0",
            "PUB $JS.API.DIRECT.GET.JOBS_0",
            "PUB $JS.API.DIRECT.GET.DEAD",
            "PUB $JS.API.STREAM.MSG.DELETE.DEAD",
            "PUB timer.0.cron.main.x",
            "PUB timer.0.after.main",
            "PUB timer.0.after.main.x.y",
            "PUB $KV.CATALOG.schedule_defaults.main.x",
            "PUB $JS.API.DIRECT.GET.TIMERS",
            "PUB $JS.API.STREAM.MSG.DELETE.TIMERS",
            "PUB $JS.API.CONSUMER.MSG.NEXT.TIMERS.fire-0",
            "PUB $JS.ACK.TIMERS.fire-0.1.1.1.1.0",
            "PUB $JS.API.STREAM.MSG.DELETE.JOBS_0",
            "PUB $JS.API.STREAM.PURGE.OBJ_ARGS",
            "PUB $JS.ACK.KV_CATALOG.watch.1.1.1.1.0",
            "PUB $O.ARGS.C.x",
            "PUB $O.BLOBS.C.x",
            "PUB ctl.worker-1",
            "PUB _INBOX_gateway.x",
            "PUB _INBOX_auth-service.x",
            "SUB done.gateway-1",
            "SUB ev.main.x",
            "SUB _INBOX_gateway.>",
            "SUB _INBOX_auth-service.>",
        ],
    },
];

/// `provision` makes streams and reads them; it plays no part in what they hold.
const PROVISION: Row = Row {
    user: "provision",
    may: &["PUB $JS.API.STREAM.INFO.JOBS_0", "PUB $JS.API.STREAM.UPDATE.JOBS_0", "SUB _INBOX_provision.x.>"],
    may_not: &[
        "PUB job.0.bash.p1.main.x",
        "PUB $KV.CATALOG.token._.x",
        "PUB $KV.CATALOG.script.main.x",
        "PUB $JS.ACK.JOBS_0.w-bash-p1.1.1.1.1.0",
        "PUB done.gateway-1",
        "PUB ctl.worker-1",
        "SUB >",
        "SUB job.>",
        "SUB done.gateway-1",
        "SUB _INBOX_gateway.>",
        "SUB _INBOX_worker.>",
    ],
};

#[tokio::test]
async fn each_user_is_refused_what_it_has_no_business_with() {
    let system = System::start().workers(0).await;
    let mut wrong = Vec::new();
    for row in TABLE.iter().chain([&PROVISION]) {
        let password = system.credentials().nats_password(row.user);
        let mut talk = Talk::open(system.nats().address(), row.user, password).await;
        let everyone = if row.user == PROVISION.user { &[][..] } else { NO_SERVICE_MAY };
        for (what, refused) in row
            .may
            .iter()
            .map(|what| (what, false))
            .chain(row.may_not.iter().chain(everyone).map(|what| (what, true)))
        {
            let said = talk.attempt(what).await;
            if said.iter().any(|line| is_refusal(line, what)) != refused {
                wrong.push(format!("{} {what}: {said:?}", row.user));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn nobody_gets_in_without_a_password() {
    let system = System::start().workers(0).await;
    for (user, password) in [("gateway", "guessed"), ("gateway", ""), ("", ""), ("root", "root")] {
        let mut talk = Talk::open(system.nats().address(), user, password).await;
        let said = talk.attempt("PUB done.gateway-1").await;
        assert!(said.iter().any(|line| line.contains("Authorization Violation")), "{user}: {said:?}");
    }
}

fn is_refusal(line: &str, what: &str) -> bool {
    let (verb, subject) = what.split_once(' ').unwrap();
    let noun = if verb == "PUB" { "Publish" } else { "Subscription" };
    line.starts_with("-ERR") && line.contains(&format!("Permissions Violation for {noun} to \"{subject}\""))
}

/// A conversation in the client's protocol: what is refused is said before the next PONG.
struct Talk {
    stream: BufReader<TcpStream>,
    subscriptions: usize,
}

impl Talk {
    async fn open(server: SocketAddr, user: &str, password: &str) -> Self {
        let mut talk =
            Self { stream: BufReader::new(TcpStream::connect(server).await.unwrap()), subscriptions: 0 };
        let options = json!({"verbose": false, "pedantic": false, "user": user, "pass": password});
        talk.write(&format!("CONNECT {options}\r\n")).await;
        talk
    }

    async fn write(&mut self, text: &str) {
        // a server that has refused us may be gone already: it has said so
        let _ = self.stream.get_mut().write_all(text.as_bytes()).await;
    }

    /// Tries `PUB <subject>` or `SUB <subject>`; what the server says about it.
    async fn attempt(&mut self, what: &str) -> Vec<String> {
        self.subscriptions += 1;
        match what.strip_prefix("PUB ") {
            Some(subject) => self.write(&format!("PUB {subject} 0\r\n\r\nPING\r\n")).await,
            None => self.write(&format!("{what} {}\r\nPING\r\n", self.subscriptions)).await,
        }
        within("the server's PONG", BOUND, self.until_pong()).await
    }

    async fn until_pong(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.stream.read_line(&mut line).await.unwrap_or(0);
            if read == 0 || line.starts_with("PONG") {
                return said;
            }
            said.push(line.trim_end().to_owned());
        }
    }
}
