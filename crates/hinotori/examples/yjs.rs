//! A relay for Yjs documents, whose client is the npm package `y-phoenix-channel`. Explained in `docs/RECIPES.md`.
//!
//! Run it with `cargo run --example yjs`; HOST, PORT and WORKERS are taken from the environment. A client for Node 22
//! (`npm install phoenix yjs y-phoenix-channel`, `node client.mjs`); run it twice:
//!
//! ```js
//! import { Socket } from "phoenix"
//! import * as Y from "yjs"
//! import { PhoenixChannelProvider } from "y-phoenix-channel"
//! const socket = new Socket("ws://localhost:4000/socket")
//! socket.connect()
//! const doc = new Y.Doc()
//! const provider = new PhoenixChannelProvider(socket, "doc:notes", doc)
//! doc.on("update", () => console.log(doc.getText("text").toString()))
//! provider.once("synced", () => doc.getText("text").insert(0, "hello "))
//! ```

use std::{
    collections::HashMap,
    env,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use actix_web::App;
use hinotori::{
    Channel, ConnectInfo, Context, Endpoint, Join, Params, Payload, Refused, Reply, Result, Routes, Server,
    SocketHandler, SocketOptions,
};

/// The updates of each document, by topic, in the messages that brought them. In memory: a real server saves them.
#[derive(Clone, Default)]
struct Documents(Arc<Mutex<HashMap<String, Vec<Payload>>>>);

impl Documents {
    fn append(&self, topic: &str, update: Payload) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(topic.to_owned()).or_default().push(update);
    }

    fn updates(&self, topic: &str) -> Vec<Payload> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(topic).cloned().unwrap_or_default()
    }
}

// messages of y-protocols: their type, and for sync messages the step and an array of bytes after its length

/// "Send me what I lack", from a client that has nothing: the array is an empty state vector.
const STEP_1_OF_NOTHING: &[u8] = &[0, 0, 1, 0];

/// "This is all that you lack", with an update in which nothing is.
const STEP_2_OF_NOTHING: &[u8] = &[0, 1, 2, 0, 0];

/// Whether a message brings an update: as the second step of a sync, or as an edit.
fn is_update(message: &[u8]) -> bool {
    matches!(message, [0, 1 | 2, ..]) && message != STEP_2_OF_NOTHING
}

struct Document;

impl Channel for Document {
    type Socket = UserSocket;
    type Info = ();

    async fn join(_topic: &str, _payload: Payload, _cx: &mut Context<Self>) -> Result<Join<Self>> {
        Join::ok(Self)
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        let documents = &cx.socket().documents;
        let Some(message) = payload.as_binary() else { return cx.unhandled(event) };
        match event {
            // a client that has joined, with the first step of the sync
            "yjs_sync" => {
                let has_nothing = message == STEP_1_OF_NOTHING;
                for update in documents.updates(cx.topic()) {
                    cx.push("yjs", update)?;
                }
                cx.push("yjs", Payload::binary(STEP_2_OF_NOTHING))?;
                if !has_nothing {
                    // what it wrote while it was offline
                    cx.push("yjs", Payload::binary(STEP_1_OF_NOTHING))?;
                }
            }
            // an edit, or where the client's cursor is
            "yjs" => {
                if is_update(message) {
                    documents.append(cx.topic(), payload.clone());
                }
                cx.broadcast_from("yjs", payload)?;
            }
            _ => return cx.unhandled(event),
        }
        Reply::none()
    }
}

struct UserSocket {
    documents: Documents,
}

impl SocketHandler for UserSocket {
    async fn connect(_params: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        Ok(Self { documents: info.data::<Documents>()?.clone() })
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Document>("doc:*");
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    env_logger::init();
    let documents = Documents::default();
    let endpoint = Endpoint::new();
    let sockets = endpoint.clone();
    let server = Server::new(&endpoint, move || {
        App::new()
            .app_data(documents.clone())
            .configure(sockets.socket::<UserSocket>("/socket", SocketOptions::default()))
    })
    .workers(setting("WORKERS", 2))
    .bind((setting("HOST", "127.0.0.1".to_owned()), setting("PORT", 4000)))?;
    for address in server.addrs() {
        println!("yjs listening on http://{address}");
    }
    server.run().await
}

fn setting<T: FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}
