//! From the command line to the exit code.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::args::{Cli, Verb};
use crate::failure::Failure;
use crate::{up, verbs};

/// Does what the command line asks for. To be called by `main` alone.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let format = cli.format();
    let done = match &cli.verb {
        // it has a runtime and telemetry of its own
        Verb::Up(args) => return up::main(args),
        Verb::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "hookmill", &mut std::io::stdout());
            Ok(())
        }
        Verb::NatsConfig(config) => config.clone().run(),
        Verb::ValkeyConfig(config) => config.clone().run(),
        Verb::Secrets(secrets) => secrets.run(),
        Verb::Provision(streams) => wait_for(streams.clone().run()),
        Verb::Consumers(verb) => wait_for(verb.clone().run(format)),
        Verb::FirstAdmin(first) => wait_for(first.clone().run()),
        Verb::Script(verb) => cli.api().and_then(|api| wait_for(verbs::script::script(&api, format, verb))),
        Verb::Run(args) => cli.api().and_then(|api| wait_for(verbs::run::run(&api, format, args))),
        Verb::Logs(args) => cli.api().and_then(|api| wait_for(verbs::logs::logs(&api, format, args))),
        Verb::Dead(verb) => cli.api().and_then(|api| wait_for(verbs::dead::dead(&api, format, verb))),
        Verb::Token(verb) => cli.api().and_then(|api| wait_for(verbs::token::token(&api, format, verb))),
    };
    done.map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS)
}

fn wait_for(verb: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::Local(error.into()))?.block_on(verb)
}
