//! Identities, cached: refreshed in the background while they are used, gone 30 s after
//! auth-service last vouched for them, and at once when their token is revoked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use job_queue::Grant;
use moka::future::Cache;
use proto::auth::credential::Kind;
use proto::auth::{Credential, IdentifyRequest, Identity};
use proto::bearer::{Bearer, JOB_TOKEN_PREFIX, sha256};
use proto::{Scopes, TokenId};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::client::{AuthClient, api_error};
use super::credential::{Presented, unauthenticated};
use crate::error::{ApiError, ApiResult};

/// How long an identity counts after auth-service vouched for it.
const LIVES: Duration = Duration::from_secs(30);
/// Older ones are asked for again, in the background, when they are used.
const REFRESH_AFTER: Duration = Duration::from_secs(10);
/// Identities kept.
const MOST: u64 = 50_000;
/// Unknown tokens that may be asked about at once.
const ASKING: usize = 64;

/// An identity auth-service vouched for.
pub(crate) struct Known {
    pub(crate) identity: Identity,
    pub(crate) token_id: TokenId,
    pub(crate) scopes: Scopes,
    pub(crate) grant: Grant,
    asked_at: Instant,
    refreshing: AtomicBool,
}

/// Turns tokens into identities. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Authenticator {
    client: AuthClient,
    known: Cache<[u8; 32], Arc<Known>>,
    asking: Arc<Semaphore>,
}

impl Authenticator {
    pub(crate) fn new(client: AuthClient) -> Self {
        let known = Cache::builder().max_capacity(MOST).time_to_live(LIVES).build();
        Self { client, known, asking: Arc::new(Semaphore::new(ASKING)) }
    }

    pub(crate) fn client(&self) -> &AuthClient {
        &self.client
    }

    /// Who presents this token.
    ///
    /// # Errors
    /// 401 for a token that is not good, 503 when auth-service cannot be asked.
    pub(crate) async fn identify(&self, presented: &Presented) -> ApiResult<Arc<Known>> {
        let credential = credential_of(&presented.token)?;
        let key = sha256(presented.token.as_bytes());
        if let Some(known) = self.known.get(&key).await {
            if known.asked_at.elapsed() > REFRESH_AFTER {
                self.refresh(key, credential, known.clone());
            }
            return Ok(known);
        }
        // concurrent misses of one token ask once
        let asked = self.known.try_get_with(key, self.ask_unknown(credential)).await;
        asked.map_err(|error: Arc<ApiError>| (*error).clone())
    }

    async fn ask_unknown(&self, credential: Credential) -> ApiResult<Arc<Known>> {
        let Ok(_place) = self.asking.try_acquire() else {
            return Err(ApiError::unavailable(
                "authentication",
                &format!("{ASKING} unknown tokens are being asked about"),
            ));
        };
        self.ask(credential).await.map_err(|status| api_error(&status))
    }

    async fn ask(&self, credential: Credential) -> Result<Arc<Known>, tonic::Status> {
        let request = IdentifyRequest { credential: Some(credential) };
        let asked_at = Instant::now();
        let reply = self.client.call(request, async |client, request| client.identify(request).await).await?;
        let malformed =
            |what: &str| tonic::Status::internal(format!("auth-service answered without a valid {what}"));
        let identity = reply.identity.ok_or_else(|| malformed("identity"))?;
        let token_id = identity.token_id.parse().map_err(|_| malformed("token id"))?;
        let scopes = Scopes::parse(&identity.scopes).map_err(|_| malformed("scope"))?;
        let grant = reply.grant.unwrap_or_default();
        let grant = Grant { grant: grant.grant.into(), signature: grant.signature.into() };
        Ok(Arc::new(Known {
            identity,
            token_id,
            scopes,
            grant,
            asked_at,
            refreshing: AtomicBool::new(false),
        }))
    }

    /// Asks again without making the caller wait; while auth-service is away the old
    /// answer counts until its 30 s are over.
    fn refresh(&self, key: [u8; 32], credential: Credential, old: Arc<Known>) {
        if old.refreshing.swap(true, Ordering::Relaxed) {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            match this.ask(credential).await {
                Ok(known) => this.known.insert(key, known).await,
                Err(status) if status.code() == tonic::Code::Unauthenticated => {
                    this.known.invalidate(&key).await;
                }
                Err(status) => {
                    tracing::debug!(grpc.code = ?status.code(), "an identity was not refreshed");
                    old.refreshing.store(false, Ordering::Relaxed);
                }
            }
        });
    }
}

/// What auth-service is asked about; tokens that cannot be ours are refused here.
pub(crate) fn credential_of(token: &str) -> ApiResult<Credential> {
    let kind = if token.starts_with(JOB_TOKEN_PREFIX) && token.len() <= 4096 {
        Kind::JobToken(token.to_owned())
    } else {
        let bearer = Bearer::parse(token).ok_or_else(|| unauthenticated("the token is not valid"))?;
        Kind::TokenSha256(bearer.sha256().to_vec())
    };
    Ok(Credential { kind: Some(kind) })
}
