//! Several nodes in a world that goes wrong, from a seed: nothing is lost, nothing comes twice, nobody haunts.
//!
//! Real nodes, a store they share, and everything between them made of bad luck: events and commands that are lost,
//! late or doubled, nodes that are cut off, die or leave, clients that do not read. Time is tokio's, and stands still
//! while anybody has something to do, so a minute takes a fraction of a second. What clients saw is judged by the
//! `checker` that also judges real clusters.
//!
//! A seed makes the size of the world, its faults and what each client does. The product's own randomness (ids,
//! jitter, the order of hash maps and of ready tasks) is not seeded: a seed run again is much alike, not the same.
//!
//! `SIM_SEED=n` runs that seed alone, told in the log (`RUST_LOG`, default `collabd=debug,it=info`); `SIM_SEEDS=n` runs
//! so many a test; `SIM_SECONDS=n` has `sim::soak` go on for that long. See `make soak`.

mod client;
mod host;
mod ledger;
mod line;
mod plan;
mod registry;
mod station;
mod wire;
mod world;

use std::collections::BTreeMap;
use std::env;
use std::time::{Duration, Instant};

use checker::Fault;

use self::plan::{Plan, Theme};
use self::station::Flaw;
use self::world::{Outcome, run};

/// Seeds of each theme.
const SEEDS: u64 = 80;

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok().filter(|text| !text.is_empty())?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is {text:?}; right is a number")))
}

/// Runs seeds from `first` on until `go_on` says no; returns what happened in all of them.
fn runs(theme: Theme, first: u64, go_on: impl Fn(u64) -> bool) -> BTreeMap<String, u64> {
    let began = Instant::now();
    let (mut seed, mut all) = (first, BTreeMap::new());
    while go_on(seed - first) {
        let outcome = run(Plan::new(seed, theme), Flaw::None);
        assert!(outcome.is_clean(), "SIM_SEED={seed}: {outcome}");
        add(&mut all, &outcome);
        seed += 1;
    }
    let (runs, took) = (seed - first, began.elapsed());
    println!("{theme:?}: {runs} seeds from {first} on in {took:.1?}: {all:?}");
    all
}

fn add(all: &mut BTreeMap<String, u64>, outcome: &Outcome) {
    let verdict = &outcome.verdict;
    let judged = [
        ("acknowledged", verdict.acknowledged),
        ("heard", verdict.heard),
        ("restarts", verdict.restarts),
        ("forgotten", verdict.forgotten),
    ];
    let counted = outcome.counts.iter();
    let counted = counted.map(|(what, count)| (what.as_str(), *count));
    for (what, count) in counted.chain(judged) {
        *all.entry(what.to_owned()).or_default() += count;
    }
}

/// The seeds of a theme, or the one that is asked for.
fn themed(theme: Theme, first: u64, must_happen: &[&str]) {
    if let Some(seed) = number("SIM_SEED") {
        tell();
        runs(theme, seed, |done| done == 0);
        return;
    }
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    let all = runs(theme, first, |done| done < seeds);
    for what in must_happen {
        let count = all.get(*what).copied().unwrap_or_default();
        assert!(seeds < SEEDS || count > 0, "it never happened: {what}");
    }
}

/// Has the run told in the log, by the simulated time.
fn tell() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("collabd=debug,it=info"));
    // Another test may have begun it.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(SimulatedTime)
        .with_test_writer()
        .try_init();
}

struct SimulatedTime;

impl tracing_subscriber::fmt::time::FormatTime for SimulatedTime {
    fn format_time(
        &self,
        to: &mut tracing_subscriber::fmt::format::Writer<'_>,
    ) -> std::fmt::Result {
        let now = world::BEGAN.with(|began| began.get().map(|began| began.elapsed()));
        let now = now.unwrap_or_default();
        write!(to, "{:>9.3}", now.as_secs_f64())
    }
}

