//! Valkey's configuration and its users: what is written stays, and nobody but us gets in.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::PathBuf;

use super::credentials::Credentials;
use super::profile::Profile;

/// The users of our services.
pub const USERS: [&str; 2] = ["gateway", "worker"];

/// What [`USERS`] may do, and with which keys: data, scripts and what a client says of itself.
/// Nothing that administers the server, walks over all keys, or reaches other people's.
const RULES: &str = "resetchannels ~hm:* -@all +@read +@write +@scripting +@transaction +@connection \
     -@admin -@dangerous -keys -scan -randomkey -script|flush -script|kill -function \
     +info +time +waitaof +config|get";

/// What differs from one Valkey to the next.
#[derive(Clone, Debug)]
pub struct ValkeySettings {
    /// Where it listens.
    pub host: IpAddr,
    /// Its port.
    pub port: u16,
    /// The folder of its data.
    pub folder: PathBuf,
    /// The file with [`render_users`].
    pub users_file: PathBuf,
    /// When it writes through to the disk.
    pub profile: Profile,
}

/// The text of `valkey.conf`.
pub fn render(settings: &ValkeySettings) -> String {
    format!(
        "# rendered by hookmill; changes are overwritten\n\
         bind {host}\n\
         port {port}\n\
         daemonize no\n\
         set-proc-title no\n\
         logfile \"\"\n\
         dir {folder}\n\
         aclfile {users}\n\
         save \"\"\n\
         appendonly yes\n\
         appendfsync {fsync}\n\
         maxmemory-policy noeviction\n",
        host = settings.host,
        port = settings.port,
        folder = quoted(&settings.folder.to_string_lossy()),
        users = quoted(&settings.users_file.to_string_lossy()),
        fsync = settings.profile.appendfsync(),
    )
}

/// The text of the users' file; of the passwords it holds the SHA-256.
pub fn render_users(credentials: &Credentials) -> String {
    let mut text = String::from("user default off\n");
    for user in USERS {
        let hash = sha256_hex(credentials.valkey_password(user));
        // writing to a string cannot fail
        let _ = writeln!(text, "user {user} on #{hash} {RULES}");
    }
    text
}

fn sha256_hex(text: &str) -> String {
    proto::bearer::sha256(text.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_ascii_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_evicted_and_everything_written() {
        let settings = ValkeySettings {
            host: IpAddr::from([127, 0, 0, 1]),
            port: 6379,
            folder: PathBuf::from("/my data/valkey"),
            users_file: PathBuf::from("/my data/users.acl"),
            profile: Profile::Durable,
        };
        let text = render(&settings);
        for line in [
            "bind 127.0.0.1",
            "appendonly yes",
            "appendfsync always",
            "maxmemory-policy noeviction",
            "save \"\"",
            "dir \"/my data/valkey\"",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in {text}");
        }
        let relaxed = render(&ValkeySettings { profile: Profile::Relaxed, ..settings });
        assert!(relaxed.contains("\nappendfsync everysec\n"));
    }

    #[test]
    fn users_have_hashes_and_the_default_user_is_off() {
        let credentials = Credentials::generate().unwrap();
        let text = render_users(&credentials);
        assert!(text.starts_with("user default off\n"));
        assert_eq!(text.lines().count(), USERS.len() + 1, "one line each");
        for user in USERS {
            assert!(!text.contains(credentials.valkey_password(user)));
            assert!(text.contains(&format!("user {user} on #")));
        }
    }

    #[test]
    fn the_hash_is_sha_256() {
        // FIPS 180-2, appendix B.1
        assert_eq!(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
