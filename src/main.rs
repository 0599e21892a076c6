//! The `collabd` command: serve (default), check-config, env-example, healthcheck, token.

mod envfile;
mod healthcheck;
mod token;

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use collabd::app::App;
use collabd::config::{self, Config, Given, SETTINGS};
use collabd::telemetry;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A setting is wrong: `EX_CONFIG` of sysexits.h.
const BAD_CONFIG: u8 = 78;

fn main() -> ExitCode {
    let matches = command().get_matches();
    // Also for who has a wrong setting.
    if matches.subcommand_name() == Some("env-example") {
        print!("{}", config::env_example());
        return ExitCode::SUCCESS;
    }
    let strangers = match envfile::load() {
        Ok(strangers) => strangers,
        Err(error) => {
            eprintln!("collabd: {error}");
            return ExitCode::from(BAD_CONFIG);
        }
    };
    let flags = matches.subcommand().map_or(&matches, |(_, sub)| sub);
    let flag = |name: &'static str| {
        let given = |matches: &ArgMatches| matches.get_one::<String>(name).cloned();
        given(flags).or_else(|| given(&matches))
    };
    let given = Given::collect(flag, |name| std::env::var(name).ok());
    if let Some(("token", asked)) = matches.subcommand() {
        return token::run(asked, &given);
    }
    let config = match Config::read(&given) {
        Ok(config) => config,
        Err(bad) => {
            for bad in bad {
                eprintln!("collabd: {bad}");
            }
            return ExitCode::from(BAD_CONFIG);
        }
    };
    match matches.subcommand_name() {
        Some("check-config") => {
            print!("{}", given.table());
            for name in strangers {
                eprintln!("collabd: .env says {name}, which is no setting");
            }
            ExitCode::SUCCESS
        }
        Some("healthcheck") => healthcheck::run(&config),
        _ => serve(config),
    }
}

fn command() -> Command {
    let settings = SETTINGS.iter().map(|setting| {
        let flag = setting.name.to_ascii_lowercase().replace('_', "-");
        Arg::new(setting.name)
            .long(flag)
            .global(true)
            .value_name(setting.name)
            .help(format!(
                "{} [{}] [default: {}]",
                setting.help, setting.right, setting.default
            ))
    });
    Command::new("collabd")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A real-time collaboration node. Every flag is also an environment variable.")
        .subcommand(Command::new("serve").about("Serves (the default)"))
        .subcommand(
            Command::new("check-config")
                .about("Prints the settings in force; exits with 78 when one is wrong"),
        )
        .subcommand(
            Command::new("env-example")
                .about("Prints every setting as a .env file in which none is set"),
        )
        .subcommand(
            Command::new("healthcheck").about("Asks the node that runs with these settings"),
        )
        .subcommand(token::command())
        .args(settings)
}

fn serve(config: Config) -> ExitCode {
    if let Err(error) = telemetry::start_logging(&config.log) {
        eprintln!("collabd: cannot log to LOG_FILE: {error}");
        return ExitCode::from(BAD_CONFIG);
    }
    // A socket is a descriptor: what the system allows at most is what we want.
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < config.transport.max_connections as u64 => {
            let most = config.transport.max_connections;
            tracing::warn!(
                limit,
                most,
                "fewer open files are allowed than MAX_CONNECTIONS"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.worker_threads)
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(config)),
        Err(error) => Err(error.to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "stopped");
            eprintln!("collabd: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    if let Some(address) = config.metrics {
        telemetry::metrics::export(address)?;
    }
    let mut hangup = signal(SignalKind::hangup()).map_err(|error| error.to_string())?;
    // Draining takes its own time; what comes behind it gets STOP_TIMEOUT.
    let drain = &config.node.drain;
    let deadline =
        drain.delay + drain.window + config.transport.close_timeout + config.stop_timeout;
    let app = App::start(config)
        .await
        .map_err(|error| error.to_string())?;
    tell_service_manager(NotifyState::Ready);
    let hurry = loop {
        tokio::select! {
            _ = terminate.recv() => break false,
            // Somebody at a keyboard waits for it.
            _ = interrupt.recv() => break true,
            _ = hangup.recv() => app.reload().await,
        }
    };
    tell_service_manager(NotifyState::Stopping);
    tracing::info!(hurry, "stopping");
    tokio::select! {
        stopped = tokio::time::timeout(deadline, app.stop(hurry)) => {
            if stopped.is_ok() {
                tracing::info!("left in order");
            } else {
                tracing::warn!(deadline_s = deadline.as_secs_f64(), "the time to leave in order is over");
            }
        }
        _ = terminate.recv() => tracing::warn!("stopped again: leaving at once"),
        _ = interrupt.recv() => tracing::warn!("stopped again: leaving at once"),
    }
    Ok(())
}

/// Who started this process, if that is systemd: `Type=notify` waits for it.
fn tell_service_manager(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
