//! Every metric of the node: name, unit, labels, and the one place that counts it.
//!
//! Handles are looked up once; counting is an atomic addition. No label ever names a room, a user or a
//! socket, so a node stays below a few hundred series.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

pub use self::list::LIST;

mod list;

/// Upper bounds of the histograms, in seconds.
pub const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// The same of what takes minutes.
pub const MINUTES: &[f64] = &[
    0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0,
];
/// Histograms with these bounds.
const LONG: [&str; 2] = [
    "collab_agent_run_duration_seconds",
    "collab_hook_delay_seconds",
];
/// Upper bounds of `collab_fanout_recipients`, in sockets.
pub const RECIPIENTS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 500.0, 1_000.0, 5_000.0,
];

/// How often samples of histograms are taken in.
const UPKEEP: Duration = Duration::from_secs(5);

/// One in this many frequent events is timed: a histogram keeps every sample until it is read, and
/// taking all of them costs more than it tells.
pub const SAMPLED: u64 = 8;

/// One row of the table of metrics.
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub unit: Option<Unit>,
    pub labels: &'static str,
    pub help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The node's metrics. Before a recorder is installed they count into nothing.
pub fn metrics() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);
    &METRICS
}

/// Tells the recorder units and descriptions.
fn describe() {
    for metric in LIST {
        let unit = metric.unit.unwrap_or(Unit::Count);
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, unit, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, unit, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, unit, metric.help),
        }
    }
}

/// Installs the recorder and serves `/metrics` at this address.
pub fn export(address: SocketAddr) -> Result<(), String> {
    let recipients = Matcher::Full("collab_fanout_recipients".to_owned());
    let mut builder = PrometheusBuilder::new();
    for long in LONG {
        let name = Matcher::Full(long.to_owned());
        let set = builder.set_buckets_for_metric(name, MINUTES);
        builder = set.map_err(|error| error.to_string())?;
    }
    let (recorder, exporter) = builder
        .with_http_listener(address)
        .set_buckets(SECONDS)
        .and_then(|builder| builder.set_buckets_for_metric(recipients, RECIPIENTS))
        .and_then(PrometheusBuilder::build)
        .map_err(|error| format!("cannot serve metrics on {address}: {error}; see METRICS_PORT"))?;
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|error| error.to_string())?;
    describe();
    let process = metrics_process::Collector::default();
    process.describe();
    // Both end with the process.
    tokio::spawn(exporter);
    tokio::spawn(async move {
        let mut every = tokio::time::interval(UPKEEP);
        loop {
            every.tick().await;
            process.collect();
            handle.run_upkeep();
        }
    });
    Ok(())
}

pub struct Metrics {
    received_bytes: Counter,
    sent_bytes: Counter,
    fanout_local: Histogram,
    fanout_remote: Histogram,
    fanout_recipients: Histogram,
    backplane_lag: Histogram,
    conflated: Counter,
    routed: Counter,
    /// The same, readable: a counter of the recorder is not.
    routed_so_far: AtomicU64,
    handshake: Histogram,
    duplicates: Counter,
}

impl Metrics {
    fn new() -> Self {
        Self {
            received_bytes: counter!("collab_received_bytes_total"),
            sent_bytes: counter!("collab_sent_bytes_total"),
            fanout_local: histogram!("collab_fanout_latency_seconds", "path" => "local"),
            fanout_remote: histogram!("collab_fanout_latency_seconds", "path" => "remote"),
            fanout_recipients: histogram!("collab_fanout_recipients"),
            backplane_lag: histogram!("collab_backplane_lag_seconds"),
            conflated: counter!("collab_outbox_conflated_total"),
            routed: counter!("collab_events_routed_total"),
            routed_so_far: AtomicU64::new(0),
            handshake: histogram!("collab_handshake_duration_seconds"),
            duplicates: counter!("collab_messages_dropped_total", "reason" => "duplicate"),
        }
    }

    pub fn opened(&self, door: &'static str) {
        counter!("collab_connections_opened_total", "door" => door).increment(1);
        gauge!("collab_connections", "door" => door).increment(1.0);
    }

