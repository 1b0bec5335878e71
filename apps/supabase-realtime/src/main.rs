//! `supabase-realtime`: Broadcast and Presence for the clients of Supabase Realtime, as a program.
//!
//! | file | contents |
//! |---|---|
//! | `settings.rs`, `server.rs` | flags and environment variables; the server that they describe |
//! | `keys.rs`, `claims.rs` | who signed a token, and what it says |
//! | `access.rs` | who may use which private channel: the rule to change for a rule of your own |
//! | `user_socket.rs` | a connection: its apikey |
//! | `realtime_channel.rs` | what a client does on a channel; `join_config.rs` is how it asks for it, `session.rs` its token, `tracked.rs` its presence |
//! | `refusal.rs` | why a join or a token is refused, in the words that clients get |
//! | `http/` | broadcasts by HTTP |
//! | `meters.rs` | its metrics |
//!
//! # Source
//! supabase/realtime 2.129, its clients, and runs of them: see the README.

mod access;
mod claims;
mod http;
mod join_config;
mod keys;
mod meters;
mod realtime_channel;
mod refusal;
mod server;
mod session;
mod settings;
mod tracked;
mod user_socket;

use std::process::ExitCode;

use clap::FromArgMatches as _;
use hinotori_app::{exit_code, health_check, start_log};
use settings::Settings;

#[actix_web::main]
async fn main() -> ExitCode {
    start_log();
    let settings = Settings::from_arg_matches(&settings::command().get_matches());
    let settings = settings.unwrap_or_else(|error| error.exit());
    exit_code(match settings.health_check {
        true => health_check(&settings.listen, settings.ops_listen, "/healthz"),
        false => server::run(&settings).await,
    })
}
