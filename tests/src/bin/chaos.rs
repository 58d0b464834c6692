//! `make chaos`: faults for as long as one likes, by a seed that repeats them.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use system_tests::chaos::{Campaign, Fault, Seed};

/// Strikes a whole system with faults under load, and checks that it keeps its promises.
#[derive(Parser)]
struct Args {
    /// For how long faults come; 0: each fault once.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// The number that decides which, and when; a new one by default.
    #[arg(long)]
    seed: Option<u64>,
    /// Each kind of fault once, instead of every fault at every process.
    #[arg(long)]
    short: bool,
    /// Only faults whose description contains this.
    #[arg(long)]
    only: Option<String>,
    /// Keep the logs of all processes in this folder.
    #[arg(long)]
    logs: Option<PathBuf>,
    /// Take `worker-with-bugs` with this bug.
    #[arg(long)]
    bug: Option<String>,
    /// Print the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let campaign = campaign(&args);
    say(&campaign.plan().to_string());
    if args.dry_run {
        return ExitCode::SUCCESS;
    }
    let report = campaign.run(say).await;
    say(&format!("{report}{}", report.json()));
    if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn campaign(args: &Args) -> Campaign {
    let seed = args.seed.unwrap_or_else(now);
    let faults = if args.short { Fault::each_kind(&mut Seed::new(seed)) } else { Fault::all() };
    let wanted = |fault: &Fault| args.only.as_ref().is_none_or(|only| fault.to_string().contains(only));
    let campaign =
        Campaign::new(seed).logs(args.logs.clone()).faults(faults.into_iter().filter(wanted).collect());
    let campaign = match &args.bug {
        Some(bug) => campaign.planted("worker-with-bugs", bug),
        None => campaign,
    };
    if args.seconds == 0 { campaign } else { campaign.lasts(Duration::from_secs(args.seconds)) }
}

/// A number that nobody has used.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs())
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn say(text: &str) {
    println!("{text}");
}