/// Guards the order and its holes: events and commands that are lost, late or doubled.
#[test]
fn losses() {
    let happens = [
        "resumed",
        "restarts",
        "closed 4503",
        "backplane_unavailable",
    ];
    themed(Theme::Losses, 1_000, &happens);
}

/// Guards islands: nodes that are cut off from the store, alone or all at once, for less and for more than a lease.
#[test]
fn partitions() {
    themed(
        Theme::Partitions,
        2_000,
        &["cuts", "backplane_unavailable", "refused"],
    );
}

/// Guards presence: nodes that die or leave, with those who come back elsewhere and those who do not.
#[test]
fn deaths() {
    themed(
        Theme::Deaths,
        3_000,
        &["deaths", "drains", "cut off", "closed 1012"],
    );
}

/// Guards those who were told what the store forgot: they start afresh, all from the same.
#[test]
fn failovers() {
    themed(
        Theme::Failovers,
        5_000,
        &["failovers", "restarts", "forgotten"],
    );
}

/// Guards what only happens when faults meet.
#[test]
fn everything() {
    themed(Theme::Everything, 4_000, &["cuts", "deaths", "drains"]);
}

/// Guards members of a node that was reaped, came back and died, against the claim of a reaper that died before it.
#[test]
fn a_reaper_that_dies_keeps_nobody_from_its_work() {
    let at = Duration::from_secs;
    let death = |slot| plan::Fault::Death { slot, back: at(1) };
    for seed in 6_000..6_004 {
        let plan = Plan {
            busy: at(26),
            faults: vec![
                (
                    at(10),
                    plan::Fault::Cut {
                        slots: vec![2],
                        time: at(8),
                        notice: at(1),
                    },
                ),
                // One of them has taken the first one's members out by now.
                (at(16), death(0)),
                (at(16), death(1)),
                // It has been back for long enough to have its members again.
                (at(22), death(2)),
            ],
            ..Plan::new(seed, Theme::Deaths)
        };
        let outcome = run(plan, Flaw::None);
        assert!(outcome.is_clean(), "{outcome}");
    }
}

/// Other seeds every time, for as long as is asked for. Not of failovers: when everybody is gone who was told what the
/// store then forgot, nobody can see that it did, and in one seed of some hundreds that happens.
#[test]
fn soak() {
    const SOME: u64 = 4;
    let seconds = number("SIM_SECONDS");
    // Nobody else runs the same, unless nobody asks for more than usual.
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let now = now.expect("it is later than 1970").as_secs();
    let mut first = seconds.map_or(0, |_| now * 1_000);
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or_default());
    let go_on = move |done| match seconds {
        Some(_) => Instant::now() < until,
        None => done < SOME,
    };
    let themes = [
        Theme::Losses,
        Theme::Partitions,
        Theme::Deaths,
        Theme::Everything,
    ];
    std::thread::scope(|scope| {
        for theme in themes {
            first += 1_000_000;
            scope.spawn(move || runs(theme, first, go_on));
        }
    });
}

/// A node with a flaw must be found out soon, or the judge sees nothing.
fn is_found(flaw: Flaw, theme: Theme, fault: Fault) {
    const SOON: u64 = 12;
    for seed in 0..SOON {
        let outcome = run(Plan::new(seed, theme), flaw);
        if outcome.verdict.count(fault) > 0 {
            println!("{flaw:?}: found by seed {seed}");
            return;
        }
    }
    panic!("{flaw:?}: no {fault:?} in {SOON} seeds");
}

/// Guards the judge: holes that are not filled are losses.
#[test]
fn holes_that_stay_are_found() {
    is_found(Flaw::HolesStay, Theme::Losses, Fault::Lost);
}

/// Guards the judge: what is done twice is there twice.
#[test]
fn commands_done_twice_are_found() {
    is_found(Flaw::TwiceIsTwo, Theme::Losses, Fault::Doubled);
}

/// Guards the judge: members of dead nodes whom nobody takes out are ghosts.
#[test]
fn the_unreaped_are_found() {
    is_found(Flaw::NoReaper, Theme::Deaths, Fault::Ghost);
}
