//! A test's client hears what a client would.

use super::*;
use crate::{Channel, Context, Join, Reply, Result};

struct UserSocket;

impl SocketHandler for UserSocket {
    async fn connect(_: &Params, _: &ConnectInfo<'_>) -> Result<Self, Refused> {
        Ok(Self)
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Room>("room:*");
    }
}

/// Broadcasts when it has been joined, and ends as it is told.
struct Room;

impl Channel for Room {
    type Socket = UserSocket;
    type Info = ();

    async fn join(_: &str, _: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        cx.hold_broadcasts();
        cx.pubsub().broadcast(cx.topic(), "held", json!({}))?;
        cx.send_self(());
        Join::ok(Self)
    }

    async fn handle_info(&mut self, (): (), cx: &mut Context<Self>) -> Result<()> {
        Ok(cx.broadcast("came", json!({}))?)
    }

    async fn handle_in(&mut self, event: &str, _: Payload, cx: &mut Context<Self>) -> Result {
        match event {
            "stop" => cx.stop(),
            "unsubscribe" => cx.unsubscribe(cx.topic()),
            _ => return cx.unhandled(event),
        }
        Reply::ok(json!({}))
    }
}

async fn connected(endpoint: &Endpoint) -> TestSocket {
    ChannelTest::new(endpoint).connect::<UserSocket>().await.unwrap()
}

#[actix_web::test]
async fn a_client_hears_broadcasts_until_its_channel_ends_and_no_longer() {
    let endpoint = Endpoint::new();
    for end in ["leave", "stop", "crash", "unsubscribe"] {
        let mut client = connected(&endpoint).await;
        let mut other = connected(&endpoint).await;
        for client in [&mut client, &mut other] {
            client.subscribe_and_join("room:1", json!({})).await.unwrap();
        }
        endpoint.broadcast("room:1", "before", json!({ "n": 1 })).unwrap();
        match end {
            "leave" => {
                let left = client.leave("room:1");
                client.assert_reply(left, Status::Ok, json!({})).await;
            }
            "crash" => {
                let _ = client.push("room:1", end, json!({})).unwrap();
                client.pushed("phx_error").await;
            }
            _ => {
                let done = client.push("room:1", end, json!({})).unwrap();
                client.assert_reply(done, Status::Ok, json!({})).await;
                if end == "stop" {
                    client.assert_push("phx_close", json!({})).await;
                }
            }
        }
        endpoint.broadcast("room:1", "after", json!({})).unwrap();
        other.assert_broadcast("after", json!({})).await;
        client.assert_broadcast("before", json!({ "n": 1 })).await;
        client.refute_broadcast("after").await;
    }
}

#[actix_web::test]
async fn a_client_that_joins_again_hears_each_broadcast_once() {
    let endpoint = Endpoint::new();
    let mut client = connected(&endpoint).await;
    for _ in 0..3 {
        client.subscribe_and_join("room:1", json!({})).await.unwrap();
    }
    endpoint.broadcast("room:1", "news", json!({})).unwrap();
    client.assert_broadcast("news", json!({})).await;
    client.refute_broadcast("news").await;
}

#[actix_web::test]
async fn a_client_hears_what_is_broadcast_before_its_test_has_read_the_reply() {
    let endpoint = Endpoint::new();
    let mut first = connected(&endpoint).await;
    first.subscribe_and_join("room:1", json!({})).await.unwrap();
    for event in ["held", "came"] {
        first.assert_broadcast(event, json!({})).await;
    }
    let mut second = connected(&endpoint).await;
    second.subscribe_and_join("room:1", json!({})).await.unwrap();
    for client in [&mut first, &mut second] {
        for event in ["held", "came"] {
            client.assert_broadcast(event, json!({})).await;
            client.refute_broadcast(event).await;
        }
    }
}
