//! The outermost layer: no call reaches a method without the credential of a service
//! that may call it, and nothing of a call is decoded before.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response};
use proto::bearer::sha256;
use subtle::ConstantTimeEq;
use tonic::Status;
use tower::{Layer, Service};

use crate::Config;
use crate::roles::{Method, Role};

/// The metadata key of the caller's service credential, `<service> <credential>`.
pub const SERVICE_METADATA: &str = "x-hookmill-service";

/// The known services, by the SHA-256 of their credentials.
#[derive(Clone)]
pub(crate) struct Guard {
    services: Arc<[(&'static str, Role, [u8; 32])]>,
}

/// A service behind the [`Guard`].
#[derive(Clone)]
pub(crate) struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl Guard {
    pub(crate) fn new(config: &Config) -> Self {
        let digest = |secret: &lifecycle::Secret<String>| sha256(secret.expose().as_bytes());
        let services = [
            ("gateway", Role::Gateway, digest(&config.gateway_credential)),
            ("worker", Role::Worker, digest(&config.worker_credential)),
        ];
        Self { services: Arc::new(services) }
    }

    fn check(&self, headers: &HeaderMap, path: &str) -> Result<(), Status> {
        let role =
            self.role(headers).ok_or_else(|| Status::unauthenticated("no known service credential"))?;
        match Method::of_path(path) {
            Some(method) if role.may(method) => Ok(()),
            Some(_) | None => Err(Status::permission_denied("this service may not call this method")),
        }
    }

    /// The caller's role. Two values of the key are as none: which one counts is a guess.
    fn role(&self, headers: &HeaderMap) -> Option<Role> {
        let mut values = headers.get_all(SERVICE_METADATA).iter();
        let (value, more) = (values.next()?, values.next());
        let (name, credential) = value.to_str().ok()?.split_once(' ')?;
        let digest = sha256(credential.as_bytes());
        let known = self.services.iter().find(|(service, _, _)| *service == name)?;
        let right = bool::from(known.2.ct_eq(&digest));
        (right && more.is_none()).then_some(known.1)
    }
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { guard: self.clone(), inner }
    }
}

impl<S, B, R> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.guard.check(request.headers(), request.uri().path()) {
            Ok(()) => Box::pin(self.inner.call(request)),
            Err(status) => Box::pin(async move { Ok(status.into_http()) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        let services = [("gateway", Role::Gateway, sha256(b"G")), ("worker", Role::Worker, sha256(b"W"))];
        Guard { services: Arc::new(services) }
    }

    fn outcome(credentials: &[&str], method: &str) -> tonic::Code {
        let mut headers = HeaderMap::new();
        for credential in credentials {
            headers.append(SERVICE_METADATA, credential.parse().unwrap());
        }
        let checked = guard().check(&headers, method);
        checked.map_or_else(|status| status.code(), |()| tonic::Code::Ok)
    }

    #[test]
    fn every_method_and_every_credential() {
        use tonic::Code::{Ok, PermissionDenied, Unauthenticated};
        let methods = [
            "Identify",
            "CreateToken",
            "ListTokens",
            "RevokeToken",
            "EditSandbox",
            "EditRetention",
            "IssueJobToken",
            "Invented",
            "",
        ];
        let rows: &[(&[&str], [tonic::Code; 9])] = &[
            (&["gateway G"], [Ok, Ok, Ok, Ok, Ok, Ok, PermissionDenied, PermissionDenied, PermissionDenied]),
            (
                &["worker W"],
                [
                    PermissionDenied,
                    PermissionDenied,
                    PermissionDenied,
                    PermissionDenied,
                    PermissionDenied,
                    PermissionDenied,
                    Ok,
                    PermissionDenied,
                    PermissionDenied,
                ],
            ),
            (&[], [Unauthenticated; 9]),
            (&[""], [Unauthenticated; 9]),
            (&["gateway"], [Unauthenticated; 9]),
            (&["gateway "], [Unauthenticated; 9]),
            (&["gateway W"], [Unauthenticated; 9]),
            (&["worker G"], [Unauthenticated; 9]),
            (&["gateway G "], [Unauthenticated; 9]),
            (&["gateway g"], [Unauthenticated; 9]),
            (&["Gateway G"], [Unauthenticated; 9]),
            (&["provision G"], [Unauthenticated; 9]),
            (&["gateway G", "gateway G"], [Unauthenticated; 9]),
        ];
        for (credentials, expected) in rows {
            for (method, expected) in methods.iter().zip(expected) {
                let path = format!("/hookmill.auth.v1.Auth/{method}");
                assert_eq!(outcome(credentials, &path), *expected, "{credentials:?} {method}");
            }
        }
        assert_eq!(outcome(&["gateway G"], "/other.Service/Identify"), PermissionDenied);
    }
}
