//! The gRPC service: each method is a line here and a function elsewhere.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use catalog::Catalog;
use proto::auth::auth_server::Auth;
use proto::auth::{
    CreateTokenReply, CreateTokenRequest, EditRetentionReply, EditRetentionRequest, EditSandboxReply,
    EditSandboxRequest, IdentifyReply, IdentifyRequest, IssueJobTokenReply, IssueJobTokenRequest,
    ListTokensReply, ListTokensRequest, RevokeTokenReply, RevokeTokenRequest,
};
use tonic::{Request, Response, Status};

use crate::grant;
use crate::last_used::LastUsed;
use crate::signing::Signer;

/// What every method needs.
pub(crate) struct AuthService {
    pub(crate) catalog: Catalog,
    pub(crate) signer: Arc<Signer>,
    pub(crate) last_used: LastUsed,
    pub(crate) retention: RangeInclusive<Duration>,
}

#[tonic::async_trait]
impl Auth for AuthService {
    async fn identify(&self, request: Request<IdentifyRequest>) -> Result<Response<IdentifyReply>, Status> {
        let caller = self.authenticate(request.into_inner().credential).await?;
        let grant = grant::sign(&self.signer, &caller.identity);
        Ok(Response::new(IdentifyReply { identity: Some(caller.identity), grant: Some(grant) }))
    }

    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<CreateTokenReply>, Status> {
        Ok(Response::new(self.create_token_for(request.into_inner()).await?))
    }

    async fn list_tokens(
        &self,
        request: Request<ListTokensRequest>,
    ) -> Result<Response<ListTokensReply>, Status> {
        let caller = self.authenticate(request.into_inner().caller).await?;
        let tokens = self.list_tokens_of(&caller)?;
        Ok(Response::new(ListTokensReply { tokens }))
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Result<Response<RevokeTokenReply>, Status> {
        let request = request.into_inner();
        let caller = self.authenticate(request.caller).await?;
        self.revoke_token_of(&caller, &request.prefix).await?;
        Ok(Response::new(RevokeTokenReply {}))
    }

    async fn edit_sandbox(
        &self,
        request: Request<EditSandboxRequest>,
    ) -> Result<Response<EditSandboxReply>, Status> {
        self.edit_sandbox_for(request.into_inner()).await?;
        Ok(Response::new(EditSandboxReply {}))
    }

    async fn edit_retention(
        &self,
        request: Request<EditRetentionRequest>,
    ) -> Result<Response<EditRetentionReply>, Status> {
        self.edit_retention_for(request.into_inner()).await?;
        Ok(Response::new(EditRetentionReply {}))
    }

    async fn issue_job_token(
        &self,
        request: Request<IssueJobTokenRequest>,
    ) -> Result<Response<IssueJobTokenReply>, Status> {
        Ok(Response::new(self.issue(request.into_inner()).await?))
    }
}
