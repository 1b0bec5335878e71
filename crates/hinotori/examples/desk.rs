//! Three channels ported from Elixir: a board of cards with locks, cursors on it, and an inbox per user. `docs/RECIPES.md` has
//! both versions.
//!
//! Run it with `cargo run --example desk`; HOST, PORT and WORKERS are taken from the environment. A client for Node 22
//! (`npm install phoenix`, `node client.mjs`):
//!
//! ```js
//! import { Socket } from "phoenix"
//! const socket = new Socket("ws://localhost:4000/socket", { params: { user: "ann" } })
//! socket.connect()
//! const board = socket.channel("board:roadmap", { role: "editor" })
//! for (const event of ["cards", "card_added", "card_moved", "locked", "unlocked"])
//!   board.on(event, payload => console.log(event, payload))
//! board.join()
//! board.push("add", { text: "write docs" })
//! board.push("lock", { id: 1 }).receive("ok", () => board.push("move", { id: 1, column: "done" }))
//! ```

use std::{
    collections::{BTreeMap, HashSet},
    env,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use actix_web::App;
use hinotori::{
    Channel, ConnectInfo, Context, Endpoint, Exit, Join, Params, Payload, Presence, Refused, Reply, Result,
    Routes, Server, SocketHandler, SocketOptions,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A card of the board `roadmap`, the only one.
#[derive(Clone, Deserialize, Serialize)]
struct Card {
    id: u64,
    text: String,
    author: String,
    column: String,
}

/// The counterpart of the Elixir application's `Desk.Boards`.
#[derive(Clone, Default)]
struct Boards(Arc<Mutex<BTreeMap<u64, Card>>>);

impl Boards {
    fn exists(name: &str) -> bool {
        name == "roadmap"
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Card>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cards(&self) -> Vec<Card> {
        self.all().values().cloned().collect()
    }

    fn add(&self, text: String, author: &str) -> Card {
        let mut all = self.all();
        let id = all.len() as u64 + 1;
        let card = Card { id, text, author: author.to_owned(), column: "new".to_owned() };
        all.insert(id, card.clone());
        card
    }

    fn shift(&self, id: u64, column: String) -> Option<Card> {
        let mut all = self.all();
        let card = all.get_mut(&id)?;
        card.column = column;
        Some(card.clone())
    }
}

struct Board {
    role: Role,
    muted: HashSet<String>,
    locks: HashSet<u64>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Editor,
    Viewer,
}

#[derive(Deserialize)]
struct Joining {
    role: Role,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    Mute { user: String },
    Add { text: String },
    Lock { id: u64 },
    Move { id: u64, column: String },
}

struct AfterJoin;

const MAX_TEXT: usize = 200;

impl Channel for Board {
    type Socket = UserSocket;
    type Info = AfterJoin;
    const INTERCEPT: &'static [&'static str] = &["card_added"];

    async fn join(topic: &str, payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        let Joining { role } = payload.parse()?;
        if !topic.strip_prefix("board:").is_some_and(Boards::exists) {
            return Join::refuse(json!({ "reason": "no such board" }));
        }
        cx.send_self(AfterJoin);
        let board = Self { role, muted: HashSet::new(), locks: HashSet::new() };
        Join::reply(board, json!({ "user": cx.socket().user }))
    }

    async fn handle_info(&mut self, AfterJoin: AfterJoin, cx: &mut Context<Self>) -> Result<()> {
        let UserSocket { user, presence, boards, .. } = cx.socket();
        presence.track(cx, user, json!({ "role": self.role })).await?;
        cx.push("presence_state", presence.list(cx.topic()))?;
        cx.push("cards", json!({ "cards": boards.cards() }))?;
        Ok(())
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        let UserSocket { user, boards, .. } = cx.socket();
        match payload.parse_event::<Event>(event)? {
            Event::Mute { user } => _ = self.muted.insert(user),
            _ if self.role == Role::Viewer => return Reply::error(json!({ "reason": "viewers only look" })),
            Event::Add { text } if (1..=MAX_TEXT).contains(&text.len()) => {
                let card = boards.add(text, user);
                let id = card.id;
                cx.broadcast("card_added", card)?;
                return Reply::ok(json!({ "id": id }));
            }
            Event::Add { .. } => {
                return Reply::error(json!({ "reason": format!("a text has 1 to {MAX_TEXT} bytes") }));
            }
            Event::Lock { id } => {
                cx.broadcast_from("locked", json!({ "id": id, "user": user }))?;
                self.locks.insert(id);
            }
            Event::Move { id, column } if self.locks.contains(&id) => {
                let Some(card) = boards.shift(id, column) else {
                    return Reply::error(json!({ "reason": "no such card" }));
                };
                cx.broadcast("card_moved", card)?;
                cx.broadcast_from("unlocked", json!({ "id": id }))?;
                self.locks.remove(&id);
            }
            Event::Move { .. } => return Reply::error(json!({ "reason": "lock it first" })),
        }
        Reply::ok(json!({}))
    }

    async fn handle_out(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result<()> {
        let card: Card = payload.parse()?;
        if !self.muted.contains(&card.author) {
            let mine = card.author == cx.socket().user;
            let Card { id, text, author, column } = card;
            let card = json!({ "id": id, "text": text, "author": author, "column": column, "mine": mine });
            cx.push(event, card)?;
        }
        Ok(())
    }

    async fn terminate(&mut self, _exit: &Exit, cx: &mut Context<Self>) {
        for id in self.locks.drain() {
            if let Err(error) = cx.broadcast_from("unlocked", json!({ "id": id })) {
                log::error!("card {id} stays locked: {error}");
            }
        }
    }
}

struct Cursors;

#[derive(Deserialize)]
struct Position {
    x: f64,
    y: f64,
}

impl Channel for Cursors {
    type Socket = UserSocket;
    type Info = ();

    async fn join(_topic: &str, _payload: Payload, _cx: &mut Context<Self>) -> Result<Join<Self>> {
        Join::ok(Self)
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        match event {
            "at" => {
                let (Position { x, y }, user) = (payload.parse()?, &cx.socket().user);
                cx.broadcast_latest_from(user, "at", json!({ "user": user, "x": x, "y": y }))?;
                Reply::none()
            }
            _ => cx.unhandled(event),
        }
    }

    async fn terminate(&mut self, _exit: &Exit, cx: &mut Context<Self>) {
        if let Err(error) = cx.broadcast_from("gone", json!({ "user": cx.socket().user })) {
            log::error!("a cursor stays: {error}");
        }
    }
}

struct Inbox {
    sent: u32,
}

#[derive(Deserialize)]
struct Letter {
    to: String,
    text: String,
}

impl Channel for Inbox {
    type Socket = UserSocket;
    type Info = ();

    async fn join(topic: &str, _payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        if topic.strip_prefix("inbox:") != Some(&cx.socket().user) {
            return Join::refuse(json!({ "reason": "unauthorized" }));
        }
        Join::ok(Self { sent: 0 })
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        match event {
            "send" => {
                let Letter { to, text } = payload.parse()?;
                let UserSocket { user, endpoint, .. } = cx.socket();
                let message = json!({ "from": user, "text": text });
                endpoint.broadcast(&format!("inbox:{to}"), "message", message)?;
                self.sent += 1;
                Reply::ok(json!({ "sent": self.sent }))
            }
            _ => cx.unhandled(event),
        }
    }
}

#[derive(Clone)]
struct Shared {
    endpoint: Endpoint,
    presence: Presence,
    boards: Boards,
}

struct UserSocket {
    user: String,
    endpoint: Endpoint,
    presence: Presence,
    boards: Boards,
}

impl SocketHandler for UserSocket {
    async fn connect(params: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        let user = params.get("user").ok_or("there is no user")?.to_owned();
        let Shared { endpoint, presence, boards } = info.data::<Shared>()?.clone();
        Ok(Self { user, endpoint, presence, boards })
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Board>("board:*").channel::<Cursors>("cursors:*").channel::<Inbox>("inbox:*");
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    env_logger::init();
    let endpoint = Endpoint::new();
    let presence = Presence::new(&endpoint);
    let shared = Shared { endpoint: endpoint.clone(), presence, boards: Boards::default() };
    let sockets = endpoint.clone();
    let server = Server::new(&endpoint, move || {
        App::new()
            .app_data(shared.clone())
            .configure(sockets.socket::<UserSocket>("/socket", SocketOptions::default()))
    })
    .workers(setting("WORKERS", 2))
    .bind((setting("HOST", "127.0.0.1".to_owned()), setting("PORT", 4000)))?;
    for address in server.addrs() {
        println!("desk listening on http://{address}");
    }
    server.run().await
}

fn setting<T: FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}
