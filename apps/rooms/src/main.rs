//! `rooms`: a chat for a team, as a program.

use std::process::ExitCode;

use clap::Parser;
use hinotori::supervise::log_panics;
use rooms::{health_check, server, settings::Settings};

#[actix_web::main]
async fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        // at debug it logs what it writes: everybody's messages
        .filter_module("tokio_postgres", log::LevelFilter::Info)
        .init();
    log_panics();
    let settings = Settings::parse();
    let result =
        if settings.health_check { health_check::ask(&settings) } else { server::run(&settings).await };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
