//! Where the programs are that we start: in the checkout's `.tools/bin`, which `make` fills, or on the PATH.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The folder of a checkout that `deploy/tools/fetch` fills.
const FOLDER: &str = ".tools";

/// A program that is nowhere.
#[derive(Debug, thiserror::Error)]
#[error("{0} is neither in .tools/bin nor on the PATH: run `make up`, which fetches it, or install it")]
pub struct Missing(String);

/// The absolute path of a program.
///
/// # Errors
/// It is nowhere.
pub fn find(name: &str) -> Result<PathBuf, Missing> {
    let fetched = in_checkout(&Path::new("bin").join(name)).filter(|path| runs(path));
    fetched.or_else(|| on_path(name)).ok_or_else(|| Missing(name.to_owned()))
}

/// The folder of Windmill's Python SDK that `make` fills, if this program stands in a checkout.
pub fn python_sdk() -> Option<PathBuf> {
    in_checkout(Path::new("python-sdk"))
}

/// What stands below the `.tools` of the checkout that this program was built in.
fn in_checkout(inside: &Path) -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let found = program.ancestors().skip(1).map(|folder| folder.join(FOLDER).join(inside));
    found.into_iter().find(|path| path.exists())
}

/// The PATH of this process, if it is text.
pub fn search_path() -> Option<String> {
    std::env::var_os("PATH")?.into_string().ok()
}

/// The program on the PATH alone.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| runs(path))
}

fn runs(path: &Path) -> bool {
    path.is_absolute()
        && std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everybody_has_is_found_and_what_nobody_has_is_named() {
        assert!(find("sh").unwrap().is_absolute());
        let error = find("no-such-program-7f3a").unwrap_err().to_string();
        assert!(error.starts_with("no-such-program-7f3a is neither"), "{error}");
    }
}
