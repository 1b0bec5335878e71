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
//! const texts = new Map() // by id: a message may come in the reply and again as a broadcast
//! const show = ({ id, text }) => texts.has(id) || console.log(texts.set(id, text).get(id))
//! room.on("message", show)
//! room.join().receive("ok", ({ messages }) => messages.forEach(show))
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

#[derive(Deserialize, Serialize)]
struct Message {
    id: u64,
    room: String,
    text: String,
}

/// All messages, in a file with one JSON object per line. Its functions block, as those of diesel and rusqlite do.
#[derive(Clone)]
struct Database {
    path: PathBuf,
    /// One writer at a time. Holds the id of the newest message.
    writer: Arc<Mutex<u64>>,
}

impl Database {
    fn open(path: PathBuf) -> io::Result<Self> {
        let database = Self { path, writer: Arc::default() };
        let last_id = database.all()?.last().map_or(0, |message| message.id);
        Ok(Self { writer: Arc::new(Mutex::new(last_id)), ..database })
    }

    fn insert(&self, room: String, text: String) -> io::Result<Message> {
        let mut last_id = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let message = Message { id: *last_id + 1, room, text };
        let mut line = serde_json::to_vec(&message)?;
        line.push(b'\n');
        let mut file = OpenOptions::new().append(true).create(true).open(&self.path)?;
        file.write_all(&line)?;
        file.sync_data()?;
        *last_id = message.id;
        Ok(message)
    }

    fn messages(&self, room: &str) -> io::Result<Vec<Message>> {
        let mut messages = self.all()?;
        messages.retain(|message| message.room == room);
        Ok(messages)
    }

    fn all(&self) -> io::Result<Vec<Message>> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            file => file?,
        };
        BufReader::new(file).lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
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
        // a message that is posted meanwhile comes after the reply
        cx.hold_broadcasts();
        let (db, room) = (cx.socket().db.clone(), topic.to_owned());
        // the first `?` is for the thread pool, the second for the query
        let messages = web::block(move || db.messages(&room)).await??;
        Join::reply(Self, json!({ "messages": messages }))
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        match event {
            "post" => {
                let Post { text } = payload.parse()?;
                let (db, room) = (cx.socket().db.clone(), cx.topic().to_owned());
                match web::block(move || db.insert(room, text)).await? {
                    Ok(message) => cx.broadcast("message", message)?,
                    Err(error) => {
                        log::error!("a message is not saved: {error}");
                        return Reply::error(json!({ "reason": "not saved, try again" }));
                    }
                }
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
    let db = Database::open(path)?;
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
