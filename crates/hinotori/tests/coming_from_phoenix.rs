//! What the guide's table "Coming from Phoenix" says of channels, endpoints, presence and tests, in one channel: it compiles,
//! and does what the left column says.

use std::time::Duration;

use hinotori::{
    Channel, ConnectInfo, Context, Endpoint, Exit, Join, Params, Payload, Presence, Refused, Reply, ReplyRef,
    Result, Routes, SocketHandler, Status, Token,
    testing::{ChannelTest, JoinRefused, like},
};
use serde::Deserialize;
use serde_json::json;

/// `assign(socket, :user_id, id)` in `connect`.
struct UserSocket {
    user_id: String,
    presence: Presence,
}

impl SocketHandler for UserSocket {
    async fn connect(params: &Params, info: &ConnectInfo<'_>) -> std::result::Result<Self, Refused> {
        let user_id = params.get("user").ok_or("no user")?.to_owned();
        Ok(Self { user_id, presence: info.data::<Presence>()?.clone() })
    }

    fn id(&self) -> Option<String> {
        Some(format!("users:{}", self.user_id))
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Room>("room:*");
    }
}

#[derive(Clone)]
enum Info {
    AfterJoin,
    Tick,
}

#[derive(Deserialize)]
struct Shout {
    body: String,
}

struct Room {
    said: usize,
    later: Option<ReplyRef>,
}

impl Channel for Room {
    type Socket = UserSocket;
    type Info = Info;
    const INTERCEPT: &'static [&'static str] = &["whispered"];

    async fn join(topic: &str, payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        if topic == "room:closed" {
            return Join::refuse(json!({ "reason": "closed" }));
        }
        cx.send_self(Info::AfterJoin);
        let room = Self { said: 0, later: None };
        if payload.is_empty() { Join::ok(room) } else { Join::reply(room, json!({ "topic": cx.topic() })) }
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        match event {
            "shout" => {
                let Shout { body } = payload.parse()?;
                self.said += 1;
                cx.broadcast("shouted", json!({ "body": body, "by": cx.socket().user_id }))?;
                Reply::none()
            }
            "whisper" => {
                cx.broadcast_from("whispered", payload)?;
                Reply::ok(json!({}))
            }
            "elsewhere" => {
                cx.pubsub().broadcast_from(cx, "room:other", "heard", payload)?;
                Reply::ok(json!({}))
            }
            "later" => {
                self.later = cx.reply_ref();
                let timer = cx.send_after(Duration::from_secs(3_600), Info::Tick);
                cx.cancel_timer(timer);
                let _every = cx.send_every(Duration::from_millis(1), Info::Tick);
                Reply::none()
            }
            "bytes" => match payload.as_binary() {
                Some(bytes) => Reply::ok(Payload::binary(bytes.to_vec())),
                None => Reply::error(json!({ "reason": "no bytes" })),
            },
            "leave" => {
                cx.stop();
                Reply::ok(json!({ "said": self.said }))
            }
            _ => cx.unhandled(event),
        }
    }

    async fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Result<()> {
        match info {
            Info::AfterJoin => {
                let presence = cx.socket().presence.clone();
                let key = cx.socket().user_id.clone();
                presence.track(cx, &key, json!({ "at": "desk" })).await?;
                presence.track_on(cx, "room:all", &key, json!({})).await?;
                cx.subscribe("news");
                cx.push("ready", json!({ "here": presence.list(cx.topic()).len() }))?;
            }
            Info::Tick => {
                if let Some(later) = self.later.take() {
                    later.reply(Reply::ok(json!({ "late": true }))?);
                }
            }
        }
        Ok(())
    }

    async fn handle_broadcast(
        &mut self,
        topic: &str,
        event: &str,
        _: Payload,
        cx: &mut Context<Self>,
    ) -> Result<()> {
        Ok(cx.push("news", json!({ "topic": topic, "event": event }))?)
    }

    async fn handle_out(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result<()> {
        Ok(cx.push(event, payload)?)
    }

    async fn terminate(&mut self, exit: &Exit, cx: &mut Context<Self>) {
        cx.socket().presence.untrack(cx, &cx.socket().user_id);
        log::debug!("{exit}");
    }
}

#[actix_web::test]
async fn the_table_of_the_guide_does_what_phoenix_does() {
    let endpoint = Endpoint::new();
    let presence = Presence::new(&endpoint);
    let connect = |user: &str| {
        ChannelTest::new(&endpoint)
            .app_data(presence.clone())
            .params(&format!("user={user}"))
            .connect::<UserSocket>()
    };
    let (mut ann, mut ben) = (connect("ann").await.unwrap(), connect("ben").await.unwrap());
    assert!(ChannelTest::new(&endpoint).app_data(presence.clone()).connect::<UserSocket>().await.is_err());

    let Err(JoinRefused(reply)) = ann.subscribe_and_join("room:closed", json!({})).await else {
        panic!("it was let in")
    };
    assert_eq!(reply, json!({ "reason": "closed" }));
    ann.subscribe_and_join("room:1", json!({})).await.unwrap();
    ann.assert_push("ready", json!({ "here": 1 })).await;
    ben.subscribe_and_join("room:1", json!({})).await.unwrap();
    ben.assert_push("ready", json!({ "here": 2 })).await;
    assert_eq!(presence.list("room:all").len(), 2);

    let _ = ann.push("room:1", "shout", json!({ "body": "hi" })).unwrap();
    ben.assert_broadcast("shouted", json!({ "body": "hi", "by": "ann" })).await;
    let push = ann.push("room:1", "shout", json!({})).unwrap();
    ann.assert_reply(push, Status::Error, like(json!({ "reason": "invalid payload: missing field `body`" })))
        .await;
    let push = ann.push("room:1", "whisper", json!({ "x": 1 })).unwrap();
    ann.assert_reply(push, Status::Ok, json!({})).await;
    ben.assert_push("whispered", json!({ "x": 1 })).await;
    let push = ann.push("room:1", "later", json!({})).unwrap();
    ann.assert_reply(push, Status::Ok, json!({ "late": true })).await;

    endpoint.broadcast("news", "flash", json!({})).unwrap();
    ben.assert_push("news", json!({ "topic": "news", "event": "flash" })).await;
    let push = ann.push("room:1", "leave", json!({})).unwrap();
    ann.assert_reply(push, Status::Ok, json!({ "said": 1 })).await;
    ann.assert_push("phx_close", json!({})).await;
    endpoint.disconnect("users:ben");
    ben.closed().await;

    let token = Token::new("user socket", &[&[7; 32]]).unwrap();
    let signed = token.sign(&"ann").unwrap();
    assert_eq!(token.verify::<String>(Some(&signed), Duration::from_secs(60)).as_deref(), Ok("ann"));
}
