//! Orders to single workers: today only "look at this job, somebody asked for its end".

use broker::{Broker, names};
use futures::{Stream, StreamExt};
use prost::Message;
use proto::{InstanceId, JobId, WorkspaceId};

/// Sending and receiving of control messages.
#[derive(Clone)]
pub struct Control(Broker);

impl Control {
    /// Over this connection.
    pub fn new(broker: Broker) -> Self {
        Self(broker)
    }

    /// Tells a worker to look at a job. May be lost: the worker looks at every renewal.
    pub async fn nudge(&self, worker: &InstanceId, workspace: &WorkspaceId, id: JobId) {
        let order = proto::job::Control {
            schema_version: 1,
            workspace: workspace.to_string(),
            job_id: id.to_string(),
        };
        let subject = names::control(worker.as_str());
        if let Err(error) = self.0.client().publish(subject, order.encode_to_vec().into()).await {
            tracing::debug!(job.id = %id, %error, "a worker was not told");
        }
    }

    /// The jobs this worker is told to look at.
    ///
    /// # Errors
    /// The client is closed.
    pub async fn orders(
        &self,
        worker: &InstanceId,
    ) -> Result<impl Stream<Item = JobId> + use<>, async_nats::SubscribeError> {
        let messages = self.0.client().subscribe(names::control(worker.as_str())).await?;
        Ok(messages.filter_map(async |message| {
            let order = proto::job::Control::decode(message.payload).ok()?;
            order.job_id.parse().ok()
        }))
    }
}
