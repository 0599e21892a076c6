//! What became of messages in the database: whether each of them has its row, how fast, and what that cost.
//!
//! A message is stored before anybody hears it and marked when it was told; who sent it under an id is told then. So the
//! rows that are counted, those that are marked, are all there when all is acknowledged.

use serde::Serialize;

use crate::fanout::{Results, kinds_of, of_kind};
use crate::measure::Figures;
use crate::meter::{Cpu, CpuSpent};
use crate::postgres::Postgres;
use crate::report::{Table, median, number, quantile_us};
use crate::tally::Tally;
use crate::target::Kind;
use crate::{Result, disk};

/// One measurement of what is kept.
#[derive(Debug, Clone, Serialize)]
pub struct Stored {
    /// Messages that were sent to this database's node, warm-up and all, and those that are there.
    pub sent: u64,
    pub rows: u64,
    /// Rows of the measurement, over the time until the last of it was heard or acknowledged.
    pub per_s: f64,
    /// Of all the database's processes, per message.
    pub database_cpu_us: CpuSpent,
    pub acknowledged: u64,
    pub acknowledged_p50_us: f64,
    pub acknowledged_p99_us: f64,
    /// A page written and synced by nobody else's help, just before.
    pub disk_sync_us: f64,
}

/// The database as it is before a measurement.
pub struct Books<'a> {
    postgres: &'a Postgres,
    rows: u64,
    cpu: Cpu,
    disk_sync_us: f64,
}

impl<'a> Books<'a> {
    /// Waits until the `sent` messages of the warm-up are there.
    pub fn open(postgres: &'a Postgres, sent: u64) -> Result<Self> {
        let disk_sync_us = disk::sync_us()?;
        let rows = postgres.messages_of(sent)?;
        Ok(Self {
            postgres,
            rows,
            cpu: Cpu::of_family(postgres.pid())?,
            disk_sync_us,
        })
    }

    /// By the database since.
    pub fn spent(&self) -> Result<CpuSpent> {
        Ok(Cpu::of_family(self.postgres.pid())?.since(self.cpu))
    }

    /// Counts, when `spent` has been taken. Of the messages `sent` in all, `measured` are the measurement's.
    pub fn close(
        &self,
        spent: CpuSpent,
        sent: u64,
        measured: u64,
        tally: &Tally,
        seconds: f64,
    ) -> Result<Stored> {
        let rows = self.postgres.messages_of(sent)?;
        let acknowledged = |quantile| quantile_us(&tally.acknowledgement, quantile);
        Ok(Stored {
            sent,
            rows,
            per_s: rows.saturating_sub(self.rows) as f64 / seconds,
            database_cpu_us: spent.per(measured),
            acknowledged: tally.acknowledgement.len(),
            acknowledged_p50_us: acknowledged(0.5),
            acknowledged_p99_us: acknowledged(0.99),
            disk_sync_us: self.disk_sync_us,
        })
    }
}

impl Stored {
    /// What is wrong when not exactly what was sent is there.
    pub fn difference(&self) -> Option<String> {
        let Self { sent, rows, .. } = self;
        (sent != rows).then(|| format!("{sent} messages were sent, {rows} are in the database"))
    }
}

/// A line for each node in each shape. CPU times are per message, not per delivery.
pub fn table(results: &[Results], fsync: bool) -> Table {
    let mut table = Table::new(&[
        "what is kept",
        "server",
        "stored/s",
        "sent",
        "rows",
        "node µs",
        "database µs",
        "Redis µs",
        "acknowledged p50 ms",
        "p99 ms",
        "disk sync ms",
    ]);
    for Results {
        shape,
        measurements,
        ..
    } in results
    {
        let kinds = kinds_of(measurements).into_iter();
        for kind in kinds.filter(|&kind| kind != Kind::Floor) {
            let figures: Vec<&Figures> = of_kind(measurements, kind).collect();
            table.row(row(&shape.name, kind, &figures));
        }
    }
    if !fsync {
        table.note("the database did not wait for the disk (fsync=off)".into());
    }
    let mut note = |difference| table.note(difference);
    differences(results).into_iter().for_each(&mut note);
    table
}

/// Measurements after which not exactly what was sent is in the database.
pub fn differences(results: &[Results]) -> Vec<String> {
    let each = results.iter().flat_map(|result| {
        let figures = result.measurements.iter();
        figures.map(|figures| (result.shape.name.as_str(), figures))
    });
    let wrong = each.filter_map(|(shape, figures)| {
        let difference = figures.stored.as_ref()?.difference()?;
        let server = figures.target.label();
        Some(format!("{shape}, {server}: {difference}"))
    });
    wrong.collect()
}

fn row(shape: &str, kind: Kind, figures: &[&Figures]) -> Vec<String> {
    let stored = || figures.iter().filter_map(|figures| figures.stored.as_ref());
    let of = |figure: fn(&Stored) -> f64| median(stored().map(figure));
    let all = |count: fn(&Stored) -> u64| stored().map(count).sum::<u64>().to_string();
    let spent = |by: fn(&Figures) -> Option<CpuSpent>| {
        let each = figures
            .iter()
            .map(|figures| figures.per_message(by(figures)));
        number(median(each), 1)
    };
    vec![
        shape.to_owned(),
        kind.label().to_owned(),
        number(of(|stored| stored.per_s), 0),
        all(|stored| stored.sent),
        all(|stored| stored.rows),
        spent(|figures| figures.server_cpu_us),
        number(of(|stored| stored.database_cpu_us.total_us()), 1),
        spent(|figures| figures.redis_cpu_us),
        number(of(|stored| stored.acknowledged_p50_us / 1e3), 3),
        number(of(|stored| stored.acknowledged_p99_us / 1e3), 3),
        number(of(|stored| stored.disk_sync_us / 1e3), 3),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(sent: u64, rows: u64) -> Stored {
        Stored {
            sent,
            rows,
            per_s: 100.0,
            database_cpu_us: CpuSpent::default(),
            acknowledged: sent,
            acknowledged_p50_us: 1_000.0,
            acknowledged_p99_us: f64::NAN,
            disk_sync_us: 500.0,
        }
    }

    /// Guards the promise: a message that is gone is an error, and so is one that is there twice.
    #[test]
    fn rows_are_what_was_sent() {
        assert_eq!(stored(7, 7).difference(), None);
        for rows in [6, 8] {
            let difference = stored(7, rows).difference().expect("that is wrong");
            assert!(
                difference.contains(&format!("{rows} are")) && difference.contains("7 messages"),
                "{difference}"
            );
        }
    }
}
