//! The beginning and the end of a program.

use std::{error::Error, process::ExitCode};

use hinotori::supervise::log_panics;

/// Sends the log to standard error, panics too. `RUST_LOG` sets its level or filter, `info` by default.
pub fn start_log() {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        // at debug it logs what it writes: everybody's messages
        .filter_module("tokio_postgres", log::LevelFilter::Info)
        .init();
    log_panics();
}

/// What the process exits with. An error is printed.
#[must_use]
pub fn exit_code(result: Result<(), Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
