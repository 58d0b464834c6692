//! The command line.

use clap::{Args, Parser, Subcommand};

use crate::api::Api;
use crate::consumers::Consumers;
use crate::failure::Failure;
use crate::output::Format;
use crate::render::{FirstAdmin, NatsConfig, Provision, Secrets, ValkeyConfig};
use crate::up::UpArgs;
use crate::verbs::{dead::Dead, logs::Logs, run::Run, script::Script, token::Token};

/// Turns scripts into webhooks.
#[derive(Debug, Parser)]
#[command(name = "hookmill", version, max_term_width = 100, disable_help_subcommand = true, after_help = AFTER_HELP)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
    /// How results are printed
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "text|json",
        hide_possible_values = true
    )]
    output: Format,
    #[command(flatten)]
    client: Client,
}

const AFTER_HELP: &str = "\
On a fresh machine:
  hookmill up                            everything here, in the foreground
  source .hookmill/env                   in another terminal: where it is and your token
  hookmill script push f/tools/hello.py
  hookmill run f/tools/hello -d '{\"name\": \"you\"}' --wait

Exit codes: 0 done, 1 refused or the job failed, 2 wrongly used, 3 not reachable";

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run everything on this machine, in the foreground
    Up(UpArgs),
    /// Deploy scripts
    #[command(subcommand)]
    Script(Script),
    /// Run a script
    Run(Run),
    /// Print a job's log
    Logs(Logs),
    /// List jobs that are not tried any more, and try them again
    #[command(subcommand)]
    Dead(Dead),
    /// Make, list and revoke tokens
    #[command(subcommand)]
    Token(Token),
    /// Print the completions of your shell
    Completions {
        /// Which one
        shell: clap_complete::Shell,
    },
    /// Write nats-server's configuration for an installation of several machines
    #[command(display_order = 102)]
    NatsConfig(NatsConfig),
    /// Write Valkey's configuration for an installation of several machines
    #[command(display_order = 103)]
    ValkeyConfig(ValkeyConfig),
    /// Write each service's secrets for an installation of several machines
    #[command(display_order = 101)]
    Secrets(Secrets),
    /// Make or update the streams of an installation, once before its services start
    #[command(display_order = 104)]
    Provision(Provision),
    /// Look at the consumers of an installation, and put one right
    #[command(subcommand, display_order = 106)]
    Consumers(Consumers),
    /// Make the first admin of an installation, once after `provision`
    #[command(display_order = 105)]
    FirstAdmin(FirstAdmin),
}

/// Where and as whom to call.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where and as whom (`source .hookmill/env` sets all three)")]
pub struct Client {
    /// Where Hookmill is, such as http://127.0.0.1:8000
    #[arg(long, global = true, env = "BASE_INTERNAL_URL", value_name = "URL")]
    base_url: Option<String>,
    /// Your token
    #[arg(long, global = true, env = "WM_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Your workspace
    #[arg(long, global = true, env = "WM_WORKSPACE", value_name = "ID")]
    workspace: Option<String>,
}

impl Cli {
    /// How results are printed.
    pub fn format(&self) -> Format {
        self.output
    }

    /// The installation that the flags or the environment name.
    ///
    /// # Errors
    /// One of the three is missing, or the address is not usable.
    pub fn api(&self) -> Result<Api, Failure> {
        let Client { base_url, token, workspace } = &self.client;
        let given = [("--base-url", base_url), ("--token", token), ("--workspace", workspace)];
        let missing: Vec<&str> = given
            .iter()
            .filter(|(_, value)| value.as_deref().is_none_or(str::is_empty))
            .map(|(flag, _)| *flag)
            .collect();
        match (base_url, token, workspace) {
            (Some(base), Some(token), Some(workspace)) if missing.is_empty() => {
                Api::new(base, token, workspace)
            }
            _ => Err(Failure::Usage(format!(
                "{} missing: run `source .hookmill/env` first, or give the flags",
                missing.join(", ")
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_missing_is_named() {
        let cli = Cli::parse_from([
            "hookmill",
            "token",
            "list",
            "--base-url",
            "http://h",
            "--token",
            "",
            "--workspace",
            "w",
        ]);
        let Err(error) = cli.api() else { panic!("there is no token") };
        assert!(error.to_string().starts_with("--token missing: "), "{error}");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_run_needs_a_path_or_a_hash() {
        assert!(Cli::try_parse_from(["hookmill", "run"]).is_err());
        assert!(Cli::try_parse_from(["hookmill", "run", "not a path"]).is_err());
        assert!(Cli::try_parse_from(["hookmill", "run", "f/a/b", "--hash", "0123456789abcdef"]).is_err());
        assert!(Cli::try_parse_from(["hookmill", "run", "--hash", "0123456789abcdef"]).is_ok());
    }
}
