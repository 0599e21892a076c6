//! What the node tells its operators: logs here, numbers in [`metrics`].
//!
//! Logs are fields, not prose. No query string, token or document ever reaches them. `audit` is a target
//! of its own: who came, who was refused, what was ended.

mod file;
mod line;
pub mod metrics;

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Pretty,
    Line,
}

#[derive(Debug, Clone)]
pub struct LogConfig {
    pub level: Level,
    pub format: LogFormat,
    pub file: Option<PathBuf>,
    pub file_bytes: u64,
    pub service: String,
}

/// Starts logging to the standard output, and to the file when there is one.
pub fn start_logging(config: &LogConfig) -> io::Result<()> {
    // Layers share what they formatted of a span, so colours would also reach the file.
    let colours = config.file.is_none() && io::stdout().is_terminal();
    let mut layers = vec![layer(config, io::stdout, colours)];
    if let Some(path) = &config.file {
        let rotating = file::Rotating::open(path, config.file_bytes)?;
        layers.push(layer(config, rotating, false));
    }
    tracing_subscriber::registry()
        .with(layers)
        .try_init()
        .map_err(io::Error::other)
}

type Boxed = Box<dyn Layer<Registry> + Send + Sync>;

fn layer<W>(config: &LogConfig, writer: W, colours: bool) -> Boxed
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // Libraries speak up from warnings on; we say what we do at the level asked for.
    let level = config.level;
    let others = level.min(Level::WARN);
    // The client of RabbitMQ tells every loss several times, and shows whole messages; `intake` says what is to be known.
    let said = format!("{others},lapin=off,collabd={level},audit={level}");
    let filter = EnvFilter::new(said);
    let base = fmt::layer().with_writer(writer);
    match config.format {
        LogFormat::Json => base
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .with_filter(filter)
            .boxed(),
        LogFormat::Pretty => base.with_ansi(colours).with_filter(filter).boxed(),
        LogFormat::Line => base
            .event_format(line::Line::new(config.service.clone()))
            .with_ansi(false)
            .with_filter(filter)
            .boxed(),
    }
}
