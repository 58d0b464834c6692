//! What the tests share: this program as the supervisors' program, and a data folder with credentials.

use std::path::{Path, PathBuf};

use hookmill::up::credentials::Credentials;
use hookmill::up::profile::Profile;
use hookmill::up::server::Ingredients;
use lifecycle::supervisor::Host;

/// The program under test.
pub(crate) const HOOKMILL: &str = env!("CARGO_BIN_EXE_hookmill");

pub(crate) fn host() -> Host {
    Host::with_program(PathBuf::from(HOOKMILL)).unwrap()
}

/// A data folder that goes away at the test's end.
pub(crate) struct Data {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) credentials: Credentials,
}

impl Data {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let credentials = Credentials::load_or_generate(dir.path()).unwrap();
        Self { dir, credentials }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn ingredients(&self) -> Ingredients<'_> {
        Ingredients { folder: self.path(), credentials: &self.credentials, profile: Profile::Relaxed }
    }
}

pub(crate) fn is_alive(pid: i32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // a zombie has ended
    !state.is_empty() && !state.contains(") Z ")
}
