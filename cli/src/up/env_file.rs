//! `.hookmill/env`: the three variables every client reads, in a form that `source` takes.

use std::io;
use std::path::Path;

use proto::WorkspaceId;

use super::private_file;

/// The file's name inside the data folder.
pub const FILE: &str = "env";

/// Where and as whom a client calls.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientEnv {
    /// `http://host:port`, without a slash at the end.
    pub base_url: String,
    /// The token.
    pub token: String,
    /// The workspace's id.
    pub workspace: String,
}

impl std::fmt::Debug for ClientEnv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClientEnv({}, {})", self.base_url, self.workspace)
    }
}

impl ClientEnv {
    /// The text of the file.
    pub fn render(&self) -> String {
        let lines = [
            ("BASE_INTERNAL_URL", &self.base_url),
            ("WM_TOKEN", &self.token),
            ("WM_WORKSPACE", &self.workspace),
        ];
        let lines = lines.map(|(name, value)| format!("export {name}={}\n", quoted(value)));
        lines.concat()
    }

    /// Writes the file, mode 0600.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        private_file::write(&folder.join(FILE), &self.render())
    }
}

/// The token of the folder's file, if there is a file and a token in it.
pub fn read_token(folder: &Path) -> Option<String> {
    let token = read(folder, "WM_TOKEN")?;
    proto::Bearer::parse(&token).map(|bearer| bearer.expose().to_owned())
}

/// The workspace of the folder's file, if there is a file and a workspace in it.
pub fn read_workspace(folder: &Path) -> Option<WorkspaceId> {
    read(folder, "WM_WORKSPACE")?.parse().ok()
}

/// A value without quotes in it, as ours are.
fn read(folder: &Path, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(folder.join(FILE)).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(&format!("export {name}=")))?;
    Some(value.strip_prefix('\'')?.strip_suffix('\'')?.to_owned())
}

/// One word of a POSIX shell, whatever stands in it.
pub(super) fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn env(token: &str) -> ClientEnv {
        let (base_url, workspace) = ("http://127.0.0.1:8000".into(), "main".into());
        ClientEnv { base_url, token: token.into(), workspace }
    }

    #[test]
    fn shells_read_back_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        for token in ["plain", "it's $HOME `id` \"x\" \\ ; # !", ""] {
            env(token).write(dir.path()).unwrap();
            for shell in ["sh", "bash"] {
                let script =
                    ". ./env; printf '%s|%s|%s' \"$BASE_INTERNAL_URL\" \"$WM_TOKEN\" \"$WM_WORKSPACE\"";
                let out = Command::new(shell).args(["-c", script]).current_dir(dir.path()).output().unwrap();
                let expected = format!("http://127.0.0.1:8000|{token}|main");
                assert_eq!(String::from_utf8(out.stdout).unwrap(), expected, "{shell}");
            }
        }
    }

    #[test]
    fn the_token_is_found_again_and_a_damaged_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_token(dir.path()), None);
        let token = proto::Bearer::generate().unwrap();
        env(token.expose()).write(dir.path()).unwrap();
        assert_eq!(read_token(dir.path()).as_deref(), Some(token.expose()));
        assert_eq!(read_workspace(dir.path()).unwrap().as_str(), "main");
        env("hkm_cut").write(dir.path()).unwrap();
        assert_eq!(read_token(dir.path()), None);
    }
}
