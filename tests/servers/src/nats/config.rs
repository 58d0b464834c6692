//! The server's configuration, as JSON, which nats-server reads as well as its own format;
//! the users and their rights come from the table the services are held to.

use std::collections::HashMap;
use std::path::Path;

use broker::permissions;
use serde_json::{Value, json};

use super::NatsOptions;

/// Where the server listens; -1 before it chose.
#[derive(Clone, Copy)]
pub(super) struct Ports {
    pub(super) client: i32,
    pub(super) monitoring: i32,
}

impl Ports {
    /// Let the server choose.
    pub(super) const ANY: Self = Self { client: -1, monitoring: -1 };

    /// From the file the server writes; none while it is not there or not whole.
    pub(super) fn read(file: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(file).ok()?;
        let ports: Value = serde_json::from_str(&text).ok()?;
        Some(Self { client: port(&ports["nats"])?, monitoring: port(&ports["monitoring"])? })
    }
}

/// `["nats://127.0.0.1:4222"]`
fn port(urls: &Value) -> Option<i32> {
    urls.get(0)?.as_str()?.rsplit(':').next()?.parse().ok()
}

pub(super) fn render(
    folder: &Path,
    options: NatsOptions,
    passwords: &HashMap<&'static str, String>,
    ports: Ports,
) -> Value {
    let mut jetstream = json!({"store_dir": folder.join("jetstream")});
    if options.sync_always {
        jetstream["sync_interval"] = json!("always");
    }
    json!({
        "server_name": "test",
        "host": "127.0.0.1",
        "port": ports.client,
        "http": format!("127.0.0.1:{}", ports.monitoring),
        "ports_file_dir": folder,
        "jetstream": jetstream,
        "authorization": {"users": users(passwords)},
    })
}

fn users(passwords: &HashMap<&'static str, String>) -> Vec<Value> {
    let table = permissions::users().into_iter();
    let entry = |user: permissions::ServiceUser| {
        json!({
            "user": user.name,
            "password": passwords[user.name],
            "permissions": {"publish": {"allow": user.publish}, "subscribe": {"allow": user.subscribe}},
        })
    };
    table.map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_only_when_whole() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Ports::read(file.path()).is_none());
        std::fs::write(file.path(), r#"{"nats":["nats://127.0.0.1:4"#).unwrap();
        assert!(Ports::read(file.path()).is_none());
        std::fs::write(
            file.path(),
            r#"{"nats":["nats://127.0.0.1:42"],"monitoring":["http://127.0.0.1:43"]}"#,
        )
        .unwrap();
        let ports = Ports::read(file.path()).unwrap();
        assert_eq!((ports.client, ports.monitoring), (42, 43));
    }
}
