//! `realtime-chat`: the chat, as a program.

mod chat;
mod health_check;
mod server;
mod settings;

use std::process::ExitCode;

use clap::Parser;
use hinotori::supervise::log_panics;
use settings::Settings;

#[actix_web::main]
async fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
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
