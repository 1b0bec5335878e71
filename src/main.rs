//! `realtime-chat`: the chat, as a program.

mod settings;

use std::{error::Error, process::ExitCode, time::Duration};

use actix_web::{App, HttpServer};
use clap::Parser;
use hinotori::{
    Endpoint,
    chat::{Chat, MessageStore, Page, UserSocket},
};
use settings::Settings;

/// Seconds that plain HTTP requests have to finish when the server stops.
const SHUTDOWN_TIMEOUT: u64 = 4;

#[actix_web::main]
async fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
    match run(&Settings::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let page = Page::open(&settings.static_dir)?;
    let endpoint = Endpoint::new().with_max_connections(settings.max_connections.unwrap_or(usize::MAX));
    let store = MessageStore::start(settings.history(), endpoint.pubsub().clone());
    let chat = Chat { store, message_max: settings.message_max };
    let (sockets, options) = (endpoint.clone(), settings.socket());
    let mut server = HttpServer::new(move || {
        App::new()
            .app_data(chat.clone())
            .configure(sockets.socket::<UserSocket>("/socket", options.clone()))
            .configure(|config| page.configure(config))
    })
    // a WebSocket that is closed ends at once, instead of waiting for the client's side of it
    .client_disconnect_timeout(Duration::ZERO)
    .on_connect(hinotori::on_connect)
    .shutdown_timeout(SHUTDOWN_TIMEOUT)
    .disable_signals();
    if let Some(workers) = settings.workers {
        server = server.workers(workers);
    }
    let address = (settings.host, settings.port);
    let server = server
        .bind(address)
        .map_err(|error| format!("cannot listen on {}:{}: {error}", address.0, address.1))?;
    for address in server.addrs() {
        println!("realtime-chat listening on http://{address}");
    }
    Ok(endpoint.serve(server.run()).await?)
}
