//! A channel's timers, as its client sees them while time is paused.

use tokio::time::{Instant, advance, pause, sleep};

use super::*;

struct PlainSocket;

impl SocketHandler for PlainSocket {
    async fn connect(_: &Params, _: &ConnectInfo<'_>) -> std::result::Result<Self, Refused> {
        Ok(Self)
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Alarm>("alarm");
    }
}

/// Pushes `ring` when its timer fires; takes a while to handle it if asked to.
#[derive(Default)]
struct Alarm {
    last: Option<TimerRef>,
    nap: Duration,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Channel for Alarm {
    type Socket = PlainSocket;
    type Info = u64;

    async fn join(_: &str, _: Payload, _: &mut Context<Self>) -> Result<Join<Self>> {
        Join::ok(Self::default())
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        match event {
            "after" => self.last = Some(cx.send_after(MINUTE, payload.parse()?)),
            "every" => self.last = Some(cx.send_every(MINUTE, payload.parse()?)),
            "every, slowly" => {
                self.nap = MINUTE * 2;
                self.last = Some(cx.send_every(MINUTE, 0));
            }
            "cancel" => {
                let left = self.last.take().and_then(|last| cx.cancel_timer(last));
                return Reply::ok(left.map(|left| left.as_secs().div_ceil(30)));
            }
            _ => {}
        }
        Reply::ok(json!({}))
    }

    async fn handle_info(&mut self, n: u64, cx: &mut Context<Self>) -> Result<()> {
        sleep(self.nap).await;
        Ok(cx.push("ring", json!({ "n": n }))?)
    }
}

async fn joined() -> TestSocket {
    let mut client = ChannelTest::new(&Endpoint::new()).connect::<PlainSocket>().await.unwrap();
    client.subscribe_and_join("alarm", json!({})).await.unwrap();
    client
}

async fn say(client: &mut TestSocket, event: &str, payload: impl crate::IntoPayload) -> serde_json::Value {
    let push = client.push("alarm", event, payload).unwrap();
    client.reply(push).await.1
}

#[actix_web::test]
async fn a_message_of_a_timer_comes_when_its_time_has_passed_and_not_before() {
    let mut client = joined().await;
    pause();
    say(&mut client, "after", 1).await;
    advance(MINUTE - Duration::from_secs(1)).await;
    client.refute_push("ring").await;
    let begun = Instant::now();
    client.assert_push("ring", json!({ "n": 1 })).await;
    assert!(begun.elapsed() < Duration::from_secs(2));
    client.refute_push("ring").await;
}

#[actix_web::test]
async fn a_timer_that_repeats_goes_on_until_it_is_cancelled() {
    let mut client = joined().await;
    pause();
    say(&mut client, "every", 2).await;
    for _ in 0..3 {
        advance(MINUTE).await;
        client.assert_push("ring", json!({ "n": 2 })).await;
    }
    assert_eq!(say(&mut client, "cancel", json!({})).await, 2, "nearly a minute is left");
    assert_eq!(say(&mut client, "cancel", json!({})).await, json!(null));
    advance(MINUTE * 10).await;
    client.refute_push("ring").await;
}

#[actix_web::test]
async fn a_timer_whose_messages_take_longer_than_its_period_does_not_keep_the_channel_from_its_client() {
    let mut client = joined().await;
    pause();
    say(&mut client, "every, slowly", json!({})).await;
    for _ in 0..3 {
        advance(MINUTE).await;
        // queued behind a timer message whose callback sleeps
        let push = client.push("alarm", "echo", json!({})).unwrap();
        advance(MINUTE * 2).await;
        client.assert_reply(push, Status::Ok, json!({})).await;
    }
}

#[actix_web::test]
async fn an_assertion_waits_as_long_as_its_test_client_is_told() {
    let test = ChannelTest::new(&Endpoint::new()).patience(MINUTE * 2);
    let mut client = test.connect::<PlainSocket>().await.unwrap();
    client.subscribe_and_join("alarm", json!({})).await.unwrap();
    pause();
    say(&mut client, "after", 3).await;
    client.assert_push("ring", json!({ "n": 3 })).await;
}
