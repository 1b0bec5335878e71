//! Nodes and people of a test.

use std::{
    path::PathBuf,
    process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use actix_web::web::Data;
use hinotori::{
    Endpoint, EndpointBuilder, Status,
    testing::{ChannelTest, ConnectRefused, TestSocket},
};
use hinotori_postgres::{Dsn, Postgres};
use rooms::{
    domain::{accounts, sessions},
    failure::Failure,
    store::{Address, Health, Store},
    team::Team,
    user_socket::UserSocket,
};
use serde_json::{Value, json};

use crate::{
    PATIENCE,
    instance::{Database, Instance},
};

/// How often the sockets of nodes that hear nothing of each other ask whether their sessions go on.
const OFTEN: Duration = Duration::from_millis(20);

/// How often the others do: never while a test runs, so that a test of what disconnects them cannot pass by it.
const SELDOM: Duration = Duration::from_secs(24 * 60 * 60);

/// One server of a team.
pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    pub(crate) team: Data<Team>,
    folder: Option<PathBuf>,
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// A user with a session.
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) session_id: String,
    pub(crate) token: String,
}

/// A server on each database. What a test shows, it shows for both.
pub(crate) async fn both() -> [Node; 2] {
    let database = Instance::shared().database();
    [Node::sqlite().await, Node::open(Endpoint::builder(), &database.address(), false, None).await]
}

/// Two nodes on one database, connected by it.
pub(crate) async fn two_nodes(database: &Database<'_>) -> [Node; 2] {
    [one_of("one", database).await, one_of("two", database).await]
}

/// Two nodes on one database that do not hear of each other, as if each broadcast between them was lost. Their
/// sockets ask often whether their sessions go on.
pub(crate) async fn deaf_nodes(database: &Database<'_>) -> [Node; 2] {
    let address = database.address();
    let node = || Node::open_with(Endpoint::builder(), &address, true, None, OFTEN);
    [node().await, node().await]
}

async fn one_of(name: &str, database: &Database<'_>) -> Node {
    let adapter = Postgres::at(&Dsn::new(&database.address())).unwrap();
    let builder = Endpoint::builder().adapter(adapter).node_name(name);
    let node = Node::open(builder, &database.address(), true, None).await;
    eventually(|| async { node.endpoint.is_connected() }).await;
    node
}

/// Waits until something is so.
pub(crate) async fn eventually<F: Future<Output = bool>>(mut is_so: impl FnMut() -> F) {
    let until = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < until, "it did not happen within {PATIENCE:?}");
        actix_web::rt::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Node {
    pub(crate) async fn sqlite() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("rooms-test-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let address = format!("sqlite:{}", folder.join("rooms.db").display());
        Self::open(Endpoint::builder(), &address, false, Some(folder)).await
    }

    async fn open(builder: EndpointBuilder, address: &str, is_node: bool, folder: Option<PathBuf>) -> Self {
        Self::open_with(builder, address, is_node, folder, SELDOM).await
    }

    async fn open_with(
        builder: EndpointBuilder,
        address: &str,
        is_node: bool,
        folder: Option<PathBuf>,
        session_check: Duration,
    ) -> Self {
        let endpoint = builder.build();
        let address: Address = address.parse().unwrap();
        let store = Store::open(&address, is_node, &endpoint, Health::default()).unwrap();
        let mut team = Team::new(&endpoint, store, None).await.unwrap();
        Arc::get_mut(&mut team).unwrap().session_check = session_check;
        Self { endpoint, team: Data::from(team), folder }
    }

    /// A new user. The first one is the administrator.
    pub(crate) async fn sign_up(&self, name: &'static str) -> Person {
        // argon2 is for the tests of accounts
        let work = move |tx: &mut rooms::store::Tx<'_>| {
            let user = accounts::sign_up(tx, name, "no hash")?;
            let session_id = sessions::begin(tx, &user.id)?;
            Ok((user.id, session_id))
        };
        let (id, session_id) = self.team.store.write(work).await.unwrap();
        let token = self.team.tokens.sign(&session_id).unwrap();
        Person { id, session_id, token }
    }

    pub(crate) async fn try_connect(&self, token: &str) -> Result<TestSocket, ConnectRefused> {
        let test =
            ChannelTest::new(&self.endpoint).app_data(self.team.clone()).auth_token(token).patience(PATIENCE);
        test.connect::<UserSocket>().await
    }

    /// A new user who is connected.
    pub(crate) async fn welcome(&self, name: &'static str) -> Client {
        self.connect(&self.sign_up(name).await).await
    }

    /// Ann, who has created a public room and is in it.
    pub(crate) async fn lobby(&self) -> (Client, String) {
        let mut ann = self.welcome("Ann").await;
        let room_id = ann.create("lobby", false).await;
        ann.enter(&room_id).await;
        (ann, room_id)
    }

    /// A socket of a user that has joined the user's own topic.
    pub(crate) async fn connect(&self, person: &Person) -> Client {
        let socket = self.try_connect(&person.token).await.unwrap();
        let mut client = Client { id: person.id.clone(), socket };
        client.join(&client.user_topic(), json!({})).await.unwrap();
        client
    }
}

