//! What `hookmill up` says when it is ready: where it is, how to get in, one line to try.

use std::fmt::Write;
use std::path::Path;

use super::env_file::{self, ClientEnv};
use super::{example, tools};

/// What there is to say.
#[derive(Debug)]
pub(super) struct Screen<'a> {
    /// Where, as whom.
    pub(super) env: &'a ClientEnv,
    /// The data folder, as the person named it.
    pub(super) data: &'a Path,
    /// Whether the token is new, so that it is shown this once.
    pub(super) new_token: bool,
    /// How this program is called here.
    pub(super) program: &'a str,
    /// The example that is there to be called, if any language runs.
    pub(super) example: Option<&'a str>,
}

impl Screen<'_> {
    /// The text.
    pub(super) fn render(&self) -> String {
        let ClientEnv { base_url, token, workspace } = self.env;
        let env_file = self.data.join(env_file::FILE);
        let mut text = format!("\nHookmill is ready on {base_url}, workspace {workspace}\n\n");
        // writing to a string cannot fail
        let _ = if self.new_token {
            writeln!(text, "  Token   {token}\n          (shown this once; kept in {})", env_file.display())
        } else {
            writeln!(text, "  Token   in {}", env_file.display())
        };
        if let Some(path) = self.example {
            let _ = writeln!(text, "  Try     {}", self.curl(path, &env_file));
        }
        let _ = writeln!(text, "  Shell   source {} && {} --help", word(&env_file), self.program);
        let _ =
            writeln!(text, "  Logs    {} for NATS and Valkey, ours here", self.data.join("log").display());
        text.push_str("  Stop    Ctrl-C\n\n");
        text
    }

    fn curl(&self, path: &str, env_file: &Path) -> String {
        let ClientEnv { base_url, token, workspace } = self.env;
        let (before, token) = if self.new_token {
            (String::new(), token.as_str())
        } else {
            (format!("source {} && ", word(env_file)), "$WM_TOKEN")
        };
        format!(
            "{before}curl -s {base_url}/api/w/{workspace}/jobs/run_wait_result/p/{path} \
             -H \"Authorization: Bearer {token}\" -H 'Content-Type: application/json' -d '{}'",
            example::ARGS
        )
    }
}

/// How to call this program from here: its name when the PATH has it, else where it lies.
pub(super) fn program() -> String {
    let Ok(program) = std::env::current_exe() else { return "hookmill".into() };
    if tools::on_path("hookmill").and_then(|found| found.canonicalize().ok()) == program.canonicalize().ok() {
        return "hookmill".into();
    }
    let here = std::env::current_dir().ok();
    word(here.and_then(|here| program.strip_prefix(here).ok()).unwrap_or(&program))
}

/// One word of a shell; what needs no quotes gets none.
fn word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if text.chars().all(plain) && !text.is_empty() { text } else { env_file::quoted(&text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> ClientEnv {
        let (base_url, token) = ("http://127.0.0.1:8000".into(), "hkm_secret".into());
        ClientEnv { base_url, token, workspace: "main".into() }
    }

    fn text(data: &str, new_token: bool) -> String {
        let env = env();
        let example = Some("f/examples/hello");
        Screen { env: &env, data: Path::new(data), new_token, program: "hookmill", example }.render()
    }

    #[test]
    fn the_token_is_shown_once_only() {
        assert!(text(".hookmill", true).contains("Bearer hkm_secret\""));
        let later = text(".hookmill", false);
        assert!(!later.contains("hkm_secret"), "{later}");
        assert!(later.contains("source .hookmill/env && curl"), "{later}");
    }

    #[test]
    fn folders_with_spaces_are_quoted() {
        let text = text("my data", false);
        assert!(text.contains("source 'my data/env' && curl"), "{text}");
    }
}