    pub fn closed(&self, door: &'static str, code: u16) {
        counter!("collab_connections_closed_total", "code" => code.to_string()).increment(1);
        gauge!("collab_connections", "door" => door).decrement(1.0);
    }

    pub fn rejected(&self, reason: &'static str) {
        counter!("collab_connections_rejected_total", "reason" => reason).increment(1);
    }

    pub fn handshake(&self, took: Duration) {
        self.handshake.record(took);
    }

    pub fn received_bytes(&self, bytes: usize) {
        self.received_bytes.increment(bytes as u64);
    }

    /// For each door the counters of its messages, looked up once by the door.
    pub fn door(&self, door: &'static str, kinds: &[&'static str]) -> DoorMetrics {
        let received = |kind: &&'static str| {
            let kind = *kind;
            let counter =
                counter!("collab_messages_received_total", "door" => door, "type" => kind);
            (kind, counter)
        };
        DoorMetrics {
            sent: counter!("collab_messages_sent_total", "door" => door),
            received: kinds.iter().map(received).collect(),
        }
    }

    pub fn sent_bytes(&self, bytes: usize) {
        self.sent_bytes.increment(bytes as u64);
    }

    /// Events were delivered to this node's rooms.
    pub fn routed(&self, events: u64) {
        self.routed.increment(events);
        self.routed_so_far.fetch_add(events, Ordering::Relaxed);
    }

    /// An event was written to its recipients `took` after it was committed.
    pub fn fanned_out(&self, local: bool, took: Duration, recipients: usize) {
        let path = if local {
            &self.fanout_local
        } else {
            &self.fanout_remote
        };
        path.record(took);
        self.fanout_recipients.record(recipients as f64);
    }

    /// Events delivered to this node's rooms since it started.
    pub fn routed_so_far(&self) -> u64 {
        self.routed_so_far.load(Ordering::Relaxed)
    }

    /// An event was heard `took` after it was committed.
    pub fn heard(&self, took: Duration) {
        self.backplane_lag.record(took);
    }

    /// A whole text met others' changes, and was merged with them.
    pub fn text_merged(&self) {
        counter!("collab_text_merges_total").increment(1);
    }

    /// The store got back what it had lost of a text.
    pub fn document_healed(&self) {
        counter!("collab_documents_healed_total").increment(1);
    }

    /// A snapshot took the place of a log; false: another node's had.
    pub fn document_compacted(&self, done: bool) {
        let outcome = if done { "done" } else { "overtaken" };
        counter!("collab_documents_compacted_total", "outcome" => outcome).increment(1);
    }

    /// Texts in this node's memory.
    pub fn documents(&self, warm: usize) {
        gauge!("collab_documents").set(warm as f64);
    }

    pub fn conflated(&self, frames: u64) {
        self.conflated.increment(frames);
    }

    pub fn dropped(&self, reason: &'static str, count: u64) {
        counter!("collab_messages_dropped_total", "reason" => reason).increment(count);
    }

    pub fn duplicate(&self) {
        self.duplicates.increment(1);
    }

    pub fn reject(&self, code: &'static str) {
        counter!("collab_rejects_total", "code" => code).increment(1);
    }

    pub fn backplane_connected(&self, connected: bool) {
        gauge!("collab_backplane_connected").set(f64::from(u8::from(connected)));
    }

    pub fn backplane_reconnects(&self) {
        counter!("collab_backplane_reconnects_total").increment(1);
    }

    pub fn gap(&self, outcome: &'static str) {
        counter!("collab_backplane_gaps_total", "outcome" => outcome).increment(1);
    }

    /// A socket came back and said where it was: it got what it missed, or everything.
    pub fn resumed(&self, replayed: bool) {
        let outcome = if replayed { "replayed" } else { "snapshot" };
        counter!("collab_resumes_total", "outcome" => outcome).increment(1);
    }

    /// How to time one operation of the backplane; of `frequent` ones one call in [`SAMPLED`] is taken.
    pub fn backplane_op(&self, op: &'static str, frequent: bool) -> OpMetrics {
        OpMetrics {
            took: histogram!("collab_backplane_command_duration_seconds", "op" => op),
            one_in: if frequent { SAMPLED } else { 1 },
            calls: AtomicU64::new(0),
        }
    }

    pub fn records(&self, op: &'static str, took: Duration) {
        histogram!("collab_records_duration_seconds", "op" => op).record(took);
    }

    pub fn http(&self, route: &'static str, status: u16, took: Duration) {
        counter!("collab_http_requests_total", "route" => route, "status" => status.to_string())
            .increment(1);
        histogram!("collab_http_request_duration_seconds", "route" => route).record(took);
    }

    pub fn run_started(&self) {
        counter!("collab_agent_runs_started_total").increment(1);
    }

    /// `status` is one of three.
    pub fn run_ended(&self, status: &str, lost: bool, took_ms: u64) {
        let status = if lost { "lost" } else { status };
        counter!("collab_agent_runs_ended_total", "status" => status.to_owned()).increment(1);
        histogram!("collab_agent_run_duration_seconds").record(took_ms as f64 / 1_000.0);
    }

    /// What came of telling the IDE bridge of an event.
    pub fn hook(&self, result: &'static str) {
        counter!("collab_hooks_total", "result" => result).increment(1);
    }

    /// How late the bridge was told.
    pub fn hook_told(&self, after: Duration) {
        histogram!("collab_hook_delay_seconds").record(after);
    }

    /// The metrics of a service that this one asks.
    pub fn neighbour(&self, neighbour: &'static str) -> NeighbourMetrics {
        let metrics = NeighbourMetrics {
            neighbour,
            took: histogram!("collab_neighbour_request_duration_seconds", "neighbour" => neighbour),
            open: gauge!("collab_neighbour_open", "neighbour" => neighbour),
        };
        metrics.open(false);
        for result in ["ok", "not_found", "failed", "timeout", "open", "busy"] {
            metrics.asked(result, 0);
        }
        metrics
    }

    /// What is counted by looking, every few seconds.
    pub fn observe(&self, seen: &Observation) {
        gauge!("collab_rooms").set(seen.rooms as f64);
        gauge!("collab_subscriptions").set(seen.subscriptions as f64);
        gauge!("collab_outbox_bytes").set(seen.outbox_bytes as f64);
        gauge!("collab_cluster_nodes").set(seen.cluster_nodes as f64);
    }

    /// The node is on its way out.
    pub fn draining(&self, draining: bool) {
        gauge!("collab_draining").set(f64::from(u8::from(draining)));
    }

    /// Sockets still to be closed.
    pub fn drain_remaining(&self, sockets: usize) {
        gauge!("collab_drain_remaining_connections").set(sockets as f64);
    }

    /// How a socket took being asked to go.
    pub fn drain_closed(&self, result: &'static str) {
        counter!("collab_drain_closed_total", "result" => result).increment(1);
    }

    /// Members of a dead node, taken out by this one.
    pub fn reaped(&self, sockets: usize) {
        counter!("collab_reaped_members_total").increment(sockets as u64);
    }

    /// This process stood still for longer than its lease.
    pub fn paused(&self) {
        counter!("collab_pauses_total").increment(1);
    }

    /// Recipients of a directed event: there, kept for, with a full inbox, and in all.
    pub fn directed(&self, present: usize, kept: usize, full: usize, all: usize) {
        let absent = all - present - kept - full;
        for (outcome, users) in [
            ("present", present),
            ("kept", kept),
            ("full", full),
            ("absent", absent),
        ] {
            counter!("collab_directed_total", "outcome" => outcome).increment(users as u64);
        }
    }

    /// A notification was committed, or had been; was told to this node's sockets; or some may be lost to them.
    pub fn notification(&self, outcome: &'static str) {
        counter!("collab_notifications_total", "outcome" => outcome).increment(1);
    }

    /// A request was passed to another node: answered, unanswered, or not passed because too many were.
    pub fn passed(&self, outcome: &'static str) {
        counter!("collab_passed_requests_total", "outcome" => outcome).increment(1);
    }

    /// One more request is under way to another node, or one less.
    pub fn passing(&self, more: f64) {
        gauge!("collab_passing_requests").increment(more);
    }

    /// The same of what only a node has that takes events out of a queue.
    pub fn intake_begins(&self) {
        self.intake_connected(false);
        self.intake_in_flight(0);
        for result in ["created", "existing", "ended", "dead", "retried"] {
            counter!("collab_match_events_total", "result" => result).increment(0);
        }
    }

    pub fn intake_connected(&self, connected: bool) {
        gauge!("collab_intake_connected").set(f64::from(u8::from(connected)));
    }

    pub fn intake_in_flight(&self, events: usize) {
        gauge!("collab_match_events_in_flight").set(events as f64);
    }

    /// What became of a match event, and after how long.
    pub fn match_event(&self, result: &'static str, took: Duration) {
        counter!("collab_match_events_total", "result" => result).increment(1);
        histogram!("collab_match_event_duration_seconds").record(took);
    }

    /// It came to nothing yet, and is tried again.
    pub fn match_event_retried(&self) {
        counter!("collab_match_events_total", "result" => "retried").increment(1);
    }

    /// So that every series exists from the start, with zero.
    pub fn begin(&self, version: &'static str, door: &'static str, most: usize) {
        gauge!("collab_build_info", "version" => version).set(1.0);
        gauge!("collab_connections_limit").set(most as f64);
        gauge!("collab_connections", "door" => door).set(0.0);
        self.backplane_connected(false);
        self.draining(false);
        self.drain_remaining(0);
        for result in ["closed", "forced"] {
            counter!("collab_drain_closed_total", "result" => result).increment(0);
        }
        self.reaped(0);
        self.directed(0, 0, 0, 0);
        self.passing(0.0);
        for outcome in ["answered", "unanswered", "busy"] {
            counter!("collab_passed_requests_total", "outcome" => outcome).increment(0);
        }
        counter!("collab_pauses_total").increment(0);
        for outcome in ["committed", "repeated", "told", "lost"] {
            counter!("collab_notifications_total", "outcome" => outcome).increment(0);
        }
        for outcome in ["replayed", "snapshot"] {
            counter!("collab_resumes_total", "outcome" => outcome).increment(0);
        }
        counter!("collab_backplane_reconnects_total").increment(0);
        counter!("collab_text_merges_total").increment(0);
        counter!("collab_documents_healed_total").increment(0);
        for outcome in ["done", "overtaken"] {
            counter!("collab_documents_compacted_total", "outcome" => outcome).increment(0);
        }
        for outcome in ["filled", "snapshot", "failed"] {
            counter!("collab_backplane_gaps_total", "outcome" => outcome).increment(0);
        }
        for reason in ["backplane_lagged", "relay_full", "unreadable", "unrecorded"] {
            self.dropped(reason, 0);
        }
        self.observe(&Observation::default());
    }
}

