//! Clients whose requests reach another node each time, on an engine that can be disturbed.

use std::{
    rc::Rc,
    slice,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_web::{App, dev::Service, http::Method, test, web};
use futures_util::{FutureExt, future::LocalBoxFuture};
use hinotori_protocol::cluster::{Envelope, Fragment, Kind};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    Channel, ConnectInfo, Context, Endpoint, Join, Params, Payload, Refused, Reply, Result, Routes,
    SocketHandler, SocketOptions,
    cluster::{
        Sink,
        tests::{PATIENCE, TestNode, until},
    },
    testing::adapter::{Faults, Hub},
};

/// Long enough for a busy machine: a session may not end while a test waits.
const WINDOW: Duration = Duration::from_secs(4);

/// Every `n` that a channel of a test has handled.
#[derive(Clone, Default)]
struct Handled(Arc<Mutex<Vec<u64>>>);

impl Handled {
    fn all(&self) -> Vec<u64> {
        self.0.lock().unwrap().clone()
    }
}

struct UserSocket(Handled);

impl SocketHandler for UserSocket {
    async fn connect(_: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        info.data::<Handled>().cloned().map(Self)
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Room>("room");
    }
}

struct Room;

impl Channel for Room {
    type Socket = UserSocket;
    type Info = ();

    async fn join(_: &str, _: Payload, _: &mut Context<Self>) -> Result<Join<Self>> {
        Join::ok(Self)
    }

    async fn handle_in(&mut self, _: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        let value: Value = payload.parse()?;
        cx.socket().0.0.lock().unwrap().extend(value["n"].as_u64());
        Reply::ok(value)
    }
}

/// One request to a node: method, token, body.
type Ask = Rc<dyn Fn(Method, String, String) -> LocalBoxFuture<'static, Value>>;

async fn serve(node: &TestNode, handled: &Handled, options: SocketOptions) -> Ask {
    let socket = node.socket::<UserSocket>("/socket", options);
    let app = test::init_service(App::new().app_data(handled.clone()).configure(socket)).await;
    let app = Rc::new(app);
    Rc::new(move |method, token, body| {
        let request =
            test::TestRequest::with_uri("/socket/longpoll?vsn=2.0.0").method(method).set_payload(body);
        let headers = [("content-type", "application/x-ndjson"), ("x-phoenix-longpoll-token", &token)];
        let request = headers.into_iter().fold(request, |request, header| request.insert_header(header));
        let app = app.clone();
        async move {
            let response = app.call(request.to_request()).await.unwrap();
            let status = response.status().as_u16();
            let body = test::read_body(response).await;
            serde_json::from_slice(&body).unwrap_or_else(|_| json!({ "http": status }))
        }
        .boxed_local()
    })
}

/// A client of several nodes, as phoenix.js is one: it has one poll at a time, and sends the token that it got last.
struct Poller {
    nodes: Vec<Ask>,
    token: String,
    got: Vec<Value>,
}

impl Poller {
    /// Opens a session on the first node and joins by the last one.
    async fn join(nodes: &[Ask]) -> Self {
        let mut poller = Self { nodes: nodes.to_vec(), token: String::new(), got: vec![] };
        assert_eq!(poller.get(0).await["status"], 410);
        let last = nodes.len() - 1;
        assert_eq!(poller.post(last, &[json!(["1", "1", "room", "phx_join", {}])]).await["status"], 200);
        assert_eq!(poller.get(last).await["status"], 200);
        assert_eq!(poller.got.len(), 1, "{:?}", poller.got);
        poller.got.clear();
        poller
    }

    async fn get(&mut self, at: usize) -> Value {
        let answer = (self.nodes[at])(Method::GET, self.token.clone(), String::new()).await;
        if let Some(token) = answer["token"].as_str() {
            token.clone_into(&mut self.token);
        }
        let messages = answer["messages"].as_array().cloned().unwrap_or_default();
        let texts = messages.iter().map(|message| serde_json::from_str(message.as_str().unwrap()).unwrap());
        self.got.extend(texts);
        answer
    }

    async fn post(&self, at: usize, messages: &[Value]) -> Value {
        let lines: Vec<_> = messages.iter().map(Value::to_string).collect();
        (self.nodes[at])(Method::POST, self.token.clone(), lines.join("\n")).await
    }

    /// Has the channel handle this number.
    async fn tell(&self, at: usize, n: u64) -> Value {
        self.post(at, &[json!(["1", n.to_string(), "room", "tell", { "n": n }])]).await
    }

    /// The numbers of the replies, in the order in which they have come.
    fn told(&self) -> Vec<u64> {
        self.got.iter().filter_map(|message| message[4]["response"]["n"].as_u64()).collect()
    }

    /// Polls until there are so many messages.
    async fn gets(&mut self, at: usize, count: usize) {
        while self.got.len() < count {
            let answer = self.get(at).await;
            assert!(answer["status"] == 200 || answer["status"] == 204, "{answer}");
        }
    }
}

