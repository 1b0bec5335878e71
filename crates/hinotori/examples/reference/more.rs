//! `more:*`: further topics, presences on any topic, timers, bursts.

use std::{collections::HashSet, time::Duration};

use actix_web::web;
use hinotori::{Channel, Context, Join, Payload, PresenceError, Reply, Result};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::UserSocket;

/// A channel that does what its events say.
#[derive(Default)]
pub(crate) struct MoreChannel {
    /// Timers that run, by their numbers.
    timers: HashSet<u64>,
    /// How many were started.
    started: u64,
    /// The one that `cancel` cancels.
    last: Option<u64>,
}

/// A timer goes off.
pub(crate) enum Timer {
    After { timer: u64, payload: Value },
    Every { timer: u64, pause: Duration, n: u64 },
}

#[derive(Deserialize)]
struct OnTopic {
    topic: String,
}

#[derive(Deserialize)]
struct Tell {
    topic: String,
    event: String,
    payload: Value,
}

#[derive(Deserialize)]
struct Track {
    topic: String,
    key: Option<Value>,
    meta: Option<Map<String, Value>>,
}

impl Track {
    /// The key under which a channel is tracked: the user's, unless another one was given.
    fn key(&self, cx: &Context<MoreChannel>) -> String {
        match &self.key {
            Some(Value::String(key)) => key.clone(),
            Some(key) => key.to_string(),
            None => user(cx),
        }
    }

    fn meta(&self) -> Map<String, Value> {
        self.meta.clone().unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct After {
    ms: u64,
    payload: Value,
}

#[derive(Deserialize)]
struct Every {
    ms: u64,
}

#[derive(Deserialize)]
struct Burst {
    n: u64,
    size: usize,
}

impl Channel for MoreChannel {
    type Socket = UserSocket;
    type Info = Timer;
    const INTERCEPT: &'static [&'static str] = &["veiled"];

    async fn join(_topic: &str, payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        let payload: Value = payload.parse().unwrap_or_default();
        if payload["track"].is_object() {
            track(&read(payload["track"].clone())?, cx).await?;
        }
        if payload["stop"] == true {
            cx.stop();
        }
        Join::ok(Self::default())
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        let payload: Value = payload.parse().map_err(|error| error.to_string())?;
        match event {
            "subscribe" => cx.subscribe(&read::<OnTopic>(payload)?.topic),
            "unsubscribe" => cx.unsubscribe(&read::<OnTopic>(payload)?.topic),
            "tell" => {
                let Tell { topic, event, payload } = read(payload)?;
                cx.pubsub().broadcast(&topic, &event, payload)?;
            }
            "tell_from" => {
                let Tell { topic, event, payload } = read(payload)?;
                cx.pubsub().broadcast_from(cx, &topic, &event, payload)?;
            }
            "track" => return answer(track(&read(payload)?, cx).await),
            "update" => return answer(update(&read(payload)?, cx)),
            "untrack" => {
                let untrack: Track = read(payload)?;
                cx.socket().presence.untrack_on(cx, &untrack.topic, &untrack.key(cx));
            }
            "list" => return Reply::ok(cx.socket().presence.list(&read::<OnTopic>(payload)?.topic)),
            "after" => {
                let After { ms, payload } = read(payload)?;
                let timer = self.start();
                cx.send_after(Duration::from_millis(ms), Timer::After { timer, payload });
            }
            "every" => {
                let pause = Duration::from_millis(read::<Every>(payload)?.ms);
                let timer = self.start();
                cx.send_after(pause, Timer::Every { timer, pause, n: 1 });
            }
            "cancel" => {
                if let Some(last) = self.last.take() {
                    self.timers.remove(&last);
                }
            }
            "burst" => burst(read(payload)?, cx).await?,
            _ => return cx.unhandled(event),
        }
        Reply::ok(json!({}))
    }

    async fn handle_info(&mut self, timer: Timer, cx: &mut Context<Self>) -> Result<()> {
        match timer {
            Timer::After { timer, payload } if self.timers.remove(&timer) => cx.push("later", payload)?,
            Timer::Every { timer, pause, n } if self.timers.contains(&timer) => {
                cx.send_after(pause, Timer::Every { timer, pause, n: n + 1 });
                cx.push("tick", json!({ "n": n }))?;
            }
            _ => {}
        }
        Ok(())
    }

    async fn handle_broadcast(
        &mut self,
        topic: &str,
        event: &str,
        payload: Payload,
        cx: &mut Context<Self>,
    ) -> Result<()> {
        let payload: Value = payload.parse()?;
        Ok(cx.push("heard", json!({ "topic": topic, "event": event, "payload": payload }))?)
    }

    async fn handle_out(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result<()> {
        let mut payload: Map<String, Value> = payload.parse()?;
        if event == "veiled" {
            payload.insert("seen_by".to_owned(), user(cx).into());
            cx.push(event, payload)?;
        } else {
            cx.push("out", json!({ "event": event, "payload": payload }))?;
        }
        Ok(())
    }
}

impl MoreChannel {
    /// The number of a timer that is started now.
    fn start(&mut self) -> u64 {
        self.started += 1;
        self.timers.insert(self.started);
        self.last = Some(self.started);
        self.started
    }
}

/// What a payload says. What it does not say crashes the channel, as in Phoenix, where no clause would match.
fn read<T: DeserializeOwned>(payload: Value) -> Result<T> {
    if !payload.is_object() {
        return Err("the payload is no object".into());
    }
    serde_json::from_value(payload).map_err(|error| error.to_string().into())
}

fn user(cx: &Context<MoreChannel>) -> String {
    cx.socket().user_id.clone().unwrap_or_else(|| "anon".to_owned())
}

async fn track(track: &Track, cx: &Context<MoreChannel>) -> Result<(), PresenceError> {
    cx.socket().presence.track_on(cx, &track.topic, &track.key(cx), track.meta()).await
}

fn update(update: &Track, cx: &Context<MoreChannel>) -> Result<(), PresenceError> {
    cx.socket().presence.update_on(cx, &update.topic, &update.key(cx), |meta| *meta = update.meta())
}

fn answer(outcome: Result<(), PresenceError>) -> Result {
    match outcome {
        Ok(()) => Reply::ok(json!({})),
        Err(PresenceError::AlreadyTracked) => Reply::error(json!({ "reason": "already_tracked" })),
        Err(PresenceError::NotTracked) => Reply::error(json!({ "reason": "nopresence" })),
        Err(error) => Err(error.into()),
    }
}

/// Returns when another thread has broadcast all of it.
async fn burst(Burst { n, size }: Burst, cx: &Context<MoreChannel>) -> Result<()> {
    let (pubsub, topic, x) = (cx.pubsub().clone(), cx.topic().to_owned(), "x".repeat(size));
    let broadcast =
        move || (1..=n).try_for_each(|i| pubsub.broadcast(&topic, "burst", json!({ "i": i, "x": x })));
    Ok(web::block(broadcast).await??)
}
