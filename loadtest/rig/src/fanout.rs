//! Fan-out: what one delivery costs the server, against the floor of the same run.
//!
//! For each shape the floor and the node are measured in turn, several times, because the machine is noisy: the
//! ratio given is the median of the ratios of neighbouring measurements. The floor writes each message to each
//! member as it comes, so where messages bunch a node that joins writes can come out below it.

use serde::Serialize;
use serde_json::json;

use crate::children;
use crate::door::{Door, DoorOptions, Event, Speech};
use crate::host::Host;
use crate::measure::{Figures, measure};
use crate::meter::CpuSpent;
use crate::node::NodeOptions;
use crate::report::{self, BUSY, Output, Table, median, number, spread};
use crate::shape::{Shape, ShapeOptions};
use crate::stored;
use crate::target::{Backing, GivenOptions, Kind, Target};
use crate::{Result, postgres};

/// `rig fanout`
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    shapes: ShapeOptions,
    /// Also measure a node with Redis.
    #[arg(long)]
    redis: bool,
    #[command(flatten)]
    given: GivenOptions,
    #[command(flatten)]
    door: DoorOptions,
    #[command(flatten)]
    node: NodeOptions,
    #[command(flatten)]
    output: Output,
}

/// `rig floor`
#[derive(Debug, clap::Args)]
pub struct FloorOptions {
    #[command(flatten)]
    shapes: ShapeOptions,
    #[command(flatten)]
    output: Output,
}

/// All measurements of one shape, in the order they were made.
#[derive(Debug, Serialize)]
pub struct Results {
    pub shape: Shape,
    /// Per server but the floor: median of its CPU over the floor's.
    ratios: Vec<(Kind, f64)>,
    pub measurements: Vec<Figures>,
}

pub fn run(options: &Options) -> Result<()> {
    let mut kinds = vec![Kind::Floor];
    match (&options.given.url, options.redis) {
        (Some(_), _) => kinds.push(Kind::Given),
        (None, false) => kinds.push(Kind::Node),
        (None, true) => kinds.extend([Kind::Node, Kind::NodeWithRedis]),
    }
    let speech = options.door.speech()?;
    let start = |kind: Kind, shape: &Shape| match kind {
        Kind::Floor => Target::floor(&speech, shape.payload),
        Kind::Node | Kind::NodeWithRedis => {
            let backing = Backing {
                redis: kind == Kind::NodeWithRedis,
                fsync: !options.door.no_fsync,
            };
            Target::node(&speech, &options.node, backing, &shape.room_names())
        }
        Kind::Given => Target::given(&options.given),
    };
    let mut versions = match &options.given.url {
        Some(url) => vec![url.clone()],
        None => vec![options.node.version()?],
    };
    if options.redis {
        versions.push(children::version_of("redis-server".as_ref())?);
    }
    let keeps = speech.recorded && options.given.url.is_none();
    if keeps {
        versions.push(postgres::version()?);
    }
    let host = Host::describe(versions);
    let event = options.door.event();
    let results = compare(
        &options.shapes.shapes(event)?,
        options.shapes.repeat,
        &kinds,
        start,
    )?;
    let settings = json!({
        "env": options.node.settings(),
        "url": options.given.url,
        "door": options.door.door,
        "event": event,
        "ids": speech.acknowledged,
        "fsync": keeps.then_some(!options.door.no_fsync),
    });
    let mut tables = vec![table(&results)];
    if keeps && speech.stored {
        tables.push(stored::table(&results, !options.door.no_fsync));
    }
    report::publish("fanout", &options.output, host, settings, &tables, &results)?;
    match stored::differences(&results).into_iter().next() {
        Some(difference) => Err(difference.into()),
        None => Ok(()),
    }
}

/// The floor alone, several times: how steady the machine is.
pub fn run_floor(options: &FloorOptions) -> Result<()> {
    let host = Host::describe(Vec::new());
    let shapes = options.shapes.shapes(Event::Chat)?;
    let speech = Speech::of(Door::Pairing, Event::Chat)?;
    let results = compare(
        &shapes,
        options.shapes.repeat,
        &[Kind::Floor],
        |_, shape| Target::floor(&speech, shape.payload),
    )?;
    report::publish(
        "floor",
        &options.output,
        host,
        json!({}),
        &[table(&results)],
        &results,
    )
}

