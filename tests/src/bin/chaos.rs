//! `make chaos`: faults for as long as one likes, by a seed that repeats them.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use system_tests::chaos::{Campaign, Fault, Seed};
use system_tests::recovery::{Outage, Server, Spread, Statuses, outages, takeovers};

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
    /// Only faults whose description contains this; with --recovery: worker, nats or valkey.
    #[arg(long)]
    only: Option<String>,
    /// Keep the logs of all processes in this folder.
    #[arg(long)]
    logs: Option<PathBuf>,
    /// Take `worker-with-bugs` with this bug.
    #[arg(long)]
    bug: Option<String>,
    /// Measure how long single faults are felt, instead.
    #[arg(long)]
    recovery: bool,
    /// How often each is measured.
    #[arg(long, default_value_t = 10)]
    rounds: u32,
    /// Print the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if args.recovery {
        recovery(args.rounds, args.only.as_deref()).await;
        return ExitCode::SUCCESS;
    }
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

/// Leases that are measured: the default, and a short one.
const LEASES: [Duration; 2] = [Duration::from_secs(15), Duration::from_secs(3)];
/// How long a server is away.
const AWAY: Duration = Duration::from_secs(5);

async fn recovery(rounds: u32, only: Option<&str>) {
    let wanted = |part: &str| only.is_none_or(|only| part.contains(only));
    for lease in LEASES.into_iter().filter(|_| wanted("worker")) {
        let times = Spread::of(takeovers(lease, rounds).await);
        let leases = times.longest.as_secs_f64() / lease.as_secs_f64();
        say(&format!(
            "worker killed, lease {} s: its jobs run elsewhere: {times} ({leases:.2} leases)",
            lease.as_secs()
        ));
    }
    for server in [Server::Nats, Server::Valkey].into_iter().filter(|server| wanted(server.name())) {
        let all = outages(server, AWAY, rounds).await;
        say(&format!("{} killed and started {} s later, {rounds} times:", server.name(), AWAY.as_secs()));
        let spread = |of: fn(&Outage) -> Duration| Spread::of(all.iter().map(of).collect());
        say(&format!("  away until it answers: {}", spread(|outage| outage.away)));
        say(&format!("  no job ended for: {}", spread(|outage| outage.without_ends)));
        say(&format!("  no trigger accepted for: {}", spread(|outage| outage.without_triggers)));
        say(&format!("  longest wait for a result: {}", spread(|outage| outage.longest_wait)));
        let slowest = all.iter().max_by_key(|outage| outage.longest_wait);
        say(&format!("    {}", slowest.map_or("", |outage| &outage.slowest)));
        let beyond = all.iter().map(|outage| outage.without_ends.saturating_sub(outage.away)).collect();
        say(&format!("  stall beyond being away: {}", Spread::of(beyond)));
        say(&format!(
            "  answers to requests meanwhile: {:?}",
            sum(all.iter().map(|outage| &outage.meanwhile))
        ));
        say(&format!("  answers to all others: {:?}", sum(all.iter().map(|outage| &outage.otherwise))));
        say(&format!("  jobs accepted, all ended: {}", all.iter().map(|outage| outage.jobs).sum::<usize>()));
    }
}

fn sum<'a>(all: impl Iterator<Item = &'a Statuses>) -> Statuses {
    let mut sum = Statuses::new();
    for (status, count) in all.flatten() {
        *sum.entry(*status).or_default() += count;
    }
    sum
}

/// A number that nobody has used.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs())
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn say(text: &str) {
    println!("{text}");
}
