//! An installation with one admin, and as many auth-services as a test wants.

use std::time::Duration;

use auth_service::{Config, FirstAdmin, SERVICE_METADATA, bootstrap, run_on};
use base64::Engine;
use catalog::{Account, Batch, Catalog, Expect, Key, Token, User, Workspace, kinds, now_ms};
use lifecycle::{Process, Secret};
use proto::auth::auth_client::AuthClient;
use proto::auth::credential::Kind;
use proto::auth::{
    CreateTokenRequest, Credential, EditRetentionRequest, EditSandboxRequest, IdentifyReply, IdentifyRequest,
    IssueJobTokenRequest, ListTokensRequest, RevokeTokenRequest, SignedGrant, TokenInfo,
};
use proto::{Bearer, TokenId, WorkspaceId};
use ring::hmac;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::nats::{BOUND, Nats};

pub(crate) const GATEWAY: &str = "gateway gateway-credential-of-thirty-two-characters";
pub(crate) const WORKER: &str = "worker worker-credential-of-thirty-two-characters";
pub(crate) const ADMIN: &str = "admin@example.com";

pub(crate) struct World {
    pub(crate) nats: Nats,
    pub(crate) catalog: Catalog,
    pub(crate) admin: Bearer,
    pub(crate) service: Service,
}

/// One running auth-service.
pub(crate) struct Service {
    pub(crate) process: Process,
    pub(crate) channel: Channel,
}

pub(crate) fn demo() -> WorkspaceId {
    "demo".parse().unwrap()
}

pub(crate) fn first_admin() -> FirstAdmin {
    FirstAdmin { email: ADMIN.into(), workspace: demo(), workspace_name: "Demo".into() }
}

pub(crate) async fn open(nats: &Nats) -> Catalog {
    let catalog = Catalog::open(nats.broker("auth-service").await, kinds::AUTH_SERVICE);
    tokio::time::timeout(BOUND, catalog.ready()).await.unwrap();
    catalog
}

/// Waits until a catalog satisfies `wanted`, looking again whenever it changed.
pub(crate) async fn until(catalog: &Catalog, wanted: impl Fn(&Catalog) -> bool) {
    let mut changes = catalog.changes();
    let shown = changes.wait_for(|_| wanted(catalog));
    tokio::time::timeout(BOUND, shown).await.expect("the watch brings it in time").unwrap();
}

impl World {
    pub(crate) async fn new() -> Self {
        let nats = Nats::provisioned().await;
        let catalog = open(&nats).await;
        let admin = bootstrap(&catalog, &first_admin()).await.unwrap().unwrap();
        let service = Service::start(&nats).await;
        Self { nats, catalog, admin, service }
    }

    /// Writes an account, a user of `demo` and a full token; `change` may spoil any.
    pub(crate) async fn person(
        &self,
        name: &str,
        change: impl FnOnce(&mut Account, &mut User, &mut Token),
    ) -> Bearer {
        let email = format!("{name}@example.com");
        let bearer = Bearer::generate().unwrap();
        let (mut account, mut user, mut token) =
            (account(&email), user(name, &email), token(&bearer, &email));
        change(&mut account, &mut user, &mut token);
        let mut batch = Batch::new();
        batch.put(account.key(), &account, Expect::Any).unwrap();
        batch.put(user.key(), &user, Expect::Any).unwrap();
        batch.put(Key::token(&bearer.sha256()), &token, Expect::Absent).unwrap();
        self.catalog.commit(&batch).await.unwrap();
        // emails are found by the service's own watch
        self.service.knows(&email).await;
        bearer
    }

    pub(crate) async fn workspace(&self, id: &str, archived: bool) {
        let workspace = Workspace {
            id: id.parse().unwrap(),
            name: id.into(),
            owner: ADMIN.into(),
            archived,
            created_at_ms: 1,
            sandbox: None,
            retention_s: None,
        };
        let mut batch = Batch::new();
        batch.put(workspace.key(), &workspace, Expect::Absent).unwrap();
        self.catalog.commit(&batch).await.unwrap();
    }
}

