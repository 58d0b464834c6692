//! The programs that are measured: ours beside this one, the others where `hookmill up` finds them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};
use hookmill::up::tools;

/// A program built together with this one.
///
/// # Errors
/// It was not built.
pub(crate) fn ours(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program")?;
    let path = own.with_file_name(name);
    if !path.is_file() {
        bail!("{} is missing: `make bench` builds it", path.display());
    }
    Ok(path)
}

/// What each program says it is.
pub(crate) fn versions() -> Vec<(&'static str, String)> {
    let programs = ["nats-server", "valkey-server", "bash", "python3", "deno"];
    programs.into_iter().map(|name| (name, version(name).unwrap_or_else(|| "not found".to_owned()))).collect()
}

/// The first line of `--version` that has a digit in it.
fn version(name: &str) -> Option<String> {
    let program = if name == "python3" { python().ok()? } else { tools::find(name).ok()? };
    let said = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    let line = text.lines().find(|line| line.bytes().any(|byte| byte.is_ascii_digit()))?;
    Some(line.trim().to_owned())
}

/// The Python that workers choose when they are not told: of their default search path.
pub(crate) fn python() -> anyhow::Result<PathBuf> {
    let places = ["/usr/local/bin", "/usr/bin", "/bin"].map(|folder| PathBuf::from(folder).join("python3"));
    places.into_iter().find(|path| path.is_file()).context("no python3 in /usr/local/bin, /usr/bin or /bin")
}
