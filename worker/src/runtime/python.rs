//! Python 3: an interpreter without `site`, and a program for it that takes jobs and calls `main` by name.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use lifecycle::supervisor::Streams;
use proto::Language;
use serde_json::json;

use super::{Candidates, Load, Plan, Runtime, Sessions, Way, probe};
use crate::execute::{Config, Invocation, JobError};

/// The program, by module.
const PROGRAM: [(&str, &str); 3] = [
    ("hookmill_main", include_str!("../../runtimes/python/hookmill_main.py")),
    ("hookmill_state", include_str!("../../runtimes/python/hookmill_state.py")),
    ("hookmill_values", include_str!("../../runtimes/python/hookmill_values.py")),
];

/// Isolated, without `site`, UTF-8 whatever the locale.
const FLAGS: [&str; 4] = ["-I", "-S", "-X", "utf8"];

/// Asks for the real program (a shim costs its start each time), for the version, for the names a
/// script's module must not take, and for where it is installed.
const ASK: [&str; 6] = [
    "-I",
    "-S",
    "-X",
    "utf8",
    "-c",
    "import sys\nprint(sys.executable)\nprint('%d.%d.%d' % sys.version_info[:3])\n\
     print(' '.join(sorted(set(sys.stdlib_module_names) | set(sys.builtin_module_names))))\n\
     print(*dict.fromkeys((sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)), sep='\\n')",
];

/// Compiles a module to a file of bytecode, so that no process compiles it again.
const COMPILE: &str =
    "import sys, py_compile; py_compile.compile(sys.argv[1], cfile=sys.argv[2], doraise=True)";

/// Scripts for Python 3.
#[derive(Debug)]
pub(super) struct Python {
    told: Told,
    start: String,
    /// Where the program lies.
    folder: PathBuf,
    packages: Vec<String>,
}

/// What an interpreter says of itself.
#[derive(Debug, Default)]
struct Told {
    program: PathBuf,
    version: String,
    taken_names: Vec<String>,
    /// Where it is installed: its environment, and what that is made from.
    prefixes: Vec<PathBuf>,
}

impl Python {
    pub(super) fn candidates(config: &Arc<Config>) -> Candidates {
        let programs = probe::programs(config, config.python.as_ref(), "python3");
        probe::interpreters(config, Language::Python3, programs, &ASK, |config, _, said| {
            let told = read(said).ok_or_else(|| probe::says(said))?;
            let (start, folder) = install(config, &told.program)?;
            let packages = config.python_path.iter().map(|path| path.display().to_string()).collect();
            Ok(Self { told, start, folder, packages })
        })
    }

    /// The module's name, after the path's last segment.
    fn module(&self, path: &str) -> String {
        let segment = path.rsplit('/').next().unwrap_or_default();
        let mut name: String = segment.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
        if name.is_empty() || name.starts_with(char::is_numeric) {
            name.insert(0, '_');
        }
        // a script called `json` must not become everybody's `import json`
        if name.starts_with("__") || self.told.taken_names.contains(&name) {
            name.push('_');
        }
        name
    }
}

impl Runtime for Python {
    fn language(&self) -> Language {
        Language::Python3
    }

    fn version(&self) -> &str {
        &self.told.version
    }

    fn program(&self) -> &Path {
        &self.told.program
    }

    fn readable(&self) -> Vec<PathBuf> {
        let packages = self.packages.iter().map(PathBuf::from);
        let own = [self.told.program.clone(), self.folder.clone()];
        self.told.prefixes.iter().cloned().chain(own).chain(packages).collect()
    }

    fn trial(&self) -> &'static str {
        "def main(): return 1"
    }

    fn way(&self) -> Way<'_> {
        Way::Sessions(self)
    }
}

impl Sessions for Python {
    fn start(&self) -> Plan {
        let flags = FLAGS.into_iter().chain(["-c", &self.start]).map(str::to_owned);
        let args = flags.chain(self.packages.iter().cloned()).collect();
        Plan { program: self.told.program.clone(), args, env: Vec::new(), streams: Streams::Merged }
    }

    fn load(&self, invocation: &Invocation) -> Result<Load, JobError> {
        let module = self.module(&invocation.path);
        let order = json!({"module": module, "file": format!("{module}.py"), "source": &*invocation.content});
        Ok(Load { order, files: Vec::new() })
    }

    fn forks(&self) -> bool {
        true
    }
}

fn read(said: &str) -> Option<Told> {
    let mut lines = said.lines();
    let (program, version, names) = (lines.next()?, lines.next()?, lines.next()?);
    let told = Told {
        program: PathBuf::from(program),
        version: version.to_owned(),
        taken_names: names.split(' ').map(str::to_owned).collect(),
        prefixes: lines.map(PathBuf::from).collect(),
    };
    (told.program.is_absolute() && version.starts_with("3.")).then_some(told)
}

/// Puts the program beside the jobs; what `-c` has to say to start it, and where it is.
fn install(config: &Config, program: &PathBuf) -> Result<(String, PathBuf), String> {
    let folder = config.work_dir.join("runtime/python");
    std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    for (module, source) in PROGRAM {
        compile(program, &folder.join(module), source)?;
    }
    let quoted = serde_json::Value::from(folder.display().to_string());
    let start = format!(
        "import sys; sys.path.insert(0, {quoted}); from hookmill_main import serve; del sys.path[0]; serve(sys.argv[1:])"
    );
    Ok((start, folder))
}

/// Leaves `<module>.pyc`.
fn compile(program: &PathBuf, module: &Path, content: &str) -> Result<(), String> {
    let (source, code) = (module.with_extension("py"), module.with_extension("pyc"));
    std::fs::write(&source, content).map_err(|e| e.to_string())?;
    let mut compile = Command::new(program);
    compile.args(FLAGS).args(["-c", COMPILE]).args([&source, &code]).env_clear();
    let output = compile.output().map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    std::fs::remove_file(&source).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_names() {
        let python = Python {
            told: Told { taken_names: vec!["json".to_owned()], ..Told::default() },
            start: String::new(),
            folder: PathBuf::new(),
            packages: Vec::new(),
        };
        for (path, name) in [
            ("u/a/my-script", "my_script"),
            ("f/x/2fa", "_2fa"),
            ("u/a/json", "json_"),
            ("", "_"),
            ("u/a/__main__", "__main___"),
        ] {
            assert_eq!(python.module(path), name);
        }
    }

    #[test]
    fn what_an_interpreter_says() {
        let told = read("/usr/bin/python3\n3.11.7\njson sys\n/usr\n/opt\n").unwrap();
        assert_eq!(told.prefixes, [PathBuf::from("/usr"), PathBuf::from("/opt")]);
        assert!(read("python3\n3.11.7\njson\n").is_none());
        assert!(read("/usr/bin/python2\n2.7.1\njson\n").is_none());
        assert!(read("").is_none());
    }
}