/// Ann on one node and Ben on another one, or the same: both are in a public room, which is hers.
pub(crate) async fn meet(one: &Node, other: &Node) -> (Client, Client, String) {
    let (mut ann, room_id) = one.lobby().await;
    let mut ben = other.welcome("Ben").await;
    ann.invite(&room_id, &ben.id).await;
    ben.room_with("id", json!(room_id)).await;
    ben.enter(&room_id).await;
    (ann, ben, room_id)
}

/// A user who is connected.
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) socket: TestSocket,
}

impl Client {
    pub(crate) fn user_topic(&self) -> String {
        format!("user:{}", self.id)
    }

    /// The reply to a join, or that to a refused one.
    pub(crate) async fn join(&mut self, topic: &str, payload: Value) -> Result<Value, Value> {
        self.socket.subscribe_and_join(topic, payload).await.map_err(|refused| refused.0)
    }

    /// Joins a room for the first time, and returns its history.
    pub(crate) async fn enter(&mut self, room_id: &str) -> Value {
        let payload = json!({ "last_seen_id": 0, "epoch": null });
        self.join(&format!("room:{room_id}"), payload).await.unwrap();
        self.socket.pushed("history").await
    }

    /// The reply to a message, or the error.
    pub(crate) async fn push(&mut self, topic: &str, event: &str, payload: Value) -> Result<Value, Value> {
        let push = self.socket.push(topic, event, payload).unwrap();
        match self.socket.reply(push).await {
            (Status::Ok, reply) => Ok(reply),
            (_, error) => Err(error),
        }
    }

    /// The same on the user's own topic.
    pub(crate) async fn ask(&mut self, event: &str, payload: Value) -> Result<Value, Value> {
        self.push(&self.user_topic(), event, payload).await
    }

    /// The same in a room.
    pub(crate) async fn tell(&mut self, room_id: &str, event: &str, payload: Value) -> Result<Value, Value> {
        self.push(&format!("room:{room_id}"), event, payload).await
    }

    /// The next `room` with this field. Whoever enters a room may be told of it twice.
    pub(crate) async fn room_with(&mut self, field: &str, value: Value) -> Value {
        loop {
            let room = self.socket.pushed("room").await["room"].take();
            if room[field] == value {
                return room;
            }
        }
    }

    pub(crate) async fn create(&mut self, name: &str, private: bool) -> String {
        let reply = self.ask("create_room", json!({ "name": name, "private": private })).await.unwrap();
        reply["room"]["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn invite(&mut self, room_id: &str, user_id: &str) {
        self.ask("invite", json!({ "room_id": room_id, "user_id": user_id })).await.unwrap();
    }

    /// Posts a text with a nonce of its own, and returns the message's id.
    pub(crate) async fn post(&mut self, room_id: &str, text: &str) -> i64 {
        let payload = json!({ "text": text, "nonce": rooms::ids::new() });
        self.tell(room_id, "post", payload).await.unwrap()["id"].as_i64().unwrap()
    }
}

/// What a client is told of a failure.
pub(crate) fn refused<T>(failure: &Failure) -> Result<T, Value> {
    Err(failure.reason())
}
