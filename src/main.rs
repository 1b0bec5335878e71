//! `realtime-chat`: the chat, as a program.

mod chat;
mod server;
mod settings;
mod transfer;

use std::process::ExitCode;

use clap::Parser;
use hinotori_app::{exit_code, health_check, start_log};
use settings::Settings;

#[actix_web::main]
async fn main() -> ExitCode {
    start_log();
    let settings = Settings::parse();
    exit_code(match &settings {
        Settings { health_check: Some(path), .. } => {
            health_check(&settings.listen, settings.ops_listen, path)
        }
        Settings { export: Some(file), .. } => {
            transfer::export(&settings, file).await.map_err(|error| error as _)
        }
        Settings { import: Some(file), .. } => transfer::import(&settings, file).map_err(|error| error as _),
        _ => server::run(&settings).await,
    })
}
