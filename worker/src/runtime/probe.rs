//! Finding an interpreter and asking it who it is.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proto::Language;

use crate::execute::{Config, StartError};

/// Runs the interpreter of `language` with `args` and hands what it says to `read`. `None` if none
/// is configured and none found, or if the found one does not run.
pub(super) fn interpreter<T>(
    config: &Config,
    language: Language,
    (configured, name): (Option<&PathBuf>, &str),
    args: &[&str],
    read: impl FnOnce(&Path, &str) -> Option<T>,
) -> Result<Option<T>, StartError> {
    let Some(program) = configured.cloned().or_else(|| search(&config.search_path, name)) else {
        return Ok(None);
    };
    let found = ask(config, &program, args).and_then(|said| {
        read(&program, &said)
            .ok_or_else(|| format!("it says {:?}", said.chars().take(200).collect::<String>()))
    });
    match found {
        Ok(found) => Ok(Some(found)),
        Err(reason) if configured.is_some() => Err(StartError::Interpreter { language, program, reason }),
        Err(reason) => {
            tracing::warn!(%language, program = %program.display(), reason, "interpreter found but unusable");
            Ok(None)
        }
    }
}

fn search(path: &str, name: &str) -> Option<PathBuf> {
    let folders = path.split(':').filter(|folder| !folder.is_empty());
    folders.map(|folder| Path::new(folder).join(name)).find(|program| program.is_file())
}

fn ask(config: &Config, program: &Path, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    // shims and the like find their real program through HOME or PATH
    command
        .args(args)
        .env_clear()
        .env("PATH", &config.search_path)
        .env("HOME", &config.work_dir)
        .stdin(Stdio::null());
    let output = command.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_folder_that_has_it_wins() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [&a, &b] {
            std::fs::write(folder.path().join("tool"), "").unwrap();
        }
        std::fs::create_dir(a.path().join("folder")).unwrap();
        let path = format!(":{}:{}", a.path().display(), b.path().display());
        assert_eq!(search(&path, "tool"), Some(a.path().join("tool")));
        assert_eq!(search(&path, "folder"), None);
        assert_eq!(search("", "tool"), None);
    }
}
