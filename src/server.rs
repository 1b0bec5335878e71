//! The program's server: the chat and its page, as the settings say.

use std::{error::Error, io, net::SocketAddr, sync::Arc, time::Duration};

use actix_web::{App, HttpServer, dev::ServerHandle, rt, web::Data};
use hinotori::{
    Certificate, Endpoint,
    chat::{Chat, MessageStore, Page, UserSocket},
};
use tokio::signal::unix::{SignalKind, signal};

use crate::settings::Settings;

/// Seconds that the workers go on longer than a drain may take: what it leaves is cut off when it says so, and not before.
const SHUTDOWN_SPARE: u64 = 10;

/// How long a client may take for the handshake of TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// Connections of one worker, and handshakes of TLS that it has under way: `--max-connections` and the descriptors are
/// the bounds. Who comes beyond those of actix-web, 25,600 and 256, would be neither served nor refused but left to wait,
/// behind 256 handshakes that stall for as long as they may.
const UNBOUNDED: usize = usize::MAX;

/// Serves until it is told to stop.
pub(crate) async fn run(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let page = Page::open(&settings.static_dir)?;
    let certificate = settings.certificate()?;
    let endpoint = Endpoint::new()
        .with_max_connections(settings.max_connections.unwrap_or(usize::MAX))
        .with_drainer(settings.drainer());
    let store = MessageStore::start(settings.history(), &endpoint)?;
    let chat = Data::new(Chat { store, message_max: settings.message_max });
    let (sockets, options) = (endpoint.clone(), settings.socket());
    let has_ops = settings.ops_listen.is_none();
    let mut server = HttpServer::new(move || {
        App::new()
            .app_data(chat.clone())
            .configure(sockets.socket::<UserSocket>("/socket", options.clone()))
            .configure(|config| {
                if has_ops {
                    sockets.ops()(config)
                }
            })
            .configure(|config| page.configure(config))
    })
    // a WebSocket that is closed ends at once, instead of waiting for the client's side of it
    .client_disconnect_timeout(Duration::ZERO)
    .tls_handshake_timeout(HANDSHAKE_TIMEOUT)
    .max_connections(UNBOUNDED)
    .max_connection_rate(UNBOUNDED)
    .h1_write_buffer_size(hinotori::WRITE_BUFFER_SIZE)
    .on_connect(hinotori::on_connect)
    .shutdown_timeout(settings.drainer().shutdown.as_secs() + SHUTDOWN_SPARE)
    .disable_signals();
    if let Some(workers) = settings.workers {
        server = server.workers(workers);
    }
    let address = (settings.host, settings.port);
    let server = match &certificate {
        Some(certificate) => server.bind_rustls_0_23(address, certificate.server_config()),
        None => server.bind(address),
    }
    .map_err(|error| format!("cannot listen on {}:{}: {error}", address.0, address.1))?;
    // before anybody is told that the server is there
    reload_on_hangup(certificate)?;
    let ops = settings.ops_listen.map(|address| serve_ops(&endpoint, address)).transpose()?;
    for (address, scheme) in server.addrs_with_scheme() {
        println!("realtime-chat listening on {scheme}://{address}");
    }
    let served = endpoint.serve(server.run()).await;
    if let Some(ops) = ops {
        ops.stop(false).await;
    }
    Ok(served?)
}

/// Serves `/healthz`, `/readyz` and `/metrics` on an address of their own, until it is stopped.
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

/// Reads the certificate again at each SIGHUP. Without one, SIGHUP does nothing: whoever renews certificates, or a
/// supervisor that is told to reload, must not end the server.
fn reload_on_hangup(certificate: Option<Arc<Certificate>>) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    rt::spawn(async move {
        while hangup.recv().await.is_some() {
            match certificate.as_ref().map(|certificate| certificate.reload()) {
                Some(Ok(())) => {
                    log::info!("event=reloaded signal=SIGHUP what=\"the certificate was read again\"")
                }
                Some(Err(error)) => {
                    let why = error.to_string();
                    log::error!(
                        "event=reload_failed signal=SIGHUP what=\"the former certificate stays in use\" why={why:?}"
                    );
                }
                None => {
                    log::info!("event=reloaded signal=SIGHUP what=\"there is no certificate to read again\"")
                }
            }
        }
    });
    Ok(())
}