fn account(email: &str) -> Account {
    Account {
        email: email.into(),
        super_admin: false,
        name: None,
        company: None,
        disabled: false,
        created_at_ms: 1,
    }
}

fn user(name: &str, email: &str) -> User {
    User {
        workspace: demo(),
        username: name.into(),
        email: email.into(),
        is_admin: false,
        operator: false,
        disabled: false,
        created_at_ms: 1,
    }
}

fn token(bearer: &Bearer, email: &str) -> Token {
    Token {
        token_id: TokenId::random(),
        prefix: bearer.handle().into(),
        email: email.into(),
        label: String::new(),
        scopes: Vec::new(),
        workspace: None,
        created_at_ms: now_ms(),
        expires_at_ms: None,
        read_only: false,
        last_used_at_ms: None,
        made_by_job: false,
    }
}

pub(crate) fn config(nats: &Nats) -> Config {
    let credential = |text: &str| Secret::new(text.split_once(' ').unwrap().1.to_owned());
    Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        nats_url: format!("nats://127.0.0.1:{}", nats.port()),
        nats_user: "auth-service".into(),
        nats_password: Secret::new("test-password".into()),
        gateway_credential: credential(GATEWAY),
        worker_credential: credential(WORKER),
        signing_key: Secret::new(base64::engine::general_purpose::STANDARD.encode([7; 32])),
        retention: Duration::from_secs(60)..=Duration::from_hours(48),
    }
}

impl Service {
    pub(crate) async fn start(nats: &Nats) -> Self {
        let service = Self::start_unready(nats).await;
        let ready = service.process.readiness.wait_ready();
        tokio::time::timeout(BOUND, ready).await.expect("ready in time");
        service
    }

    pub(crate) async fn start_unready(nats: &Nats) -> Self {
        let process = Process::for_tests();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let running = run_on(listener, config(nats), process.clone());
        process.spawn_essential("auth-service", running);
        let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
        let channel = endpoint.connect().await.unwrap();
        Self { process, channel }
    }

    fn client(&self) -> AuthClient<Channel> {
        AuthClient::new(self.channel.clone())
    }

