//! The gRPC client of auth-service.

use std::time::Duration;

use proto::ErrorCode;
use proto::auth::auth_client::AuthClient as Generated;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use crate::error::ApiError;

/// How long one call may take.
const CALL: Duration = Duration::from_millis(800);

/// auth-service, as this gateway speaks to it. Connects lazily and reconnects.
#[derive(Clone)]
pub(crate) struct AuthClient {
    client: Generated<Channel>,
    credential: MetadataValue<Ascii>,
}

impl AuthClient {
    pub(crate) fn new(url: &str, credential: &str) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(url.to_owned())?
            .connect_timeout(Duration::from_millis(500))
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(5));
        let mut credential: MetadataValue<Ascii> = format!("gateway {credential}").parse()?;
        credential.set_sensitive(true);
        Ok(Self { client: Generated::new(endpoint.connect_lazy()), credential })
    }

    /// One bounded call; the error is auth-service's own or "away".
    pub(crate) async fn call<Q, A>(
        &self,
        message: Q,
        method: impl AsyncFnOnce(
            &mut Generated<Channel>,
            tonic::Request<Q>,
        ) -> Result<tonic::Response<A>, tonic::Status>,
    ) -> Result<A, tonic::Status> {
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("x-hookmill-service", self.credential.clone());
        let mut client = self.client.clone();
        match tokio::time::timeout(CALL, method(&mut client, request)).await {
            Ok(answer) => answer.map(tonic::Response::into_inner),
            Err(_) => Err(tonic::Status::deadline_exceeded("auth-service did not answer in time")),
        }
    }
}

/// A refusal of auth-service as callers see it; away is never 401.
pub(crate) fn api_error(status: &tonic::Status) -> ApiError {
    match ErrorCode::from_grpc(status.code()) {
        ErrorCode::Unavailable => ApiError::unavailable("authentication", &status.message()),
        ErrorCode::Internal => {
            tracing::error!(grpc.message = status.message(), "auth-service failed");
            ApiError::new(ErrorCode::Internal, "authentication failed")
        }
        ErrorCode::Unauthenticated => super::credential::unauthenticated(status.message()),
        code => ApiError::new(code, status.message()),
    }
}