async fn served<const N: usize>(nodes: &[TestNode; N], options: &SocketOptions) -> (Vec<Ask>, Handled) {
    let (mut asks, handled) = (vec![], Handled::default());
    for node in nodes {
        asks.push(serve(node, &handled, options.clone()).await);
    }
    (asks, handled)
}

fn options() -> SocketOptions {
    SocketOptions::default().longpoll(WINDOW)
}

#[actix_web::test]
async fn requests_that_reach_another_node_each_time_are_those_of_one_session_on_an_engine_that_mixes_them_up()
{
    const COUNT: u64 = 120;
    let hub = Hub::new(5);
    let nodes = TestNode::start_all(&hub, ["a", "b", "c"]).await;
    let (asks, handled) = served(&nodes, &options()).await;
    let mut poller = Poller::join(&asks).await;
    hub.set_faults(Faults { duplicates: 0.3, delay: Duration::from_millis(3), ..Faults::default() });
    for n in 0..COUNT {
        let random = getrandom::u32().unwrap() as usize;
        assert_eq!(poller.tell(random % 3, n).await["status"], 200);
        // some of them wait for others to be polled with
        if !random.is_multiple_of(5) {
            poller.gets(random / 15 % 3, n as usize + 1).await;
        }
    }
    poller.gets(1, COUNT as usize).await;
    let wanted: Vec<u64> = (0..COUNT).collect();
    assert_eq!(handled.all(), wanted);
    assert_eq!(poller.told(), wanted);
    // a poll that waits gets what other nodes broadcast
    let broadcast = async {
        until("a poll waits", || nodes[2].cluster().waiting_requests() == 1).await;
        nodes[1].broadcast("room", "news", json!({ "n": 7 })).unwrap();
    };
    let (answer, ()) = tokio::join!(poller.get(2), broadcast);
    assert_eq!(answer["status"], 200);
    assert_eq!(poller.got.last().unwrap()[3], "news");
}

#[actix_web::test]
async fn messages_of_an_answer_that_is_lost_come_with_the_next_poll_whichever_node_it_reaches() {
    let hub = Hub::new(5);
    let nodes = TestNode::start_all(&hub, ["a", "b", "c"]).await;
    let (asks, _) = served(&nodes, &options()).await;
    let mut poller = Poller::join(&asks).await;
    assert_eq!(poller.tell(2, 1).await["status"], 200);
    hub.part("a", "b");
    let token = poller.token.clone();
    {
        // the client, or the balancer, does not wait for it
        let lost = poller.get(1);
        let is_sent = until("the poll is passed on", || nodes[1].cluster().waiting_requests() == 1);
        tokio::select! {
            answer = lost => panic!("{answer}"),
            () = is_sent => {}
        }
    }
    until("its wait ends with it", || nodes[1].cluster().waiting_requests() == 0).await;
    assert_eq!(poller.token, token);
    poller.gets(2, 1).await;
    assert_eq!(poller.told(), [1]);
    // that answer does not reach the client either
    poller.token = token;
    poller.gets(0, 2).await;
    assert_eq!(poller.told(), [1, 1], "it is the same batch");
    poller.tell(0, 2).await;
    poller.gets(2, 3).await;
    assert_eq!(poller.told(), [1, 1, 2], "what the client has does not come again");
}

#[actix_web::test]
async fn a_poll_without_an_answer_leaves_the_client_its_token_and_a_post_is_handled_once_and_not_repeated() {
    let hub = Hub::new(5);
    // at the speed of the clock, because the node may not be taken for dead meanwhile
    let start = |name| TestNode(Endpoint::builder().adapter(hub.adapter()).node_name(name).build());
    let nodes = ["a", "b"].map(start);
    nodes[0].knows(1).await;
    nodes[1].knows(1).await;
    let options = SocketOptions::default().longpoll(WINDOW / 4).timeout(Duration::from_millis(200));
    let (asks, handled) = served(&nodes, &options).await;
    let mut poller = Poller::join(&asks).await;
    hub.part("a", "b");
    let token = poller.token.clone();
    let answer = poller.get(1).await;
    assert_eq!(answer, json!({ "status": 204, "token": token, "messages": [] }));
    assert_eq!(poller.tell(1, 1).await, json!({ "status": 410 }));
    until("it is handled", || handled.all() == [1]).await;
    assert_eq!(nodes[1].cluster().waiting_requests(), 0);
}

