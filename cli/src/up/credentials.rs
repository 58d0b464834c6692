//! What our processes prove to each other who they are with: made on the first start, kept in one file.
//! No value has a default that could be published.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};

use super::private_file;
use super::valkey;

/// The file's name inside the data folder.
pub const FILE: &str = "credentials.json";

/// The format of the file; a newer one is refused.
const VERSION: u32 = 1;

/// Every secret of one installation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    #[serde(rename = "v")]
    version: u32,
    /// Passwords of the NATS users, by name.
    nats: BTreeMap<String, String>,
    /// Passwords of the Valkey users, by name.
    valkey: BTreeMap<String, String>,
    /// What the services show auth-service, by service.
    service: BTreeMap<String, String>,
    /// The seed of the key that signs grants and job tokens: 32 bytes, base64.
    signing_key: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness")]
    Random,
    /// The file cannot be read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file is not of its form. It is never replaced: the data needs these very secrets.
    #[error("{} is damaged: {why}; restore it, or start with an empty data folder", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl Credentials {
    /// New ones for every user and service.
    ///
    /// # Errors
    /// The operating system gave no randomness.
    pub fn generate() -> Result<Self, CredentialsError> {
        let empty = BTreeMap::new;
        let signing_key = STANDARD.encode(random()?);
        let mut new =
            Self { version: VERSION, nats: empty(), valkey: empty(), service: empty(), signing_key };
        new.complete()?;
        Ok(new)
    }

    /// Those of the data folder of an installation that is there.
    ///
    /// # Errors
    /// The file is not there, or cannot be understood.
    pub fn load(folder: &Path) -> Result<Self, CredentialsError> {
        let path = folder.join(FILE);
        let text = std::fs::read_to_string(&path);
        parse(&path, &text.map_err(|source| CredentialsError::Io { path: path.clone(), source })?)
    }

    /// Those of the data folder; made and written if there are none, completed if a newer
    /// program knows more users.
    ///
    /// # Errors
    /// The file cannot be read, written or understood.
    pub fn load_or_generate(folder: &Path) -> Result<Self, CredentialsError> {
        let path = folder.join(FILE);
        let io = |source| CredentialsError::Io { path: path.clone(), source };
        let (mut credentials, new) = match std::fs::read_to_string(&path) {
            Ok(text) => (parse(&path, &text)?, false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Self::generate()?, true),
            Err(error) => return Err(io(error)),
        };
        if credentials.complete()? || new {
            let text = serde_json::to_string_pretty(&credentials).map_err(io::Error::from).map_err(io)?;
            private_file::write(&path, &(text + "\n")).map_err(io)?;
        }
        private_file::close(&path).map_err(io)?;
        Ok(credentials)
    }

    /// The password of a user of [`broker::permissions::users`], or the empty text for none of them.
    pub fn nats_password(&self, user: &str) -> &str {
        self.nats.get(user).map_or("", String::as_str)
    }

    /// The password of one of [`valkey::USERS`], or the empty text for none of them.
    pub fn valkey_password(&self, user: &str) -> &str {
        self.valkey.get(user).map_or("", String::as_str)
    }

    /// What `gateway` or `worker` shows auth-service, or the empty text for none of them.
    pub fn service_credential(&self, service: &str) -> &str {
        self.service.get(service).map_or("", String::as_str)
    }

    /// What auth-service signs with: 32 random bytes in base64.
    pub fn signing_key(&self) -> &str {
        &self.signing_key
    }

    /// Adds what is missing; whether anything was.
    fn complete(&mut self) -> Result<bool, CredentialsError> {
        let mut added = false;
        let users = broker::permissions::users();
        added |= fill(&mut self.nats, users.iter().map(|user| user.name))?;
        added |= fill(&mut self.valkey, valkey::USERS.into_iter())?;
        added |= fill(&mut self.service, ["gateway", "worker"].into_iter())?;
        Ok(added)
    }
}

fn fill(
    map: &mut BTreeMap<String, String>,
    names: impl Iterator<Item = &'static str>,
) -> Result<bool, CredentialsError> {
    let mut added = false;
    for name in names {
        if !map.contains_key(name) {
            map.insert(name.to_owned(), URL_SAFE_NO_PAD.encode(random()?));
            added = true;
        }
    }
    Ok(added)
}

fn random() -> Result<[u8; 32], CredentialsError> {
    let mut bytes = [0; 32];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| CredentialsError::Random)?;
    Ok(bytes)
}

fn parse(path: &Path, text: &str) -> Result<Credentials, CredentialsError> {
    let damaged = |why: String| CredentialsError::Damaged { path: path.to_owned(), why };
    // the parser's message would quote what it stumbled over, which may be a secret
    let read: Credentials = serde_json::from_str(text)
        .map_err(|error| damaged(format!("line {}, column {}", error.line(), error.column())))?;
    if read.version > VERSION {
        return Err(damaged(format!("version {} is newer than this program", read.version)));
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn made_once_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let first = Credentials::load_or_generate(dir.path()).unwrap();
        let again = Credentials::load_or_generate(dir.path()).unwrap();
        assert!(first == again);
        let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn every_user_has_a_password_of_its_own() {
        let all = Credentials::generate().unwrap();
        let nats = broker::permissions::users();
        let mut seen: Vec<&str> = nats.iter().map(|user| all.nats_password(user.name)).collect();
        seen.extend(valkey::USERS.map(|user| all.valkey_password(user)));
        seen.extend(["gateway", "worker"].map(|service| all.service_credential(service)));
        assert!(seen.iter().all(|secret| secret.len() == 43), "32 random bytes each");
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
        assert_eq!(all.nats_password("nobody"), "");
        assert_eq!(STANDARD.decode(all.signing_key()).unwrap().len(), 32);
    }

    #[test]
    fn a_user_that_is_new_in_this_version_is_added() {
        let dir = tempfile::tempdir().unwrap();
        let mut old = Credentials::generate().unwrap();
        old.nats.remove("gateway");
        std::fs::write(dir.path().join(FILE), serde_json::to_string(&old).unwrap()).unwrap();
        let now = Credentials::load_or_generate(dir.path()).unwrap();
        assert_eq!(now.nats_password("gateway").len(), 43);
        assert_eq!(now.nats_password("worker"), old.nats_password("worker"));
        assert!(Credentials::load_or_generate(dir.path()).unwrap() == now, "it was written");
    }

    #[test]
    fn a_damaged_file_is_kept_and_not_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        for text in ["", "{", "[\"s3cret\"]", "{\"v\":1,\"nats\":\"s3cret\"}"] {
            std::fs::write(&path, text).unwrap();
            let error = Credentials::load_or_generate(dir.path()).unwrap_err();
            assert!(matches!(error, CredentialsError::Damaged { .. }), "{error}");
            assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        let mut newer = Credentials::generate().unwrap();
        newer.version = VERSION + 1;
        std::fs::write(&path, serde_json::to_string(&newer).unwrap()).unwrap();
        assert!(Credentials::load_or_generate(dir.path()).unwrap_err().to_string().contains("newer"));
    }

    #[test]
    fn debug_shows_nothing() {
        let all = Credentials::generate().unwrap();
        assert_eq!(format!("{all:?}"), "Credentials(***)");
    }
}
