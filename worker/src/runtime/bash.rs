//! Bash: the whole file is the script, its arguments are declared as `name="$1"`.

mod signature;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use lifecycle::supervisor::Streams;
use proto::Language;
use proto::json::RawObject;

use super::wrapped::{ARGS, checked, too_large, unreadable, write};
use super::{Candidates, Commands, Ended, Plan, Runtime, Way, probe};
use crate::execute::{Config, Invocation, JobError, JobFolder};

const SCRIPT: &str = "main.sh";
const VALUES: &str = "args.bin";
const RESULT_JSON: &str = "result.json";
const RESULT_TEXT: &str = "result.out";

/// The kernel takes no single argument of 128 KiB, and the environment shares a total with all of
/// them: beyond this many bytes the values go through a file.
const MAX_ARGV: usize = 64 * 1024;

/// Reads NUL-ended values from `args.bin`, then becomes the script.
const FROM_FILE: &str =
    r#"mapfile -d '' -t __args <args.bin; set -- "${__args[@]}"; unset __args; rm -f args.bin; . ./main.sh"#;

const ASK: [&str; 3] = ["--norc", "-c", "echo $BASH_VERSION"];

/// Scripts for Bash.
#[derive(Debug)]
pub(super) struct Bash {
    program: PathBuf,
    version: String,
}

impl Bash {
    pub(super) fn candidates(config: &Arc<Config>) -> Candidates {
        let programs = probe::programs(config, config.bash.as_ref(), "bash");
        probe::interpreters(config, Language::Bash, programs, &ASK, |_, program, said| {
            let version = said.trim().to_owned();
            if version.contains('.') {
                Ok(Self { program: program.to_owned(), version })
            } else {
                Err(probe::says(said))
            }
        })
    }
}

impl Runtime for Bash {
    fn language(&self) -> Language {
        Language::Bash
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn program(&self) -> &Path {
        &self.program
    }

    fn readable(&self) -> Vec<PathBuf> {
        vec![self.program.clone()]
    }

    fn trial(&self) -> &'static str {
        "echo 1"
    }

    fn way(&self) -> Way<'_> {
        Way::Commands(self)
    }
}

impl Commands for Bash {
    fn prepare(&self, invocation: &Invocation, folder: &JobFolder) -> Result<Plan, JobError> {
        write(folder, SCRIPT, invocation.content.as_bytes())?;
        write(folder, ARGS, &invocation.args)?;
        let object = RawObject::parse(&invocation.args);
        let object = object.map_err(|e| JobError::new("InvalidArguments", e.to_string()))?;
        let values = signature::positions(&invocation.content);
        let values =
            values.iter().map(|name| value(&object, name.as_deref())).collect::<Result<Vec<_>, _>>()?;
        let args = if values.iter().map(String::len).sum::<usize>() <= MAX_ARGV {
            ["-e", SCRIPT].map(str::to_owned).into_iter().chain(values).collect()
        } else {
            let ended: String = values.iter().flat_map(|value| [value, "\0"]).collect();
            write(folder, VALUES, ended.as_bytes())?;
            ["-e", "-c", FROM_FILE, SCRIPT].map(str::to_owned).into()
        };
        Ok(Plan { program: self.program.clone(), args, env: Vec::new(), streams: Streams::Apart })
    }

    fn answers(&self) -> &'static [&'static str] {
        &[RESULT_JSON, RESULT_TEXT]
    }

    fn result(&self, ended: &Ended<'_>) -> Result<Bytes, JobError> {
        if !ended.status.success() {
            return Err(JobError::execution("bash", ended.status, ended.log_tail));
        }
        let file = |name| ended.folder.read(name, ended.result_limit).map_err(|e| unreadable(&e));
        if let Some(json) = file(RESULT_JSON)?.filter(|json| !json.trim_ascii().is_empty()) {
            return checked(json);
        }
        if let Some(text) = file(RESULT_TEXT)? {
            return string(&text, ended.result_limit);
        }
        ended.last_line.map_or(Ok(Bytes::from_static(b"null")), |line| string(line, ended.result_limit))
    }
}

/// A string's own text, any other value exactly as it was sent; empty when absent.
fn value(object: &RawObject<'_>, name: Option<&str>) -> Result<String, JobError> {
    let Some(raw) = name.and_then(|name| object.get(name)) else { return Ok(String::new()) };
    let text = if raw.starts_with('"') {
        serde_json::from_str(raw).map_err(|e| JobError::new("InvalidArguments", e.to_string()))?
    } else {
        raw.to_owned()
    };
    if text.contains('\0') {
        let name = name.unwrap_or_default();
        return Err(JobError::new(
            "InvalidArguments",
            format!("argument `{name}` holds a NUL, which Bash cannot take"),
        ));
    }
    Ok(text)
}

fn string(text: &[u8], limit: u64) -> Result<Bytes, JobError> {
    let text = String::from_utf8_lossy(text).replace('\0', "");
    let json = serde_json::Value::from(text).to_string();
    let size = json.len() as u64;
    if size > limit { Err(too_large(size, limit)) } else { Ok(Bytes::from(json)) }
}
