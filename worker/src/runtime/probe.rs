//! Finding interpreters and asking each who it is.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use proto::Language;

use super::{Candidates, Runtime};
use crate::execute::{Config, StartError};

/// The interpreters to ask: the configured one, or those called `name` in the search path.
pub(super) fn programs(config: &Config, configured: Option<&PathBuf>, name: &str) -> Vec<PathBuf> {
    configured.map_or_else(|| search(&config.search_path, name), |program| vec![program.clone()])
}

/// `programs` of `language`, each asked with `args` and made a runtime of what it says. One that does not answer
/// is an error.
pub(super) fn interpreters<T: Runtime + 'static>(
    config: &Arc<Config>,
    language: Language,
    programs: Vec<PathBuf>,
    args: &'static [&'static str],
    read: impl Fn(&Config, &Path, &str) -> Result<T, String> + Send + 'static,
) -> Candidates {
    let config = Arc::clone(config);
    Box::new(programs.into_iter().map(move |program| {
        let found = ask(&config, &program, args).and_then(|said| read(&config, &program, &said));
        match found {
            Ok(runtime) => Ok(Arc::new(runtime) as Arc<dyn Runtime>),
            Err(reason) => Err(StartError::Interpreter { language, program, reason }),
        }
    }))
}

/// What an interpreter said, in an error.
pub(super) fn says(said: &str) -> String {
    format!("it says {:?}", said.chars().take(200).collect::<String>())
}

fn search(path: &str, name: &str) -> Vec<PathBuf> {
    let folders = path.split(':').filter(|folder| !folder.is_empty());
    folders.map(|folder| Path::new(folder).join(name)).filter(|program| program.is_file()).collect()
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
    fn folders_are_searched_in_their_order() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [&a, &b] {
            std::fs::write(folder.path().join("tool"), "").unwrap();
        }
        std::fs::create_dir(a.path().join("folder")).unwrap();
        let path = format!(":{}:{}", a.path().display(), b.path().display());
        assert_eq!(search(&path, "tool"), [a.path().join("tool"), b.path().join("tool")]);
        assert!(search(&path, "folder").is_empty() && search("", "tool").is_empty());
    }
}
