//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use hookmill::up::profile::Profile;

use crate::floor::{GatewayArgs, WorkerArgs};

/// Measures the webhooks beside the floor of the same run.
#[derive(Debug, Parser)]
#[command(name = "bench", max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) role: Option<Role>,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// What is measured, and how it is told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// A short form that shows that everything works; its figures mean little
    #[arg(long)]
    pub(crate) quick: bool,
    /// Measure this profile alone; by default durable, then relaxed and shorter (--quick: durable)
    #[arg(long, value_enum)]
    pub(crate) profile: Option<Profile>,
    /// Measure these parts alone, separated by commas
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<Part>,
    /// Folder in which data are made and removed; the disk under it is what is measured
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// How many jobs `--only backlog` queues
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(100..))]
    pub(crate) backlog: u64,
    /// How results are printed
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// One part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The floor.
    Floor,
    /// Bash scripts.
    Bash,
    /// Python scripts.
    Python,
    /// Deno scripts.
    Deno,
    /// What confining a program costs.
    Launcher,
    /// A long queue, beside an empty one; only when it is asked for.
    Backlog,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// The processes of the floor: started by us, not by people.
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// HTTP in, publish, wait
    #[command(hide = true)]
    FloorGateway(GatewayArgs),
    /// Pull, start write, Python, result write, completion, ack
    #[command(hide = true)]
    FloorWorker(WorkerArgs),
}

impl Options {
    /// Whether the part is asked for.
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.only.contains(&part) || (self.only.is_empty() && part != Part::Backlog)
    }

    /// Whether anything is asked for that needs an installation.
    pub(crate) fn wants_webhooks(&self) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| !matches!(part, Part::Launcher | Part::Backlog))
    }

    /// The profiles, in their order.
    pub(crate) fn profiles(&self) -> Vec<Profile> {
        match self.profile {
            Some(one) => vec![one],
            None if self.quick => vec![Profile::Durable],
            None => vec![Profile::Durable, Profile::Relaxed],
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn parts_can_be_chosen() {
        let args = Args::parse_from(["bench", "--only", "floor,deno", "--quick"]);
        assert!(args.options.wants(Part::Floor) && args.options.wants(Part::Deno));
        assert!(!args.options.wants(Part::Bash));
        let all = Args::parse_from(["bench"]);
        assert!(all.options.wants(Part::Bash) && !all.options.wants(Part::Backlog));
        assert_eq!(args.options.profiles(), [Profile::Durable]);
        assert!(Args::try_parse_from(["bench", "--only", "celery"]).is_err());
    }
}