#[actix_web::test]
async fn a_client_whose_session_is_gone_with_its_node_gets_a_new_one() {
    let hub = Hub::new(5);
    let [a, b] = TestNode::start_all(&hub, ["a", "b"]).await;
    let ask_b = serve(&b, &Handled::default(), options()).await;
    let mut poller = {
        let ask_a = serve(&a, &Handled::default(), options()).await;
        Poller::join(&[ask_a, ask_b.clone()]).await
    };
    poller.nodes.remove(0);
    let (old, id) = (poller.token.clone(), b.node_id().unwrap().to_string());
    // one poll waits when the node is gone
    let gone = async {
        until("a poll waits", || b.cluster().waiting_requests() == 1).await;
        hub.cut("a");
        b.knows(0).await;
    };
    let (answer, ()) = tokio::join!(poller.get(0), gone);
    assert_eq!((&answer["status"], &answer["messages"]), (&json!(410), &json!([])));
    assert!(poller.token.starts_with(&id), "{}", poller.token);
    assert_eq!(poller.tell(0, 1).await["status"], 200, "it is a session");
    poller.token = old;
    assert_eq!(poller.tell(0, 1).await, json!({ "status": 410 }));
    assert_eq!(poller.get(0).await["status"], 410);
    // of no node at all, forged, or of a session that never was
    let signed = poller.token.split_once('.').unwrap().1.to_owned();
    for token in [format!("{}.{signed}", "0".repeat(16)), format!("{id}.x"), signed, "x".to_owned()] {
        poller.token = token;
        assert_eq!(poller.tell(0, 1).await, json!({ "status": 410 }));
        assert_eq!(poller.get(0).await["status"], 410);
    }
}

#[actix_web::test]
async fn long_messages_pass_both_ways_and_longer_ones_than_a_session_takes_are_refused() {
    let hub = Hub::new(5);
    let nodes = TestNode::start_all(&hub, ["a", "b"]).await;
    let (asks, _) = served(&nodes, &options().max_message_size(4_000_000)).await;
    let mut poller = Poller::join(&asks).await;
    hub.set_faults(Faults { duplicates: 0.3, delay: Duration::from_millis(3), ..Faults::default() });
    let long: String = "火\n".repeat(500_000);
    let message = json!(["1", "2", "room", "tell", { "n": 1, "long": long }]);
    assert_eq!(poller.post(1, &[message]).await["status"], 200);
    poller.gets(1, 1).await;
    assert_eq!(poller.got[0][4]["response"]["long"], long);
    let too_long = json!(["1", "2", "room", "tell", { "long": "x".repeat(4_000_000) }]);
    assert_eq!(poller.post(1, &[too_long]).await, json!({ "http": 413 }));
    // what does not decode is told, too
    assert_eq!((asks[1])(Method::POST, poller.token.clone(), "!".to_owned()).await, json!({ "http": 400 }));
    assert_eq!(poller.post(1, &[json!([])]).await, json!({ "status": 408 }));
    assert_eq!(poller.get(1).await["status"], 410, "that has ended the session");
}

#[actix_web::test]
async fn a_request_for_which_its_node_has_no_room_is_refused_at_once_and_what_never_completes_makes_room() {
    let hub = Hub::new(5);
    let nodes = TestNode::start_all(&hub, ["a", "b"]).await;
    let (asks, handled) = served(&nodes, &options()).await;
    let mut poller = Poller::join(&asks).await;
    let cluster = nodes[0].cluster();
    let part = Fragment { id: 1, index: 0, count: 2, bytes: vec![0; 17 << 20].into() };
    let frame = Envelope {
        kind: Kind::Pass,
        incarnation: 77,
        seq: 1,
        sent_at: 0,
        topic: "",
        event: "",
        payload: Payload::binary(part.encode()),
        to: Some(cluster.id().0),
        position: None,
        latest: None,
    };
    Sink::frame(&*cluster, frame.encode().unwrap().freeze());
    let long = json!(["1", "2", "room", "tell", { "n": 1, "long": "x".repeat(100_000) }]);
    assert_eq!(poller.post(1, slice::from_ref(&long)).await, json!({ "http": 503 }));
    assert_eq!(poller.tell(1, 2).await, json!({ "status": 200 }), "a short one needs no room");
    let has_room = async { while poller.post(1, slice::from_ref(&long)).await["status"] != 200 {} };
    timeout(PATIENCE, has_room).await.expect("what does not complete is dropped");
    assert_eq!(handled.all(), [2, 1]);
    poller.gets(1, 2).await;
}

#[actix_web::test]
async fn sessions_outlive_a_connection_to_the_engine_that_is_lost_for_a_moment() {
    let hub = Hub::new(5);
    let nodes = TestNode::start_all(&hub, ["a", "b"]).await;
    let (asks, handled) = served(&nodes, &options()).await;
    let mut poller = Poller::join(&asks).await;
    let token = poller.token.clone();
    let cut = async {
        until("a poll waits", || nodes[1].cluster().waiting_requests() == 1).await;
        hub.cut("b");
    };
    let (answer, ()) = tokio::join!(poller.get(1), cut);
    assert_eq!(answer, json!({ "status": 204, "token": token, "messages": [] }), "nobody will answer it");
    assert_eq!(poller.tell(1, 1).await, json!({ "status": 410 }), "it is not known to arrive");
    assert!(handled.all().is_empty());
    hub.restore("b");
    nodes[1].knows(1).await;
    assert_eq!(poller.tell(1, 2).await["status"], 200);
    poller.gets(1, 1).await;
    assert_eq!(poller.told(), [2]);
    assert_eq!(web::Bytes::from(token.clone())[..16], poller.token.as_bytes()[..16]);
}
