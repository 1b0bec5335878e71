//! The program's server: the sockets, the routes and the page, as the settings say.

use std::{error::Error, net::SocketAddr, sync::Arc, time::Duration};

use actix_web::{App, HttpServer, dev::ServerHandle, rt, web::Data};
use hinotori::{Endpoint, Server, SocketOptions};

use crate::{
    demo,
    domain::upkeep,
    http::{self, Page},
    settings::Settings,
    store::Store,
    team::Team,
    user_socket::UserSocket,
};

/// How often what nobody needs is deleted.
const UPKEEP: Duration = Duration::from_secs(60 * 60);

/// Messages that a client may send per second on average, and at once: several tabs reconnect and read what was said.
const RATE: u32 = 30;
const BURST: u32 = 300;

/// Rooms that a client may have joined at a time.
const CHANNELS: usize = 500;

/// Bytes of a message: a text of 8,000 characters is at most 48,000 bytes of JSON.
const MESSAGE: usize = 64 * 1024;

/// Serves until it is told to stop.
///
/// # Errors
/// Why it does not start.
pub async fn run(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let page = Page::open(&settings.static_dir)?;
    let endpoint = endpoint(settings)?;
    let store = Store::open(&settings.store, settings.cluster.is_some(), &endpoint)?;
    let mut team = Team::new(&endpoint, store, settings.secret.clone()).await?;
    if let Some(team) = Arc::get_mut(&mut team) {
        team.check_origin = settings.check_origin.clone();
        team.trusted_proxies = settings.trusted_proxies.clone();
    }
    if settings.demo {
        demo::seed(&team).await?;
    }
    rt::spawn(look_after(team.clone()));
    let (sockets, options, team) = (endpoint.clone(), options(settings), Data::from(team));
    let has_ops = settings.ops_listen.is_none();
    let mut server = Server::new(&endpoint, move || {
        App::new()
            .app_data(team.clone())
            .configure(sockets.socket::<UserSocket>("/socket", options.clone()))
            .configure(|config| {
                if has_ops {
                    sockets.ops()(config)
                }
            })
            .configure(http::configure)
            .configure(|config| page.configure(config))
    });
    if let Some(workers) = settings.workers {
        server = server.workers(workers);
    }
    let address = (settings.host, settings.port);
    let server = server
        .bind(address)
        .map_err(|error| format!("cannot listen on {}:{}: {error}", address.0, address.1))?;
    let ops = settings.ops_listen.map(|address| serve_ops(&endpoint, address)).transpose()?;
    for address in server.addrs() {
        println!("rooms listening on http://{address}");
    }
    let served = server.run().await;
    if let Some(ops) = ops {
        ops.stop(false).await;
    }
    Ok(served?)
}

fn endpoint(settings: &Settings) -> Result<Endpoint, String> {
    let mut endpoint = Endpoint::builder().drainer(settings.drainer());
    if let Some(name) = &settings.node_name {
        endpoint = endpoint.node_name(name);
    }
    if let Some(engine) = &settings.cluster {
        endpoint = engine.connect(endpoint, &settings.store)?;
    }
    Ok(endpoint.build())
}

fn options(settings: &Settings) -> SocketOptions {
    SocketOptions::default()
        .auth_token(true)
        .check_origin(settings.check_origin.clone())
        .trusted_proxies(settings.trusted_proxies.clone())
        .max_frame_size(MESSAGE)
        .max_message_size(MESSAGE)
        .max_channels(CHANNELS)
        .max_message_rate(RATE)
        .max_message_burst(BURST)
}

/// Deletes now and then what nobody needs. Each node does it, which does no harm.
async fn look_after(team: Arc<Team>) {
    let mut hours = rt::time::interval(UPKEEP);
    loop {
        hours.tick().await;
        if let Err(failure) = team.store.write(upkeep::run).await {
            log::warn!("event=upkeep_failed why={:?}", failure.logged().to_string());
        }
    }
}

/// Serves `/healthz`, `/readyz` and `/metrics` on a separate address, until it is stopped.
fn serve_ops(endpoint: &Endpoint, address: SocketAddr) -> Result<ServerHandle, Box<dyn Error>> {
    let endpoint = endpoint.clone();
    let server = HttpServer::new(move || App::new().configure(endpoint.ops()))
        .workers(1)
        .disable_signals()
        .bind(address)
        .map_err(|error| format!("cannot listen on {address} (--ops-listen): {error}"))?;
    for address in server.addrs() {
        println!("rooms operations on http://{address}");
    }
    let server = server.run();
    let handle = server.handle();
    rt::spawn(server);
    Ok(handle)
}
