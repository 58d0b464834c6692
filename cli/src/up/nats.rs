//! nats-server's configuration: JetStream on disk, and the users with nothing but their subjects.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::PathBuf;

use broker::permissions::{ServiceUser, users};

use super::credentials::Credentials;
use super::profile::Profile;

/// The largest message in bytes: an envelope's arguments end at 256 KiB, a catalog value's body at 64 KiB.
const MAX_PAYLOAD: usize = 2 * 1024 * 1024;

/// What differs from one nats-server to the next.
#[derive(Clone, Debug)]
pub struct NatsSettings {
    /// Its name; stable, since streams remember who holds them.
    pub server_name: String,
    /// Where it listens.
    pub host: IpAddr,
    /// The port for clients.
    pub port: u16,
    /// The port of its own counters, which asks for no password; none by default.
    pub monitor_port: Option<u16>,
    /// The folder of its streams.
    pub store: PathBuf,
    /// When it writes through to the disk.
    pub profile: Profile,
}

/// The text of `nats.conf`. It holds passwords.
pub fn render(settings: &NatsSettings, credentials: &Credentials) -> String {
    let monitor = settings.monitor_port.map_or(String::new(), |port| {
        format!("http: {}\n", quoted(&format!("{}:{port}", bracketed(settings.host))))
    });
    let users: String = users().iter().map(|user| one_user(user, credentials)).collect();
    format!(
        "# rendered by hookmill; changes are overwritten\n\
         server_name: {name}\n\
         host: {host}\n\
         port: {port}\n\
         {monitor}\
         max_payload: {MAX_PAYLOAD}\n\
         jetstream {{\n  store_dir: {store}\n  sync_interval: {sync}\n}}\n\
         authorization {{\n  users = [\n{users}  ]\n}}\n",
        name = quoted(&settings.server_name),
        host = quoted(&settings.host.to_string()),
        port = settings.port,
        store = quoted(&settings.store.to_string_lossy()),
        sync = settings.profile.nats_sync_interval(),
    )
}

/// The port of a text that [`render`] made.
pub(crate) fn port_of(config: &str) -> Option<u16> {
    config.lines().find_map(|line| line.strip_prefix("port: ")?.parse().ok())
}

fn one_user(user: &ServiceUser, credentials: &Credentials) -> String {
    format!(
        "    {{ user: {name}, password: {password}, permissions: {{\n      publish: {{ allow: {publish} }}\n      subscribe: {{ allow: {subscribe} }}\n    }} }}\n",
        name = quoted(user.name),
        password = quoted(credentials.nats_password(user.name)),
        publish = list(&user.publish),
        subscribe = list(&user.subscribe),
    )
}

fn list(subjects: &[String]) -> String {
    let quoted: Vec<String> = subjects.iter().map(|subject| quoted(subject)).collect();
    format!("[{}]", quoted.join(", "))
}

/// A string of the configuration's language. What is not printable ASCII goes as its bytes, but for
/// the rest of UTF-8, which stands as it is.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_ascii_control() => {
                // writing to a string cannot fail
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn bracketed(host: IpAddr) -> String {
    match host {
        IpAddr::V4(host) => host.to_string(),
        IpAddr::V6(host) => format!("[{host}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> NatsSettings {
        NatsSettings {
            server_name: "hookmill".into(),
            host: IpAddr::from([127, 0, 0, 1]),
            port: 4222,
            monitor_port: None,
            store: PathBuf::from("/data with \"quotes\"/nats"),
            profile: Profile::Durable,
        }
    }

    #[test]
    fn it_says_where_and_how_data_is_kept() {
        let text = render(&settings(), &Credentials::generate().unwrap());
        assert!(text.contains("sync_interval: always\n"), "{text}");
        assert!(text.contains("store_dir: \"/data with \\\"quotes\\\"/nats\"\n"), "{text}");
        assert!(text.contains("host: \"127.0.0.1\"\nport: 4222\n"), "{text}");
        assert!(!text.contains("http:"), "{text}");
        assert_eq!(port_of(&text), Some(4222));
        let relaxed = NatsSettings { profile: Profile::Relaxed, monitor_port: Some(8222), ..settings() };
        let text = render(&relaxed, &Credentials::generate().unwrap());
        assert!(text.contains("sync_interval: 2m\n"), "{text}");
        assert!(text.contains("http: \"127.0.0.1:8222\"\n"), "{text}");
    }

    #[test]
    fn every_user_stands_with_its_password_and_subjects() {
        let credentials = Credentials::generate().unwrap();
        let text = render(&settings(), &credentials);
        for user in users() {
            assert!(text.contains(&format!("user: \"{}\"", user.name)));
            assert!(text.contains(credentials.nats_password(user.name)));
            for subject in user.publish.iter().chain(&user.subscribe) {
                assert!(text.contains(&format!("\"{subject}\"")), "{subject}");
            }
        }
        assert_eq!(text.matches("allow: ").count(), users().len() * 2, "no list is left open");
    }

    #[test]
    fn strings_cannot_leave_their_quotes() {
        assert_eq!(quoted("a\"}\\\n\u{1}é"), "\"a\\\"}\\\\\\n\\x01é\"");
    }
}
