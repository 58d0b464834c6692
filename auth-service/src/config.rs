//! The configuration.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use lifecycle::{FromValues, Secret, Values};

use crate::signing::Signer;

/// The shortest service credential, in characters.
const MIN_CREDENTIAL_CHARS: usize = 32;

/// What auth-service is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to serve gRPC on.
    pub listen: SocketAddr,
    /// Where NATS is; several addresses separated by commas.
    pub nats_url: String,
    /// The NATS user, `auth-service` in every installation of ours.
    pub nats_user: String,
    /// Its password.
    pub nats_password: Secret<String>,
    /// What gateways prove themselves with.
    pub gateway_credential: Secret<String>,
    /// What workers prove themselves with.
    pub worker_credential: Secret<String>,
    /// The key that signs grants and job tokens: base64 of 32 random bytes or more.
    pub signing_key: Secret<String>,
    /// The least and the longest time that a workspace may keep its ended runs.
    pub retention: RangeInclusive<Duration>,
}

impl FromValues for Config {
    fn from_values(v: &mut Values) -> Self {
        let config = Self {
            listen: v.or("listen", "127.0.0.1:0", "address to serve gRPC on"),
            nats_url: v.or("nats-url", "nats://127.0.0.1:4222", "NATS servers, separated by commas"),
            nats_user: v.or("nats-user", broker::permissions::AUTH_SERVICE, "NATS user"),
            nats_password: v.secret("nats-password", "password of the NATS user"),
            gateway_credential: v
                .secret("gateway-credential", "what gateways prove themselves with, 32 characters or more"),
            worker_credential: v
                .secret("worker-credential", "what workers prove themselves with, 32 characters or more"),
            signing_key: v
                .secret("signing-key", "signs grants and job tokens: base64 of 32 random bytes or more"),
            retention: v.duration(
                "retention-min",
                "1h",
                "least time that a workspace may keep its ended runs",
            )
                ..=v.duration(
                    "retention-max",
                    "720h",
                    "longest time that a workspace may keep its ended runs",
                ),
        };
        config.check(v);
        config
    }
}

impl Config {
    fn check(&self, v: &mut Values) {
        let long = |secret: &Secret<String>| secret.expose().chars().count() >= MIN_CREDENTIAL_CHARS;
        v.check(long(&self.gateway_credential), "gateway-credential is shorter than 32 characters");
        v.check(long(&self.worker_credential), "worker-credential is shorter than 32 characters");
        let distinct = self.gateway_credential.expose() != self.worker_credential.expose();
        v.check(distinct, "gateway-credential and worker-credential are the same");
        v.check(self.retention.start() >= &Duration::from_secs(1), "retention-min is less than 1s");
        v.check(!self.retention.is_empty(), "retention-min is longer than retention-max");
        if let Err(invalid) = Signer::from_base64(self.signing_key.expose()) {
            v.check(false, &invalid.to_string());
        }
    }
}
