//! The program's server: the chat and its page, as the settings say.

use std::{error::Error, io, net::SocketAddr, sync::Arc};

use actix_web::{App, HttpServer, dev::ServerHandle, rt, web::Data};
use hinotori::{Certificate, Check, Endpoint, Server};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    chat::{Chat, Close, Keep, Kind, MessageStore, Meters, Page, Sharing, UserSocket},
    settings::Settings,
};

/// Serves until it is told to stop.
pub(crate) async fn run(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let page = Page::open(&settings.static_dir)?;
    let certificate = settings.certificate()?;
    let sharing = match (&settings.cluster, &settings.store) {
        (None, _) => Sharing::Alone,
        (Some(_), Kind::Postgres(_)) => Sharing::Nodes,
        (Some(_), Kind::Memory | Kind::Sqlite(..)) => {
            return Err("--cluster needs a store that all nodes share: set --store postgres://…, or remove \
                        --cluster"
                .into());
        }
    };
    let meters = Meters::new()?;
    let mut endpoint = Endpoint::builder()
        .max_connections(settings.max_connections.unwrap_or(usize::MAX))
        .drainer(settings.drainer())
        .check(store_check(&meters, settings.ready_requires_store));
    if let Some(name) = &settings.node_name {
        endpoint = endpoint.node_name(name);
    }
    if let Some(engine) = &settings.cluster {
        endpoint = engine.connect(endpoint, &settings.store, &settings.cluster_name)?;
    }
    let endpoint = endpoint.build();
    if settings.store == Kind::Memory && settings.keep != Keep::All {
        return Err(
            "--keep needs a database: set --store sqlite:PATH or postgres://…, or remove --keep".into()
        );
    }
    meters.register(endpoint.registry())?;
    let log = settings.store.log(sharing, settings.keep, meters)?;
    let store = MessageStore::start(log, settings.history(), &endpoint)?;
    let chat = Data::new(Chat { store: store.clone(), message_max: settings.message_max });
    let (sockets, options) = (endpoint.clone(), settings.socket());
    let has_ops = settings.ops_listen.is_none();
    let mut server = Server::new(&endpoint, move || {
        App::new()
            .app_data(chat.clone())
            .configure(sockets.socket::<UserSocket>("/socket", options.clone()))
            .configure(|config| {
                if has_ops {
                    sockets.ops()(config)
                }
            })
            .configure(|config| page.configure(config))
    });
    if let Some(workers) = settings.workers {
        server = server.workers(workers);
    }
    let address = (settings.host, settings.port);
    let server = match &certificate {
        Some(certificate) => server.bind_tls(address, certificate.server_config()),
        None => server.bind(address),
    }
    .map_err(|error| format!("cannot listen on {}:{}: {error}", address.0, address.1))?;
    // before the server's address is printed
    reload_on_hangup(certificate)?;
    let ops = settings.ops_listen.map(|address| serve_ops(&endpoint, address)).transpose()?;
    let scheme = if settings.has_tls() { "https" } else { "http" };
    for address in server.addrs() {
        println!("realtime-chat listening on {scheme}://{address}");
    }
    let served = server.run().await;
    if let Some(ops) = ops {
        ops.stop(false).await;
    }
    store.send(Close).await?;
    Ok(served?)
}

/// What `/readyz` tells of the store.
fn store_check(meters: &Meters, is_required: bool) -> Check {
    let meters = meters.clone();
    let check = Check::new("store", move || meters.is_up());
    if is_required { check.required() } else { check }
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
        println!("realtime-chat operations on http://{address}");
    }
    let server = server.run();
    let handle = server.handle();
    rt::spawn(server);
    Ok(handle)
}

/// Reloads the certificate at each SIGHUP. Without one, SIGHUP does nothing: a certificate renewal, or a supervisor's
/// reload, must not end the server.
fn reload_on_hangup(certificate: Option<Arc<Certificate>>) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    rt::spawn(async move {
        while hangup.recv().await.is_some() {
            match certificate.as_ref().map(|certificate| certificate.reload()) {
                Some(Ok(())) => {
                    log::info!("event=reloaded signal=SIGHUP what=\"the certificate was reloaded\"")
                }
                Some(Err(error)) => {
                    let why = error.to_string();
                    log::error!(
                        "event=reload_failed signal=SIGHUP what=\"the former certificate stays in use\" why={why:?}"
                    );
                }
                None => {
                    log::info!("event=reloaded signal=SIGHUP what=\"there is no certificate to reload\"")
                }
            }
        }
    });
    Ok(())
}
