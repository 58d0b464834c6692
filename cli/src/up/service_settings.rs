//! What each service is started with: the addresses of the others and its own secrets, and no one
//! else's. One list serves `up`, services as processes of their own, and the files of a container.

use broker::permissions::{AUTH_SERVICE, GATEWAY, PROVISION, WORKER};

use super::credentials::Credentials;

/// Where the servers and auth-service are.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// `nats://host:port`.
    pub nats_url: String,
    /// `host:port`.
    pub valkey: String,
    /// `http://host:port`.
    pub auth_url: String,
}

/// One value of one service's configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key, such as `nats-url`.
    pub key: &'static str,
    /// The value.
    pub value: String,
    /// Whether it must not be seen.
    pub secret: bool,
}

/// The settings of `auth-service`, `gateway`, `worker` or `provision`; none of any other.
pub fn settings(service: &str, credentials: &Credentials, addresses: &Addresses) -> Vec<Setting> {
    let nats =
        [plain("nats-url", &addresses.nats_url), secret("nats-password", credentials.nats_password(service))];
    let own = match service {
        PROVISION => Vec::new(),
        AUTH_SERVICE => vec![
            secret("gateway-credential", credentials.service_credential(GATEWAY)),
            secret("worker-credential", credentials.service_credential(WORKER)),
            secret("signing-key", credentials.signing_key()),
        ],
        GATEWAY | WORKER => vec![
            secret("redis-url", &redis_url(service, credentials, addresses)),
            plain("auth-url", &addresses.auth_url),
            secret("auth-credential", credentials.service_credential(service)),
        ],
        _ => return Vec::new(),
    };
    nats.into_iter().chain(own).collect()
}

/// The same as environment variables: `HOOKMILL_GATEWAY_NATS_URL=…`.
pub fn environment(service: &str, settings: &[Setting]) -> Vec<(String, String)> {
    settings.iter().map(|setting| (variable(service, setting.key), setting.value.clone())).collect()
}

/// The environment variable of a service's key.
pub fn variable(service: &str, key: &str) -> String {
    format!("HOOKMILL_{service}_{key}").replace('-', "_").to_ascii_uppercase()
}

/// Generated passwords need no escaping in an address.
fn redis_url(service: &str, credentials: &Credentials, addresses: &Addresses) -> String {
    format!("redis://{service}:{}@{}/0", credentials.valkey_password(service), addresses.valkey)
}

fn plain(key: &'static str, value: &str) -> Setting {
    Setting { key, value: value.to_owned(), secret: false }
}

fn secret(key: &'static str, value: &str) -> Setting {
    Setting { key, value: value.to_owned(), secret: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Addresses {
        let (nats_url, auth_url) = ("nats://127.0.0.1:4222".into(), "http://127.0.0.1:9090".into());
        Addresses { nats_url, valkey: "127.0.0.1:6379".into(), auth_url }
    }

    #[test]
    fn nobody_holds_the_secrets_of_another() {
        let credentials = Credentials::generate().unwrap();
        for service in [PROVISION, AUTH_SERVICE, GATEWAY, WORKER] {
            let all = settings(service, &credentials, &addresses());
            assert!(all.iter().all(|setting| !setting.value.is_empty()), "{service}");
            let holds = |secret: &str| all.iter().any(|setting| setting.value.contains(secret));
            assert_eq!(holds(credentials.signing_key()), service == AUTH_SERVICE, "{service}");
            for other in [PROVISION, AUTH_SERVICE, GATEWAY, WORKER] {
                assert_eq!(holds(credentials.nats_password(other)), service == other, "{service} {other}");
            }
        }
        assert!(settings("stranger", &credentials, &addresses()).is_empty());
    }

    #[test]
    fn variables_are_named_as_services_read_them() {
        let credentials = Credentials::generate().unwrap();
        let env = environment(AUTH_SERVICE, &settings(AUTH_SERVICE, &credentials, &addresses()));
        let found = env.iter().find(|(name, _)| name == "HOOKMILL_AUTH_SERVICE_NATS_URL").unwrap();
        assert_eq!(found.1, "nats://127.0.0.1:4222");
    }
}
