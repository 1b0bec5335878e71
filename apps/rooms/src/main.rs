//! `rooms`: a chat for a team, as a program.

use std::process::ExitCode;

use clap::FromArgMatches as _;
use hinotori_app::{exit_code, health_check, start_log};
use rooms::{
    server,
    settings::{Settings, command},
};

#[actix_web::main]
async fn main() -> ExitCode {
    start_log();
    let settings = Settings::from_arg_matches(&command().get_matches());
    let settings = settings.unwrap_or_else(|error| error.exit());
    exit_code(match &settings.health_check {
        Some(path) => health_check(&settings.listen, settings.ops_listen, path),
        None => server::run(&settings).await,
    })
}
