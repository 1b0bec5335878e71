//! Serves until it is told to stop: SIGTERM and SIGINT drain, SIGHUP reloads the certificate.

use std::{error::Error, io, net::SocketAddr, pin::pin, sync::Arc};

use actix_web::{App, HttpServer, dev::ServerHandle, rt, web::ServiceConfig};
use futures_util::FutureExt;
use hinotori::{Certificate, Endpoint, Server};
use tokio::signal::unix::{SignalKind, signal};

use crate::Listen;

/// Serves what `configure` adds to an `App`, and prints the addresses after the program's name. The routes for operators are
/// at an address of their own if there is one, otherwise among the others.
///
/// # Errors
/// If it cannot listen, or the certificate is not good.
pub async fn serve(
    program: &str,
    listen: &Listen,
    ops_listen: Option<SocketAddr>,
    endpoint: &Endpoint,
    configure: impl Fn(&mut ServiceConfig) + Send + Clone + 'static,
) -> Result<(), Box<dyn Error>> {
    let certificate = listen.certificate()?;
    let ops = ops_listen.is_none().then(|| endpoint.clone());
    let mut server = Server::new(endpoint, move || {
        let app = App::new().configure(|config| {
            if let Some(endpoint) = &ops {
                endpoint.ops()(config);
            }
        });
        app.configure(&configure)
    });
    if let Some(workers) = listen.workers {
        server = server.workers(workers);
    }
    let address = (listen.host, listen.port);
    let server = match &certificate {
        Some(certificate) => server.bind_tls(address, certificate.server_config()),
        None => server.bind(address),
    }
    .map_err(|error| format!("cannot listen on {}:{}: {error}", address.0, address.1))?;
    // before the server's address is printed
    reload_on_hangup(certificate)?;
    let ops = ops_listen.map(|address| serve_ops(program, endpoint, address)).transpose()?;
    let scheme = if listen.has_tls() { "https" } else { "http" };
    let addresses = server.addrs();
    let mut serving = pin!(server.run());
    // a signal that comes after the line is one that the server has heard
    let served = match serving.as_mut().now_or_never() {
        Some(served) => served,
        None => {
            for address in addresses {
                println!("{program} listening on {scheme}://{address}");
            }
            serving.await
        }
    };
    if let Some(ops) = ops {
        ops.stop(false).await;
    }
    Ok(served?)
}

/// Serves `/healthz`, `/readyz` and `/metrics` on a separate address, until it is stopped.
fn serve_ops(
    program: &str,
    endpoint: &Endpoint,
    address: SocketAddr,
) -> Result<ServerHandle, Box<dyn Error>> {
    let endpoint = endpoint.clone();
    let server = HttpServer::new(move || App::new().configure(endpoint.ops()))
        .workers(1)
        .disable_signals()
        .bind(address)
        .map_err(|error| format!("cannot listen on {address} (--ops-listen): {error}"))?;
    for address in server.addrs() {
        println!("{program} operations on http://{address}");
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