#[derive(Debug, Default)]
pub struct Observation {
    pub rooms: usize,
    pub subscriptions: usize,
    pub outbox_bytes: usize,
    pub cluster_nodes: usize,
}

/// The timing of one operation of the backplane.
pub struct OpMetrics {
    took: Histogram,
    one_in: u64,
    calls: AtomicU64,
}

impl OpMetrics {
    pub fn took(&self, took: Duration) {
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        if calls.is_multiple_of(self.one_in) {
            self.took.record(took);
        }
    }
}

/// What comes of asking another service.
pub struct NeighbourMetrics {
    neighbour: &'static str,
    took: Histogram,
    open: Gauge,
}

impl NeighbourMetrics {
    pub fn asked(&self, result: &'static str, times: u64) {
        let neighbour = self.neighbour;
        counter!("collab_neighbour_requests_total", "neighbour" => neighbour, "result" => result)
            .increment(times);
    }

    pub fn took(&self, took: Duration) {
        self.took.record(took);
    }

    /// Whether it is left alone.
    pub fn open(&self, open: bool) {
        self.open.set(f64::from(u8::from(open)));
    }
}

pub struct DoorMetrics {
    sent: Counter,
    received: Vec<(&'static str, Counter)>,
}

impl DoorMetrics {
    pub fn received(&self, kind: &'static str) {
        if let Some((_, counter)) = self.received.iter().find(|(known, _)| *known == kind) {
            counter.increment(1);
        }
    }

    pub fn sent(&self, messages: usize) {
        self.sent.increment(messages as u64);
    }
}
