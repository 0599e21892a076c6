//! One measurement of one server under one shape of load.
//!
//! CPU time is taken from the first message to the last delivery; connecting, greeting and a second of warm-up
//! are left out.

use std::time::Duration;

use serde::Serialize;

use crate::generator::Generator;
use crate::meter::{Cpu, CpuSpent, Machine};
use crate::report::quantile_us;
use crate::shape::Shape;
use crate::stored::{Books, Stored};
use crate::tally::Tally;
use crate::target::{Kind, Target};
use crate::{Result, host, stamp, wire};

const QUIET: Duration = Duration::from_millis(300);
const STALL: Duration = Duration::from_secs(2);
const DRAIN: Duration = Duration::from_secs(30);

/// What one measurement of one server gave.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    pub target: Kind,
    pub messages: u64,
    pub expected: u64,
    pub delivered: u64,
    pub deliveries_per_s: f64,
    /// Mean payload of a delivery, to see that floor and node write about as much.
    pub delivery_bytes: f64,
    /// Of the server per delivery; absent when its process is not known.
    pub server_cpu_us: Option<CpuSpent>,
    pub redis_cpu_us: Option<CpuSpent>,
    pub generator_cpu_us: CpuSpent,
    /// Where a database keeps what is sent.
    pub stored: Option<Stored>,
    /// Cores that processes outside the measurement kept busy during it.
    pub others_cores: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    /// How late the generator sent, 99th percentile.
    pub late_p99_us: f64,
    pub errors: u64,
    pub first_error: Option<String>,
    pub closed: usize,
    pub first_closed: Option<String>,
}

impl Figures {
    /// CPU of the server per delivery; NaN when its process is not known.
    pub fn cpu_us(&self) -> f64 {
        self.server_cpu_us.map_or(f64::NAN, CpuSpent::total_us)
    }

    /// What is `spent` per delivery, per message instead; NaN of a process that is not known.
    pub fn per_message(&self, spent: Option<CpuSpent>) -> f64 {
        let deliveries = self.delivered as f64 / self.messages as f64;
        spent.map_or(f64::NAN, |spent| spent.total_us() * deliveries)
    }
}

/// Seats everybody, warms up, runs the shape and waits for the last delivery.
pub fn measure(kind: Kind, target: &Target, shape: &Shape) -> Result<Figures> {
    let mut generator = Generator::new()?;
    let mut tally = Tally::default();
    let places: Vec<(String, String)> = shape.places().collect();
    let seats = places
        .iter()
        .map(|(room, user)| target.seat(room, user))
        .collect::<Result<Vec<_>>>()?;
    generator.seat(&seats, &mut tally)?;
    generator.settle(QUIET, DRAIN, &mut tally)?;

    let mut messages = Messages::new(target, shape, &places);
    let warm_up = shape.pace(1.0);
    let mut fire = |generator: &mut Generator, socket: usize| messages.send(generator, socket);
    warm_up.run(&mut generator, &mut tally, &mut fire)?;
    generator.settle(QUIET, DRAIN, &mut tally)?;
    let books = target.store();
    let books = books.map(|store| Books::open(store, warm_up.messages()));
    let books = books.transpose()?;

    let pace = shape.pace(shape.seconds as f64);
    tally = Tally::default();
    let cpu = |pid: Option<u32>| pid.map(Cpu::of).transpose();
    let (server, redis, own) = (cpu(target.pid)?, cpu(target.redis_pid)?, Cpu::own()?);
    let machine = Machine::read()?;
    let start = host::now();
    let lateness = pace.run(&mut generator, &mut tally, &mut fire)?;
    let scheduled = host::now();
    generator.settle(QUIET, DRAIN, &mut tally)?;
    let expected = pace.messages() * (shape.members - usize::from(!target.echoes())) as u64;
    let acknowledged = |tally: &Tally| tally.acknowledgement.len();
    let expected_acks = pace.messages() * u64::from(target.acknowledges());
    if tally.delivered < expected || acknowledged(&tally) < expected_acks {
        // A server that stalls may still deliver.
        generator.settle(STALL, DRAIN, &mut tally)?;
    }
    let spent = |earlier: Option<Cpu>, pid: Option<u32>| -> Result<Option<CpuSpent>> {
        Ok(cpu(pid)?
            .zip(earlier)
            .map(|(now, earlier)| now.since(earlier)))
    };
    let (server, redis) = (spent(server, target.pid)?, spent(redis, target.redis_pid)?);
    let database = books.as_ref().map(Books::spent).transpose()?;
    let own = Cpu::own()?.since(own);
    let known = [server, redis, database, Some(own)]
        .into_iter()
        .flatten()
        .map(CpuSpent::total_us)
        .sum();
    let others_cores = machine.others_since(known)?;
    let each = |spent: CpuSpent| spent.per(tally.delivered);

    let seconds = (tally.last.max(scheduled) - start) as f64 / 1e9;
    let stored = books.zip(database).map(|(books, spent)| {
        let sent = warm_up.messages() + pace.messages();
        books.close(spent, sent, pace.messages(), &tally, seconds)
    });
    let (closed, first_closed) = generator.closed();
    let quantile = |q: f64| quantile_us(&tally.latency, q);
    Ok(Figures {
        target: kind,
        messages: pace.messages(),
        expected,
        delivered: tally.delivered,
        deliveries_per_s: tally.delivered as f64 / seconds,
        delivery_bytes: tally.bytes as f64 / tally.delivered as f64,
        server_cpu_us: server.map(each),
        redis_cpu_us: redis.map(each),
        generator_cpu_us: each(own),
        stored: stored.transpose()?,
        others_cores,
        p50_us: quantile(0.5),
        p99_us: quantile(0.99),
        p999_us: quantile(0.999),
        late_p99_us: quantile_us(&lateness, 0.99),
        errors: tally.errors,
        first_error: tally.first_error.clone(),
        closed,
        first_closed: first_closed.map(str::to_owned),
    })
}

/// The frames of the senders, made beforehand; sending one only writes its time.
struct Messages {
    /// Each sender's frame and where its stamps lie, that of the text and that of the id, rooms one after another.
    frames: Vec<(Vec<u8>, usize, Option<usize>)>,
    members: usize,
    senders: usize,
}

impl Messages {
    fn new(target: &Target, shape: &Shape, places: &[(String, String)]) -> Self {
        let frames = places
            .chunks(shape.members)
            .flat_map(|room| &room[..shape.senders])
            .map(|(room, user)| {
                let text = target.message(room, user, shape.payload);
                let frame = wire::client_frame(wire::TEXT, text.as_bytes());
                let at = stamp::Finder::default().find(&frame).unwrap_or_default();
                let id = stamp::Finder::of_ids().find(&frame);
                (frame, at, id)
            })
            .collect();
        Self {
            frames,
            members: shape.members,
            senders: shape.senders,
        }
    }

    fn send(&mut self, generator: &mut Generator, socket: usize) -> Result<()> {
        let index = socket / self.members * self.senders + socket % self.members;
        let (frame, at, id) = &mut self.frames[index];
        let now = host::now();
        stamp::write(frame, *at, now);
        if let Some(id) = *id {
            stamp::write(frame, id, now);
        }
        generator.send(socket, frame)
    }
}
