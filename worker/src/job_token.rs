//! Exchanging a job's grant for the token of one attempt.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use catalog::WorkspaceSandbox;
use job_queue::Job;
use proto::auth::auth_client::AuthClient;
use proto::auth::{IssueJobTokenReply, IssueJobTokenRequest, SignedGrant};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use crate::patience::Transient;

/// How long one call may take.
const CALL: Duration = Duration::from_secs(1);

/// auth-service, as this worker speaks to it. Connects lazily and reconnects.
pub(crate) struct JobTokens {
    client: AuthClient<Channel>,
    credential: MetadataValue<Ascii>,
    answers: AtomicBool,
}

/// What an attempt is given.
pub(crate) struct Issued {
    /// Good while the attempt runs.
    pub(crate) token: String,
    /// What the job's workspace asks of its scripts' sandboxes at this moment.
    pub(crate) sandbox: WorkspaceSandbox,
    /// How long it keeps ended runs, where it says so.
    pub(crate) retention: Option<Duration>,
}

impl TryFrom<IssueJobTokenReply> for Issued {
    type Error = tonic::Status;

    fn try_from(reply: IssueJobTokenReply) -> Result<Self, tonic::Status> {
        let sandbox = match reply.sandbox.as_str() {
            "" => Ok(WorkspaceSandbox::default()),
            said => serde_json::from_str(said),
        };
        // a newer service says something that this worker cannot keep: nothing runs without it
        let unknown =
            |error| format!("what its workspace asks of its sandbox is not understood here: {error}");
        let sandbox = sandbox.map_err(|error| tonic::Status::failed_precondition(unknown(error)))?;
        let retention = Some(reply.retention_s).filter(|s| *s != 0).map(Duration::from_secs);
        Ok(Self { token: reply.token, sandbox, retention })
    }
}

impl JobTokens {
    pub(crate) fn new(url: &str, credential: &str) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(url.to_owned())?
            .connect_timeout(Duration::from_millis(500))
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(5));
        let mut credential: MetadataValue<Ascii> = format!("worker {credential}").parse()?;
        credential.set_sensitive(true);
        let client = AuthClient::new(endpoint.connect_lazy());
        Ok(Self { client, credential, answers: AtomicBool::new(false) })
    }

    /// Whether auth-service answered when it was last asked: it is likely to do so again.
    pub(crate) fn answers(&self) -> bool {
        self.answers.load(Ordering::Relaxed)
    }

    /// The token of this attempt, good no longer than `timeout` and a margin; and its workspace's word.
    pub(crate) async fn issue(
        &self,
        job: &Job,
        attempt: u32,
        timeout: Duration,
    ) -> Result<Issued, tonic::Status> {
        let mut request = tonic::Request::new(IssueJobTokenRequest {
            grant: Some(SignedGrant {
                grant: job.grant.grant.to_vec(),
                signature: job.grant.signature.to_vec(),
            }),
            workspace: job.workspace.to_string(),
            job_id: job.id.to_string(),
            attempt,
            script_path: job.path.to_string(),
            timeout_ms: i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX),
        });
        request.metadata_mut().insert("x-hookmill-service", self.credential.clone());
        let mut client = self.client.clone();
        let reply = match tokio::time::timeout(CALL, client.issue_job_token(request)).await {
            Ok(reply) => reply.and_then(|reply| reply.into_inner().try_into()),
            Err(_) => Err(tonic::Status::deadline_exceeded("auth-service did not answer in time")),
        };
        let away = reply.as_ref().is_err_and(Transient::is_transient);
        self.answers.store(!away, Ordering::Relaxed);
        reply
    }
}

#[cfg(test)]
mod tests {
    use catalog::Reach;

    use super::*;

    #[test]
    fn a_workspace_is_heard_whole_or_nothing_runs() {
        let issued = |sandbox: &str| {
            let reply = IssueJobTokenReply { sandbox: sandbox.into(), ..IssueJobTokenReply::default() };
            Issued::try_from(reply).map(|issued| issued.sandbox)
        };
        assert_eq!(issued("").unwrap(), WorkspaceSandbox::default());
        assert_eq!(issued(r#"{"network_max":"none"}"#).unwrap().network_max, Some(Reach::None));
        for unknown in [r#"{"invented_later":1}"#, r#"{"network_max":"moon"}"#, "{", "7"] {
            let status = issued(unknown).unwrap_err();
            assert!(!status.is_transient() && status.message().contains("not understood here"), "{status}");
        }
    }
}
