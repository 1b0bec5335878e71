//! `realtime-chat`: the chat, as a program.

mod chat;
mod engine;
mod server;
mod settings;
mod transfer;

use std::process::ExitCode;

use clap::Parser;
use hinotori::supervise::log_panics;
use hinotori_app::health_check;
use settings::Settings;

#[actix_web::main]
async fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        // at debug it logs what it writes: everybody's messages
        .filter_module("tokio_postgres", log::LevelFilter::Info)
        .init();
    log_panics();
    let settings = Settings::parse();
    let result = match &settings {
        Settings { health_check: Some(path), .. } => {
            health_check(&settings.listen, settings.ops_listen, path)
        }
        Settings { export: Some(file), .. } => {
            transfer::export(&settings, file).await.map_err(|error| error as _)
        }
        Settings { import: Some(file), .. } => transfer::import(&settings, file).map_err(|error| error as _),
        _ => server::run(&settings).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
