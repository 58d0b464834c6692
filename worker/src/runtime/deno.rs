//! TypeScript and JavaScript on Deno: a real parser reads `main`'s parameters, a wrapper binds
//! them by name.

mod signature;

use std::path::PathBuf;

use bytes::Bytes;
use lifecycle::supervisor::Streams;
use proto::Language;

use super::wrapped::{self, ANSWERS, ARGS, write};
use super::{Ended, Plan, Runtime, probe};
use crate::execute::{Config, Invocation, JobError, JobFolder, StartError};

const WRAPPER: &str = include_str!("../../runtimes/deno/hookmill_main.js");
const WRAPPER_FILE: &str = "hookmill_main.js";
const SCRIPT: &str = "main.ts";
const PARAMETERS: &str = "parameters.json";

/// No project files, no questions, no type check. Scripts may do what the user they run as may do,
/// as in the other languages: what confines them is the sandbox around all of them.
const FLAGS: [&str; 7] =
    ["run", "--quiet", "--no-config", "--no-lock", "--no-prompt", "--no-check", "--allow-all"];

/// Scripts for Deno.
#[derive(Debug)]
pub(super) struct Deno {
    program: PathBuf,
    version: String,
    wrapper: PathBuf,
    cache: PathBuf,
}

impl Deno {
    pub(super) fn probe(config: &Config) -> Result<Option<Self>, StartError> {
        let args = ["eval", "--quiet", "console.log(Deno.execPath() + '\\n' + Deno.version.deno)"];
        let found =
            probe::interpreter(config, Language::Deno, (config.deno.as_ref(), "deno"), &args, |_, said| {
                read(said)
            })?;
        let Some((program, version)) = found else { return Ok(None) };
        let folder = config.work_dir.join("runtime/deno");
        let wrapper = folder.join(WRAPPER_FILE);
        let installed = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&wrapper, WRAPPER));
        installed.map_err(|source| StartError::WorkDir { path: folder.clone(), source })?;
        Ok(Some(Self { program, version, wrapper, cache: folder.join("cache") }))
    }
}

impl Runtime for Deno {
    fn language(&self) -> Language {
        Language::Deno
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn prepare(&self, invocation: &Invocation, folder: &JobFolder) -> Result<Plan, JobError> {
        let parameters = parameters(&invocation.content)?;
        write(folder, SCRIPT, invocation.content.as_bytes())?;
        write(folder, ARGS, &invocation.args)?;
        write(folder, PARAMETERS, &parameters)?;
        let wrapper = self.wrapper.display().to_string();
        let args = FLAGS.into_iter().chain([wrapper.as_str(), SCRIPT]).map(str::to_owned).collect();
        let env = vec![
            ("DENO_DIR", self.cache.display().to_string()),
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