    pub(crate) async fn identify(&self, credential: Credential) -> Result<IdentifyReply, Status> {
        let request = IdentifyRequest { credential: Some(credential) };
        self.client().identify(as_service(GATEWAY, request)).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn create(&self, request: CreateTokenRequest) -> Result<Bearer, Status> {
        let reply = self.client().create_token(as_service(GATEWAY, request)).await?.into_inner();
        let bearer = Bearer::parse(&reply.token).expect("a well-formed token");
        assert_eq!(reply.info.unwrap().prefix, bearer.handle());
        Ok(bearer)
    }

    pub(crate) async fn list(&self, caller: Credential) -> Result<Vec<TokenInfo>, Status> {
        let request = ListTokensRequest { caller: Some(caller) };
        Ok(self.client().list_tokens(as_service(GATEWAY, request)).await?.into_inner().tokens)
    }

    pub(crate) async fn revoke(&self, caller: Credential, prefix: &str) -> Result<(), Status> {
        let request = RevokeTokenRequest { caller: Some(caller), prefix: prefix.into() };
        self.client().revoke_token(as_service(GATEWAY, request)).await.map(drop)
    }

    /// Sets what `workspace` asks of its scripts' sandboxes, as JSON.
    pub(crate) async fn edit(
        &self,
        caller: Credential,
        workspace: &str,
        sandbox: &str,
    ) -> Result<(), Status> {
        let (workspace, sandbox) = (workspace.to_owned(), sandbox.to_owned());
        let request = EditSandboxRequest { caller: Some(caller), workspace, sandbox };
        self.client().edit_sandbox(as_service(GATEWAY, request)).await.map(drop)
    }

    pub(crate) async fn edit_retention(
        &self,
        caller: Credential,
        workspace: &str,
        retention_s: u64,
    ) -> Result<(), Status> {
        let request =
            EditRetentionRequest { caller: Some(caller), workspace: workspace.to_owned(), retention_s };
        self.client().edit_retention(as_service(GATEWAY, request)).await.map(drop)
    }

    /// How long a worker is told that `demo` keeps the job of this grant, in seconds.
    pub(crate) async fn told_retention(&self, grant: &SignedGrant) -> u64 {
        let request = as_service(WORKER, job(grant.clone()));
        self.client().issue_job_token(request).await.unwrap().into_inner().retention_s
    }

    /// What a worker is told that `demo` asks of the sandbox of the job of this grant.
    pub(crate) async fn told(&self, grant: &SignedGrant) -> String {
        let request = as_service(WORKER, job(grant.clone()));
        self.client().issue_job_token(request).await.unwrap().into_inner().sandbox
    }

    pub(crate) async fn issue(&self, request: IssueJobTokenRequest) -> Result<(String, i64), Status> {
        let reply = self.client().issue_job_token(as_service(WORKER, request)).await?.into_inner();
        Ok((reply.token, reply.expires_at_ms))
    }

    pub(crate) async fn grant(&self, bearer: &Bearer) -> SignedGrant {
        self.identify(opaque(bearer)).await.unwrap().grant.unwrap()
    }

    /// A job token of `f/demo/x` in `demo` for whoever has this token.
    pub(crate) async fn job_token(&self, bearer: &Bearer) -> String {
        self.issue(job(self.grant(bearer).await)).await.unwrap().0
    }

    /// Waits until the service's watch has brought an account's user.
    async fn knows(&self, email: &str) {
        let known = async {
            while !self.sees_user(email).await {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(BOUND, known).await.expect("the watch brings it in time");
    }

    /// Only a signed grant asks for the user; the answer tells member and stranger apart.
    async fn sees_user(&self, email: &str) -> bool {
        let grant = proto::auth::Grant { schema_version: 1, email: email.into(), ..Default::default() };
        let issued = self.issue(job(sign(&grant))).await;
        issued.map_or_else(|status| !status.message().contains("no member"), |_| true)
    }
}

/// What the service's own key makes of a grant.
pub(crate) fn sign(grant: &proto::auth::Grant) -> SignedGrant {
    let hmac =
        |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec();
    let grant = prost::Message::encode_to_vec(grant);
    let signature = hmac(&hmac(&[7; 32], b"hookmill grant 1"), &grant);
    SignedGrant { grant, signature }
}

pub(crate) fn job(grant: SignedGrant) -> IssueJobTokenRequest {
    IssueJobTokenRequest {
        grant: Some(grant),
        workspace: "demo".into(),
        job_id: "0197c1f0-0000-7000-8000-000000000001".into(),
        attempt: 2,
        script_path: "f/demo/x".into(),
        timeout_ms: 30_000,
    }
}

pub(crate) fn as_service<T>(credential: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(SERVICE_METADATA, credential.parse().unwrap());
    request
}

pub(crate) fn opaque(bearer: &Bearer) -> Credential {
    Credential { kind: Some(Kind::TokenSha256(bearer.sha256().to_vec())) }
}

pub(crate) fn job_credential(token: &str) -> Credential {
    Credential { kind: Some(Kind::JobToken(token.to_owned())) }
}

/// A wish for a plain token.
pub(crate) fn wish(caller: Credential) -> CreateTokenRequest {
    CreateTokenRequest {
        caller: Some(caller),
        label: "made".into(),
        expires_at_ms: 0,
        scopes: Vec::new(),
        workspace: String::new(),
        read_only: false,
    }
}

#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(outcome: Result<T, Status>, code: Code, part: &str) {
    let status = outcome.unwrap_err();
    assert_eq!(status.code(), code, "{status}");
    assert!(status.message().contains(part), "{:?} has {part:?}", status.message());
}
