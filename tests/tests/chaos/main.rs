//! The chaos suite in its short form, and the proof that it can fail. What it does is told in
//! `docs/reliability.md`; a seed that failed is repeated by `make chaos`.

use system_tests::chaos::{Campaign, Fault, Moment, Report, Rule, Seed};
use tokio::sync::RwLock;

/// One campaign has the machine to itself; those with bugs are fewer jobs, and share it.
static MACHINE: RwLock<()> = RwLock::const_new(());

/// The seed of the short form.
const SEED: u64 = 4;
/// A bug is found within so many.
const SEEDS: u64 = 5;
/// Faults of each of them.
const FAULTS: usize = 5;

#[expect(clippy::print_stdout, reason = "the figures of a test run are read by people")]
fn say(line: &str) {
    println!("{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_fault_once_and_every_promise_is_kept() {
    let _machine = MACHINE.write().await;
    let campaign = Campaign::new(SEED).faults(Fault::each_kind(&mut Seed::new(SEED)));
    say(&campaign.plan().to_string());
    let report = campaign.run(say).await;
    assert!(report.holds(), "{report}");
    // whoever may not mount disks does without full ones
    let missed: Vec<_> =
        report.figures.missed.iter().filter(|fault| !fault.starts_with("disk full")).collect();
    assert!(missed.is_empty(), "{missed:?}");
    say(&report.to_string());
}

/// Seeds until one finds the bug; what it found. Of all faults those are struck that the bug is about.
async fn found(bug: &str, rules: &[Rule], of: &[Moment]) -> Report {
    let _machine = MACHINE.read().await;
    for seed in 1..=SEEDS {
        let faults =
            of.iter().flat_map(|moment| [0, 1].map(|number| Fault::KillAt(*moment, number))).collect();
        let campaign = Campaign::new(seed).faults(faults).steps(FAULTS).gently();
        let report = campaign.planted("worker-with-bugs", bug).run(|_| {}).await;
        say(&format!("{bug}: {report}"));
        if rules.iter().any(|rule| report.breaks(*rule)) {
            return report;
        }
    }
    panic!("{bug} was not found by {SEEDS} seeds");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_finds_an_acknowledgement_before_the_end_is_recorded() {
    // a job without an end, or an end that nobody is told
    found("ack-before-end", &[Rule::OneEnd, Rule::Answered], &[Moment::BeforeEnd]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_finds_a_missing_fence() {
    found("no-fence", &[Rule::LastAttempt], &[Moment::LateEnd]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_finds_after_effects_that_are_not_repeated() {
    found("no-after-effects", &[Rule::Answered], &[Moment::AfterEnd, Moment::BetweenEffects]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_plan_finds_nothing_where_no_bug_is_planted() {
    let _machine = MACHINE.read().await;
    let faults = Fault::of_workers(&mut Seed::new(1));
    let campaign = Campaign::new(1).faults(faults).gently();
    // the same program, without a bug
    let report = campaign.planted("worker-with-bugs", "none").run(|_| {}).await;
    assert!(report.holds(), "{report}");
}
