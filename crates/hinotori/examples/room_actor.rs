//! One actor per room, which owns the room's state: it starts with the first client, is saved and ends when the room has been
//! empty for a while, and at SIGTERM. Explained in `docs/RECIPES.md`.
//!
//! Run it with `cargo run --example room_actor`; HOST, PORT, WORKERS, DATA_DIR and ROOM_TTL, in milliseconds, are taken from
//! the environment. A client for Node 22 (`npm install phoenix`, `node client.mjs`):
//!
//! ```js
//! import { Socket } from "phoenix"
//! const socket = new Socket("ws://localhost:4000/socket")
//! socket.connect()
//! const room = socket.channel("room:lobby")
//! const said = [] // by number: what is said while the texts are on their way may come before them
//! room.on("texts", ({ texts }) => texts.forEach((text, number) => said[number] = text))
//! room.on("said", ({ number, text }) => console.log(said[number] = text))
//! room.on("members", ({ count }) => console.log(`${count} here`))
//! room.join()
//! room.push("say", { text: "hello" })
//! ```

use std::{
    collections::HashMap,
    env, fs, io,
    path::PathBuf,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix::{Arbiter, ArbiterHandle};
use actix_web::{
    App,
    rt::{self, time::sleep},
    web,
};
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use hinotori::{
    Channel, ConnectInfo, Context, Endpoint, Handle, Join, Params, Payload, Refused, Reply, Result, Routes,
    Server, SocketHandler, SocketOptions,
};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    select,
    sync::{mpsc, oneshot},
};

/// What a room is sent.
enum Message {
    Enter { channel: Handle<Info>, entered: oneshot::Sender<()> },
    Texts(oneshot::Sender<Vec<String>>),
    Say(String),
    Crash,
    Stop,
}

/// Reaches one room.
type Room = mpsc::Sender<Message>;

/// A room's state, which only its own task touches.
struct Actor {
    topic: String,
    texts: Vec<String>,
    /// Each is ready when its channel has ended.
    members: FuturesUnordered<BoxFuture<'static, ()>>,
    rooms: Rooms,
}

impl Actor {
    async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        match self.rooms.load(&self.topic).await {
            Ok(texts) => self.texts = texts,
            Err(error) => return log::error!("{} is not loaded: {error}", self.topic),
        }
        loop {
            select! {
                message = inbox.recv() => match message {
                    Some(Message::Enter { channel, entered }) => self.enter(&channel, entered),
                    Some(Message::Texts(answer)) => self.texts(answer),
                    Some(Message::Say(text)) => self.say(text),
                    Some(Message::Crash) => panic!("told to crash"),
                    Some(Message::Stop) | None => break,
                },
                Some(()) = self.members.next() => self.tell_members(),
                () = sleep(self.rooms.ttl), if self.members.is_empty() => break,
            }
        }
        match self.rooms.save(&self.topic, &self.texts).await {
            Ok(()) => log::info!("{} is saved", self.topic),
            Err(error) => log::error!("{} is not saved: {error}", self.topic),
        }
        // the inbox is dropped only now: nobody starts the room anew before it is saved
    }

    fn enter(&mut self, channel: &Handle<Info>, entered: oneshot::Sender<()>) {
        self.members.push(Box::pin(channel.closed()));
        // a channel that has ended meanwhile takes no answer
        let _ = entered.send(());
    }

    fn texts(&self, answer: oneshot::Sender<Vec<String>>) {
        self.tell_members();
        let _ = answer.send(self.texts.clone());
    }

    fn say(&mut self, text: String) {
        self.broadcast("said", json!({ "number": self.texts.len(), "text": text }));
        self.texts.push(text);
    }

    fn tell_members(&self) {
        self.broadcast("members", json!({ "count": self.members.len() }));
    }

    fn broadcast(&self, event: &str, payload: serde_json::Value) {
        if let Err(error) = self.rooms.endpoint.broadcast(&self.topic, event, payload) {
            log::error!("{} is not sent: {error}", self.topic);
        }
    }
}

/// The registry of all rooms, shared by all workers.
#[derive(Clone)]
struct Rooms {
    running: Arc<Mutex<HashMap<String, Room>>>,
    /// The thread that the rooms live on.
    thread: ArbiterHandle,
    endpoint: Endpoint,
    folder: PathBuf,
    ttl: Duration,
}

