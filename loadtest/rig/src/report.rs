//! How a run is told: one aligned table on standard output, one JSON file with the host described.

use std::fmt;
use std::path::PathBuf;

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::Value;

use crate::Result;
use crate::host::Host;

/// Where the JSON goes.
#[derive(Debug, Clone, clap::Args)]
pub struct Output {
    /// JSON file of this run [default: target/rig/<subcommand>.json].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Rows of text under headings; the first column is aligned left, figures to the right.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    pub fn new(headings: &[&str]) -> Self {
        Self {
            rows: vec![headings.iter().map(|&heading| heading.to_owned()).collect()],
            notes: Vec::new(),
        }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// A sentence below the table.
    pub fn note(&mut self, sentence: String) {
        if !self.notes.contains(&sentence) {
            self.notes.push(sentence);
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows
                    .iter()
                    .filter_map(|row| row.get(column))
                    .map(|c| c.chars().count())
                    .max()
            })
            .map(Option::unwrap_or_default)
            .collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                let gap = if column == 0 { "" } else { "  " };
                match column {
                    0 => line.push_str(&format!("{gap}{cell:<width$}")),
                    _ => line.push_str(&format!("{gap}{cell:>width$}")),
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        self.notes
            .iter()
            .try_for_each(|note| writeln!(f, "note: {note}"))
    }
}

/// Prints the table and writes the file.
pub fn publish(
    name: &str,
    output: &Output,
    host: Host,
    settings: Value,
    tables: &[Table],
    results: &impl Serialize,
) -> Result<()> {
    tables.iter().for_each(|table| println!("{table}"));
    let path = output
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("target/rig/{name}.json")));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let document = serde_json::json!({
        "name": name,
        "host": host,
        "settings": settings,
        "notes": tables.iter().flat_map(|table| &table.notes).collect::<Vec<_>>(),
        "results": results,
    });
    std::fs::write(&path, serde_json::to_string_pretty(&document)? + "\n")?;
    eprintln!("written to {}", path.display());
    Ok(())
}

/// Cores kept busy by others from which on a run is not to be trusted.
pub const BUSY: f64 = 0.15;

/// The warning that goes with it.
pub fn busy(what: &str, cores: f64) -> String {
    format!(
        "{what}: other processes kept up to {cores:.1} cores busy meanwhile; measure again on a quiet machine"
    )
}

/// The middle value; of an even number the mean of the two in the middle. NaN of nothing.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[odd / 2],
        even => (values[even / 2 - 1] + values[even / 2]) / 2.0,
    }
}

/// Nanoseconds up to a minute, three digits exact.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000_000, 3).expect("a minute and three digits are valid bounds")
}

/// A quantile of nanoseconds, in microseconds. NaN of nothing.
pub fn quantile_us(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    match histogram.is_empty() {
        true => f64::NAN,
        false => histogram.value_at_quantile(quantile) as f64 / 1e3,
    }
}

/// Lowest and highest, as `low–high`.
pub fn spread(values: impl IntoIterator<Item = f64>) -> String {
    let (low, high) = values
        .into_iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
            (low.min(v), high.max(v))
        });
    format!("{}–{}", number(low, 2), number(high, 2))
}

/// A figure with `digits` decimals, a dash for one that does not exist.
pub fn number(value: f64, digits: usize) -> String {
    match value.is_finite() {
        true => format!("{value:.digits$}"),
        false => "–".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the figure everything is judged by.
    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }

    /// Guards against a histogram that clamps instead of holding a slow delivery.
    #[test]
    fn slow_deliveries_keep_their_time() {
        let mut histogram = histogram();
        histogram.saturating_record(2_000_000_000);
        assert!((quantile_us(&histogram, 0.99) - 2_000_000.0).abs() < 2_000.0);
    }

    /// Guards the alignment with characters of more than one byte.
    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["shape", "µs"]);
        table.row(["one × two".to_owned(), number(1.234, 1)]);
        table.row(["x".to_owned(), number(f64::NAN, 1)]);
        table.note("said once".to_owned());
        table.note("said once".to_owned());
        assert_eq!(
            table.to_string(),
            "shape       µs\none × two  1.2\nx            –\nnote: said once\n"
        );
    }
}
