//! TypeScript and JavaScript on Deno: a real parser reads `main`'s parameters, a wrapper binds
//! them by name.

mod signature;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use lifecycle::supervisor::Streams;
use proto::Language;

use super::wrapped::{self, ANSWERS, ARGS, write};
use super::{Candidates, Commands, Ended, Plan, Runtime, Way, probe};
use crate::execute::{Config, Invocation, JobError, JobFolder};

const WRAPPER: &str = include_str!("../../runtimes/deno/hookmill_main.js");
const WRAPPER_FILE: &str = "hookmill_main.js";
const SCRIPT: &str = "main.ts";
const PARAMETERS: &str = "parameters.json";

/// No project files, no questions, no type check. Scripts may do what the user they run as may do,
/// as in the other languages: what confines them is the sandbox around all of them.
const FLAGS: [&str; 7] =
    ["run", "--quiet", "--no-config", "--no-lock", "--no-prompt", "--no-check", "--allow-all"];

const ASK: [&str; 3] = ["eval", "--quiet", "console.log(Deno.execPath() + '\\n' + Deno.version.deno)"];

/// Scripts for Deno.
#[derive(Debug)]
pub(super) struct Deno {
    program: PathBuf,
    version: String,
    wrapper: PathBuf,
}

impl Deno {
    pub(super) fn candidates(config: &Arc<Config>) -> Candidates {
        let programs = probe::programs(config, config.deno.as_ref(), "deno");
        probe::interpreters(config, Language::Deno, programs, &ASK, |config, _, said| {
            let (program, version) = read(said).ok_or_else(|| probe::says(said))?;
            let folder = config.work_dir.join("runtime/deno");
            let wrapper = folder.join(WRAPPER_FILE);
            let installed = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&wrapper, WRAPPER));
            installed.map_err(|error| format!("{}: {error}", folder.display()))?;
            Ok(Self { program, version, wrapper })
        })
    }
}

impl Runtime for Deno {
    fn language(&self) -> Language {
        Language::Deno
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn program(&self) -> &Path {
        &self.program
    }

    fn readable(&self) -> Vec<PathBuf> {
        vec![self.program.clone(), self.wrapper.clone()]
    }

    fn trial(&self) -> &'static str {
        "export function main() { return 1 }"
    }

    fn way(&self) -> Way<'_> {
        Way::Commands(self)
    }
}

impl Commands for Deno {
    fn prepare(&self, invocation: &Invocation, folder: &JobFolder) -> Result<Plan, JobError> {
        let parameters = parameters(&invocation.content)?;
        write(folder, SCRIPT, invocation.content.as_bytes())?;
        write(folder, ARGS, &invocation.args)?;
        write(folder, PARAMETERS, &parameters)?;
        let wrapper = self.wrapper.display().to_string();
        let args = FLAGS.into_iter().chain([wrapper.as_str(), SCRIPT]).map(str::to_owned).collect();
        let env = vec![
            // in its folder: what one script leaves there must not become another's
            ("DENO_DIR", ".deno".to_owned()),
            ("DENO_NO_UPDATE_CHECK", "1".to_owned()),
            ("NO_COLOR", "1".to_owned()),
        ];
        Ok(Plan { program: self.program.clone(), args, env, streams: Streams::Merged })
    }

    fn answers(&self) -> &'static [&'static str] {
        &ANSWERS
    }

    fn result(&self, ended: &Ended<'_>) -> Result<Bytes, JobError> {
        wrapped::result("deno", ended)
    }
}

/// `main`'s parameters, for the wrapper.
fn parameters(source: &str) -> Result<Vec<u8>, JobError> {
    let (size, limit) = (source.len(), signature::MAX_SOURCE);
    if size > limit {
        let text = format!("the script has {size} bytes, the limit for TypeScript is {limit} bytes");
        return Err(JobError::new("ScriptTooLarge", text));
    }
    let failed = |e: &dyn std::fmt::Display| JobError::worker("the script's parameters cannot be read", e);
    let found = signature::of_main(source).map_err(|e| failed(&e))?;
    serde_json::to_vec(&found).map_err(|e| failed(&e))
}

fn read(said: &str) -> Option<(PathBuf, String)> {
    let mut lines = said.lines();
    let (program, version) = (PathBuf::from(lines.next()?), lines.next()?);
    (program.is_absolute() && version.contains('.')).then(|| (program, version.to_owned()))
}
