//! Idle sockets: what one costs in memory, fresh and after it has once carried something large.
//!
//! A server that keeps its largest buffer looks slim until the first large message, so both are measured: after
//! all greetings, and again when every socket has sent one message of 8 KB. Each time the traffic has drained and
//! some seconds have passed, so that an allocator had its chance to give memory back. With Redis as the state's
//! home (the default) what grows in the node is the sockets; with the memory backplane the rooms' texts are in it
//! too. The floor goes through the same, and shows what the kernel takes for any socket.

use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use crate::door::{Door, Event, Speech};
use crate::generator::Generator;
use crate::host::Host;
use crate::meter::{Kernel, Resident};
use crate::node::NodeOptions;
use crate::pace::{Pace, Phase};
use crate::report::{self, Output, Table, number};
use crate::shape::room;
use crate::target::{Backing, Kind, Target};
use crate::{Result, stamp, wire};

const STILL: Duration = Duration::from_secs(1);
const DRAIN: Duration = Duration::from_secs(120);

/// `rig idle`
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Sockets, in rooms of two.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(2..))]
    sockets: u32,
    /// Characters of code that each socket sends once.
    #[arg(long, default_value_t = 8_000)]
    code: usize,
    /// How many of these messages are sent per second, over all sockets.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Seconds of quiet before memory is read, both times.
    #[arg(long, default_value_t = 10)]
    rest: u64,
    /// A node without Redis: its memory then holds the rooms' texts too.
    #[arg(long)]
    memory_backplane: bool,
    /// The door by which sockets come in.
    #[arg(long, value_enum, default_value = "pairing")]
    door: Door,
    #[command(flatten)]
    node: NodeOptions,
    #[command(flatten)]
    output: Output,
}

/// KiB per socket.
#[derive(Debug, Clone, Copy, Serialize)]
struct Growth {
    resident: Resident,
    kernel: Kernel,
}

#[derive(Debug, Serialize)]
struct Figures {
    target: Kind,
    sockets: usize,
    idle: Growth,
    after_traffic: Growth,
    /// Messages sent and heard while each socket sent its one.
    sent: u64,
    heard: u64,
    closed: usize,
    first_closed: Option<String>,
}

pub fn run(options: &Options) -> Result<()> {
    let kind = if options.memory_backplane {
        Kind::Node
    } else {
        Kind::NodeWithRedis
    };
    let speech = Speech::of(options.door, Event::Code)?;
    let host = Host::describe(vec![options.node.version()?]);
    let mut results = Vec::new();
    for kind in [Kind::Floor, kind] {
        eprintln!("{}: {} sockets", kind.label(), options.sockets);
        let target = match kind {
            Kind::Floor => Target::floor(&speech, options.code)?,
            _ => {
                let backing = Backing {
                    redis: kind == Kind::NodeWithRedis,
                    fsync: true,
                };
                let rooms: Vec<_> = (0..options.sockets.div_ceil(2) as usize)
                    .map(room)
                    .collect();
                Target::node(&speech, &options.node, backing, &rooms)?
            }
        };
        let figures = measure(kind, &target, options)
            .map_err(|error| format!("{}: {error}\n{}", kind.label(), target.last_words()))?;
        results.push(figures);
    }
    let settings = json!({"env": options.node.settings(), "door": options.door, "code": options.code, "rest_s": options.rest});
    report::publish(
        "idle",
        &options.output,
        host,
        settings,
        &[table(&results)],
        &results,
    )
}

fn measure(kind: Kind, target: &Target, options: &Options) -> Result<Figures> {
    let sockets = options.sockets as usize;
    let pid = target.pid.ok_or("the server's process is not known")?;
    let rest = Duration::from_secs(options.rest);
    let mut heard = 0;
    let mut finder = stamp::Finder::default();
    let mut listener =
        |_: usize, payload: &[u8]| heard += u64::from(finder.find(payload).is_some());
    let mut generator = Generator::new()?;
    generator.serve(STILL, &mut listener)?;
    let (resident, kernel) = (Resident::of(pid)?, Kernel::read()?);
    let growth = || -> Result<Growth> {
        Ok(Growth {
            resident: Resident::of(pid)?.grown_per(resident, sockets),
            kernel: Kernel::read()?.grown_per_end(kernel, sockets),
        })
    };

    let place = |n: usize| (room(n / 2), format!("u{n:05}"));
    let seats = (0..sockets)
        .map(place)
        .map(|(room, user)| target.seat(&room, &user))
        .collect::<Result<Vec<_>>>()?;
    generator.seat(&seats, &mut listener)?;
    generator.settle(STILL, DRAIN, &mut listener)?;
    generator.serve(rest, &mut listener)?;
    let idle = growth()?;

    let everybody = Vec::from_iter(0..sockets);
    let period = Duration::from_secs_f64(sockets as f64 / f64::from(options.rate));
    let pace = Pace::new(&[everybody], Phase::Even, period, 1);
    pace.run(&mut generator, &mut listener, |generator, socket| {
        let (room, user) = place(socket);
        let change = target.message(&room, &user, options.code);
        generator.send(socket, &wire::client_frame(wire::TEXT, change.as_bytes()))
    })?;
    generator.settle(STILL, DRAIN, &mut listener)?;
    generator.serve(rest, &mut listener)?;
    let after_traffic = growth()?;

    let (closed, first_closed) = generator.closed();
    let first_closed = first_closed.map(str::to_owned);
    Ok(Figures {
        target: kind,
        sockets,
        idle,
        after_traffic,
        sent: pace.messages(),
        heard,
        closed,
        first_closed,
    })
}

fn table(results: &[Figures]) -> Table {
    let mut table = Table::new(&[
        "KiB per socket",
        "when",
        "RSS",
        "PSS",
        "anonymous",
        "kernel slab",
        "TCP buffers",
        "RSS + kernel",
        "× floor",
    ]);
    let total =
        |growth: &Growth| growth.resident.rss + growth.kernel.slab + growth.kernel.tcp_buffers;
    for figures in results {
        let phases = [
            ("idle", figures.idle, results[0].idle),
            (
                "after traffic",
                figures.after_traffic,
                results[0].after_traffic,
            ),
        ];
        for (when, growth, floor) in phases {
            table.row([
                figures.target.label().into(),
                when.into(),
                number(growth.resident.rss, 2),
                number(growth.resident.pss, 2),
                number(growth.resident.anonymous, 2),
                number(growth.kernel.slab, 2),
                number(growth.kernel.tcp_buffers, 2),
                number(total(&growth), 2),
                number(total(&growth) / total(&floor), 2),
            ]);
        }
        let who = figures.target.label();
        table.note(format!(
            "{who}: {} messages sent by {} sockets, {} heard",
            figures.sent, figures.sockets, figures.heard
        ));
        if let Some(why) = &figures.first_closed {
            table.note(format!(
                "{who}: {} sockets were closed, the first by {why}",
                figures.closed
            ));
        }
    }
    table.note("kernel figures are the whole machine's growth, shared out over both ends of each connection".into());
    table
}
