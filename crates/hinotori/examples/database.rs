//! A database behind a channel: a blocking driver runs on a thread pool, and a failed query is a reply or a crash. Explained in
//! `docs/RECIPES.md`.
//!
//! Run it with `cargo run --example database`; HOST, PORT, WORKERS and DATA_DIR are taken from the environment. A client for
//! Node 22 (`npm install phoenix`, `node client.mjs`):
//!
//! ```js
//! import { Socket } from "phoenix"
//! const socket = new Socket("ws://localhost:4000/socket")
//! socket.connect()
//! const room = socket.channel("room:lobby")
//! room.on("message", ({ text }) => console.log(text))
//! room.join().receive("ok", ({ messages }) => console.log(messages))
//! room.push("post", { text: "hello" })
//!   .receive("ok", () => console.log("saved"))
//!   .receive("error", ({ reason }) => console.log(reason))
//! ```

use std::{
    env,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::PathBuf,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use actix_web::{App, web};
use hinotori::{
    Channel, ConnectInfo, Context, Endpoint, Join, Params, Payload, Refused, Reply, Result, Routes, Server,
    SocketHandler, SocketOptions,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Clone, Deserialize, Serialize)]
struct Message {
    room: String,
    text: String,
}

/// All messages, in a file with one JSON object per line. Its functions block, as those of diesel and rusqlite do.
#[derive(Clone)]
struct Database {
    path: PathBuf,
    /// One writer at a time.
    writer: Arc<Mutex<()>>,
}

impl Database {
    fn insert(&self, message: &Message) -> io::Result<()> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let mut file = OpenOptions::new().append(true).create(true).open(&self.path)?;
        file.write_all(&line)?;
        file.sync_data()
    }

    fn messages(&self, room: &str) -> io::Result<Vec<Message>> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            file => file?,
        };
        let mut messages = vec![];
        for line in BufReader::new(file).lines() {
            let message: Message = serde_json::from_str(&line?)?;
            if message.room == room {
                messages.push(message);
            }
        }
        Ok(messages)
    }
}

#[derive(Deserialize)]
struct Post {
    text: String,
}

struct Room;

impl Channel for Room {
    type Socket = UserSocket;
    type Info = ();

    async fn join(topic: &str, _payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        let (db, room) = (cx.socket().db.clone(), topic.to_owned());
        // the first `?` is for the thread pool, the second for the query
        let messages = web::block(move || db.messages(&room)).await??;
        Join::reply(Self, json!({ "messages": messages }))
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        match event {
            "post" => {
                let Post { text } = payload.parse()?;
                let message = Message { room: cx.topic().to_owned(), text };
                let (db, saved) = (cx.socket().db.clone(), message.clone());
                if let Err(error) = web::block(move || db.insert(&saved)).await? {
                    log::error!("a message is not saved: {error}");
                    return Reply::error(json!({ "reason": "not saved, try again" }));
                }
                cx.broadcast("message", message)?;
                Reply::ok(json!({}))
            }
            _ => cx.unhandled(event),
        }
    }
}

struct UserSocket {
    db: Database,
}

impl SocketHandler for UserSocket {
    async fn connect(_params: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        Ok(Self { db: info.data::<Database>()?.clone() })
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Room>("room:*");
    }
}

#[actix_web::main]
async fn main() -> io::Result<()> {
    env_logger::init();
    let path = setting("DATA_DIR", env::temp_dir()).join("messages.jsonl");
    let db = Database { path, writer: Arc::default() };
    let endpoint = Endpoint::new();
    let sockets = endpoint.clone();
    let server = Server::new(&endpoint, move || {
        App::new()
            .app_data(db.clone())
            .configure(sockets.socket::<UserSocket>("/socket", SocketOptions::default()))
    })
    .workers(setting("WORKERS", 2))
    .bind((setting("HOST", "127.0.0.1".to_owned()), setting("PORT", 4000)))?;
    for address in server.addrs() {
        println!("database listening on http://{address}");
    }
    server.run().await
}

fn setting<T: FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}
