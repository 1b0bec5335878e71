//! Sockets that are disconnected by any of their ids, also while they are being connected.

use std::result;

use actix_web::web::ServiceConfig;

use super::{
    client::{CLOSE, get, upgrade},
    *,
};
use crate::{
    ConnectInfo, Params, RawContext, RawMessage, RawSocket, Refused, Result, Routes, SocketHandler,
    SocketOptions,
};

/// A WebSocket, a raw socket, and a long poll.
const PATHS: [&str; 3] = ["/named/websocket", "/raw/websocket", "/named/longpoll"];

/// What a close frame with the code 1001 has.
const GOING_AWAY: [u8; 2] = 1001_u16.to_be_bytes();

/// Has the ids that its client wants, and waits for the test if that is wanted too.
struct Named(Vec<String>);

impl Named {
    async fn new(params: &Params, info: &ConnectInfo<'_>) -> result::Result<Self, Refused> {
        if params.get("wait").is_some() {
            info.data::<Arc<Semaphore>>()?.acquire().await?.forget();
        }
        let ids = params.get("ids").unwrap_or_default();
        Ok(Self(ids.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect()))
    }
}

impl SocketHandler for Named {
    async fn connect(params: &Params, info: &ConnectInfo<'_>) -> result::Result<Self, Refused> {
        Self::new(params, info).await
    }

    fn ids(&self) -> Vec<String> {
        self.0.clone()
    }

    fn channels(_: &mut Routes<Self>) {}
}

impl RawSocket for Named {
    type Info = ();

    async fn connect(params: &Params, info: &ConnectInfo<'_>) -> result::Result<Self, Refused> {
        Self::new(params, info).await
    }

    fn ids(&self) -> Vec<String> {
        self.0.clone()
    }

    async fn handle_in(&mut self, _: RawMessage, _: &mut RawContext<Self>) -> Result<()> {
        Ok(())
    }
}

pub(super) fn configure(config: &mut ServiceConfig, endpoint: &Endpoint) {
    let options = SocketOptions { longpoll: Some(PATIENCE), ..SocketOptions::default() };
    config
        .configure(endpoint.socket::<Named>("/named", options))
        .configure(endpoint.raw_socket::<Named>("/raw", SocketOptions::default()));
}

/// A client that has asked for a socket.
async fn asking(server: &Running, path: &str, query: &str) -> Client {
    let mut client = server.connect().await;
    let path = format!("{path}?vsn=2.0.0&{query}");
    client.send(if path.contains("longpoll") { get(&path) } else { upgrade(&path) }).await;
    client
}

/// The same when the socket is there.
async fn connected(server: &Running, path: &str, query: &str) -> Client {
    let mut client = asking(server, path, query).await;
    opens(&mut client, path).await;
    client
}

async fn opens(client: &mut Client, path: &str) {
    let answer = client.reader.answer().await;
    if path.contains("longpoll") {
        assert!(answer.text().contains("token"), "{answer:?}");
    } else {
        assert_eq!(answer.status(), "101", "{answer:?}");
    }
}

/// Its socket is closed because of a disconnect. A session of long poll just ends; a poll would open another one.
async fn is_closed(client: &mut Client, path: &str) {
    if !path.contains("longpoll") {
        assert_eq!(client.reader.message().await, (CLOSE, GOING_AWAY.to_vec()), "{path}");
    }
}

#[actix_web::test]
async fn a_disconnect_of_any_of_its_ids_closes_a_socket_and_no_other() {
    for way in [Way::Server, Way::HttpServer] {
        let server = way.start(Settings::default());
        let connections = &server.endpoint.node().connections;
        for path in PATHS {
            for id in ["users:7", "sessions:2"] {
                let mut others = vec![];
                for ids in ["users:8,sessions:1", ""] {
                    others.push(connected(&server, PATHS[0], &format!("ids={ids}")).await);
                }
                let mut client = connected(&server, path, "ids=users:7,sessions:2").await;
                server.endpoint.disconnect(id);
                is_closed(&mut client, path).await;
                drop(client);
                until(|| connections.count() == others.len()).await;
                for other in &mut others {
                    other.beat().await;
                }
                drop(others);
                until(|| connections.count() == 0).await;
            }
        }
        server.stop().await;
    }
}

#[actix_web::test]
async fn a_disconnect_while_connect_waits_closes_the_socket_when_it_opens() {
    for way in [Way::Server, Way::HttpServer] {
        let server = way.start(Settings::default());
        let connections = &server.endpoint.node().connections;
        for path in PATHS {
            let mut witness = connected(&server, PATHS[0], "ids=users:7").await;
            let mut client = asking(&server, path, "ids=sessions:2,users:7&wait").await;
            let mut other = asking(&server, PATHS[0], "ids=users:8&wait").await;
            until(|| connections.count() == 3).await;
            server.endpoint.disconnect("users:7");
            // there is one worker, and it has delivered the disconnect
            is_closed(&mut witness, PATHS[0]).await;
            server.gate.add_permits(2);
            opens(&mut client, path).await;
            is_closed(&mut client, path).await;
            opens(&mut other, PATHS[0]).await;
            other.beat().await;
            drop((witness, client));
            until(|| connections.count() == 1).await;
            drop(other);
            // whoever comes later is not concerned
            let mut late = connected(&server, PATHS[0], "ids=users:7").await;
            late.beat().await;
            drop(late);
            until(|| connections.count() == 0).await;
        }
        server.stop().await;
    }
}