fn compare(
    shapes: &[Shape],
    repeat: u32,
    kinds: &[Kind],
    start: impl Fn(Kind, &Shape) -> Result<Target>,
) -> Result<Vec<Results>> {
    let mut results = Vec::new();
    for shape in shapes {
        let mut measurements = Vec::new();
        for round in 1..=repeat {
            for &kind in kinds {
                eprintln!("{}: {} ({round} of {repeat})", shape.name, kind.label(),);
                let target = start(kind, shape)?;
                let figures = measure(kind, &target, shape).map_err(|error| {
                    format!("{}: {error}\n{}", kind.label(), target.last_words())
                })?;
                measurements.push(figures);
            }
        }
        let ratios = kinds
            .iter()
            .skip(1)
            .map(|&kind| (kind, median(ratios(&measurements, kind))))
            .collect();
        results.push(Results {
            shape: shape.clone(),
            ratios,
            measurements,
        });
    }
    Ok(results)
}

/// CPU per delivery of `kind` over that of the floor measured in the same round.
fn ratios(measurements: &[Figures], kind: Kind) -> Vec<f64> {
    let floor = of_kind(measurements, Kind::Floor).map(Figures::cpu_us);
    of_kind(measurements, kind)
        .map(Figures::cpu_us)
        .zip(floor)
        .map(|(own, floor)| own / floor)
        .collect()
}

pub fn of_kind(measurements: &[Figures], kind: Kind) -> impl Iterator<Item = &Figures> {
    measurements
        .iter()
        .filter(move |figures| figures.target == kind)
}

fn table(results: &[Results]) -> Table {
    let mut table = Table::new(&[
        "shape",
        "server",
        "deliveries/s",
        "delivered",
        "user µs",
        "system µs",
        "CPU µs",
        "× floor",
        "spread",
        "Redis µs",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "late p99 ms",
    ]);
    for Results {
        shape,
        measurements,
        ..
    } in results
    {
        for kind in kinds_of(measurements) {
            table.row(row(shape, measurements, kind));
        }
        let busiest = measurements
            .iter()
            .map(|figures| figures.others_cores)
            .fold(0.0, f64::max);
        if busiest > BUSY {
            table.note(report::busy(&shape.name, busiest));
        }
        for figures in measurements {
            let who = format!("{}, {}", shape.name, figures.target.label());
            if let Some(error) = &figures.first_error {
                table.note(format!("{who}: error frames were heard, the first {error}"));
            }
            if let Some(why) = &figures.first_closed {
                table.note(format!(
                    "{who}: {} sockets were closed, the first by {why}",
                    figures.closed
                ));
            }
        }
    }
    table
}

/// In the order in which they were measured first.
pub fn kinds_of(measurements: &[Figures]) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::new();
    for figures in measurements {
        if !kinds.contains(&figures.target) {
            kinds.push(figures.target);
        }
    }
    kinds
}

fn row(shape: &Shape, measurements: &[Figures], kind: Kind) -> Vec<String> {
    let of = |figure: &dyn Fn(&Figures) -> f64| median(of_kind(measurements, kind).map(figure));
    let server =
        |part: fn(CpuSpent) -> f64| of(&|f: &Figures| f.server_cpu_us.map_or(f64::NAN, part));
    let against: Vec<f64> = match kind {
        // The floor has no ratio; its spread is that of its own figures, the noise of the machine.
        Kind::Floor => of_kind(measurements, kind)
            .map(|f| f.cpu_us() / of(&Figures::cpu_us))
            .collect(),
        _ => ratios(measurements, kind),
    };
    vec![
        shape.name.clone(),
        kind.label().into(),
        number(of(&|f| f.deliveries_per_s), 0),
        number(of(&|f| f.delivered as f64 / f.expected as f64), 4),
        number(server(|cpu| cpu.user_us), 2),
        number(server(|cpu| cpu.system_us), 2),
        number(of(&Figures::cpu_us), 2),
        number(median(against.iter().copied()), 2),
        spread(against),
        number(
            of(&|f| f.redis_cpu_us.map_or(f64::NAN, CpuSpent::total_us)),
            2,
        ),
        number(of(&|f| f.p50_us / 1e3), 3),
        number(of(&|f| f.p99_us / 1e3), 3),
        number(of(&|f| f.p999_us / 1e3), 3),
        number(of(&|f| f.late_p99_us / 1e3), 3),
    ]
}