impl Rooms {
    /// The room of a topic, started if it is not running.
    fn room(&self, topic: &str) -> Room {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, room| !room.is_closed());
        running.entry(topic.to_owned()).or_insert_with(|| self.start(topic)).clone()
    }

    fn start(&self, topic: &str) -> Room {
        let (room, inbox) = mpsc::channel(100);
        let (topic, rooms) = (topic.to_owned(), self.clone());
        self.thread.spawn(async move {
            Actor { topic, texts: vec![], members: FuturesUnordered::new(), rooms }.run(inbox).await;
        });
        room
    }

    /// Enters a room. The channel is a member until it ends.
    async fn enter(&self, topic: &str, channel: &Handle<Info>) -> Result<Room> {
        // a room that was about to end takes nobody in; the next one does
        for _ in 0..2 {
            let room = self.room(topic);
            let (entered, has_entered) = oneshot::channel();
            // it fails if the room has ended; then so does the answer
            let _ = room.send(Message::Enter { channel: channel.clone(), entered }).await;
            if has_entered.await.is_ok() {
                return Ok(room);
            }
            room.closed().await;
        }
        Err(format!("{topic} does not start").into())
    }

    /// Ends all rooms, and waits until they are saved.
    async fn stop(&self) {
        let running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        for room in running.values() {
            // one that has ended needs no message
            let _ = room.send(Message::Stop).await;
        }
        for room in running.values() {
            room.closed().await;
        }
    }

    async fn load(&self, topic: &str) -> io::Result<Vec<String>> {
        let path = self.path(topic);
        let read = web::block(move || fs::read(path)).await.map_err(io::Error::other)?;
        match read {
            Ok(json) => Ok(serde_json::from_slice(&json)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![]),
            Err(error) => Err(error),
        }
    }

    async fn save(&self, topic: &str, texts: &[String]) -> io::Result<()> {
        let (path, json) = (self.path(topic), serde_json::to_vec(texts)?);
        web::block(move || fs::write(path, json)).await.map_err(io::Error::other)?
    }

    /// A topic may have slashes: its bytes in hexadecimal do not.
    fn path(&self, topic: &str) -> PathBuf {
        let name: String = topic.bytes().map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(name)
    }
}

/// One client in one room.
struct RoomChannel {
    room: Room,
}

enum Info {
    AfterJoin,
    /// The room has ended before its channel: it has crashed.
    RoomGone,
}

#[derive(Deserialize)]
struct Say {
    text: String,
}

impl Channel for RoomChannel {
    type Socket = UserSocket;
    type Info = Info;

    async fn join(topic: &str, _payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        let handle = cx.handle();
        let room = cx.socket().rooms.enter(topic, &handle).await?;
        let watched = room.clone();
        rt::spawn(async move {
            select! {
                () = watched.closed() => {
                    // a channel that has ended meanwhile takes no message
                    let _ = handle.send(Info::RoomGone);
                }
                () = handle.closed() => {}
            }
        });
        // a joining client hears no broadcasts yet: the texts must be asked for afterwards, or some are missed
        cx.send_self(Info::AfterJoin);
        Join::ok(Self { room })
    }

    async fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Result<()> {
        match info {
            Info::AfterJoin => {
                let (answer, texts) = oneshot::channel();
                self.room.send(Message::Texts(answer)).await?;
                cx.push("texts", json!({ "texts": texts.await? }))?;
                Ok(())
            }
            // phoenix.js joins again, and that starts the room again
            Info::RoomGone => Err("the room has crashed".into()),
        }
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        match event {
            "say" => {
                let Say { text } = payload.parse()?;
                self.room.send(Message::Say(text)).await?;
            }
            // to see what becomes of its members
            "crash" => self.room.send(Message::Crash).await?,
            _ => return cx.unhandled(event),
        }
        Reply::none()
    }
}

struct UserSocket {
    rooms: Rooms,
}

impl SocketHandler for UserSocket {
    async fn connect(_params: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        Ok(Self { rooms: info.data::<Rooms>()?.clone() })
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<RoomChannel>("room:*");
    }
}

#[actix_web::main]
async fn main() -> io::Result<()> {
    env_logger::init();
    let endpoint = Endpoint::new();
    let rooms = Rooms {
        running: Arc::default(),
        thread: Arbiter::new().handle(),
        endpoint: endpoint.clone(),
        folder: setting("DATA_DIR", env::temp_dir()),
        ttl: Duration::from_millis(setting("ROOM_TTL", 10_000)),
    };
    let (sockets, data) = (endpoint.clone(), rooms.clone());
    let server = Server::new(&endpoint, move || {
        App::new()
            .app_data(data.clone())
            .configure(sockets.socket::<UserSocket>("/socket", SocketOptions::default()))
    })
    .workers(setting("WORKERS", 2))
    .bind((setting("HOST", "127.0.0.1".to_owned()), setting("PORT", 4000)))?;
    for address in server.addrs() {
        println!("room_actor listening on http://{address}");
    }
    server.run().await?;
    // SIGTERM: all channels have ended, and what they sent is in the inboxes of their rooms
    rooms.stop().await;
    Ok(())
}

fn setting<T: FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}
