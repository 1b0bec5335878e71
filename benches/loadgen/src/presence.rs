//! How soon a presence on one node is seen on another, and whether any stays that should not.
//!
//! The example `reference` has the channels: `presence:*` tracks whoever joins, and `more:*` answers `list`.

use std::{
    collections::HashMap,
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use clap::Args;
use hdrhistogram::Histogram;
use memchr::memmem;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::{
    sync::Semaphore,
    task::spawn_local,
    time::{sleep, timeout},
};

use crate::{
    Target,
    connection::{Connection, Scratch, scratch},
    nodes::{Nodes, unix_time},
    rtt::latencies,
};

/// How long a change may take to be seen.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a node is asked who is present.
const POLL: Duration = Duration::from_millis(5);

/// The channel that asks.
const ASKER: &str = "more:asker";

/// See `--help`.
#[derive(Debug, Args)]
pub(crate) struct Presence {
    #[command(flatten)]
    pub(crate) nodes: Nodes,
    /// Presences that join, are updated and leave, one after the other.
    #[arg(long, default_value_t = 100)]
    pub(crate) count: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    mode: &'static str,
    join: Took,
    update: Took,
    leave: Took,
}

#[derive(Debug, Serialize)]
struct Took {
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl Took {
    fn of(micros: &Histogram<u64>) -> Self {
        let at = |quantile| micros.value_at_quantile(quantile) as f64 / 1e3;
        Self { p50_ms: at(0.5), p99_ms: at(0.99), max_ms: micros.max() as f64 / 1e3 }
    }
}

impl Presence {
    pub(crate) async fn run(self) -> io::Result<Report> {
        let (scratch, target, topic) = (scratch(), &self.nodes.target, &self.nodes.target.topic);
        let other = self.nodes.other();
        let mut observer = Connection::open(&other, 0).await?;
        observer.join(&other, &scratch).await?;
        let mut took = [latencies()?, latencies()?, latencies()?];
        for number in 0..self.count {
            let (user, mut subject) = (format!("s{number}"), Connection::open(target, 0).await?);
            let steps = [
                format!(r#"["1","1","{topic}","phx_join",{{"user_id":"{user}"}}]"#),
                format!(r#"["1","2","{topic}","update_meta",{{"typing":true}}]"#),
                format!(r#"["1","3","{topic}","phx_leave",{{}}]"#),
            ];
            for (step, took) in steps.iter().zip(&mut took) {
                // changes are sent in batches: a pause of varying length, so that none is always at the same place of one
                sleep(Duration::from_micros(number * 7_919 % 10_000)).await;
                let begin = Instant::now();
                subject.send(step).await?;
                within(see(&mut observer, &user, &scratch)).await?;
                took.saturating_record(begin.elapsed().as_micros() as u64);
            }
        }
        let [join, update, leave] = took.each_ref().map(Took::of);
        Ok(Report { mode: "presence", join, update, leave })
    }
}

async fn within<T>(what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, what).await?
}

/// Reads until a change of a presence comes.
async fn see(observer: &mut Connection, user: &str, scratch: &Scratch) -> io::Result<()> {
    let (key, mut is_seen) = (format!("\"{user}\""), false);
    while !is_seen {
        let mut look = |text: &[u8]| {
            is_seen |= memmem::find(text, b"\"presence_diff\"").is_some()
                && memmem::find(text, key.as_bytes()).is_some();
        };
        if !observer.read(scratch, &mut look).await? {
            return Err(io::Error::other("the observer was closed"));
        }
    }
    Ok(())
}

/// See `--help`.
#[derive(Debug, Args)]
pub(crate) struct Ghosts {
    #[command(flatten)]
    pub(crate) nodes: Nodes,
    /// Clients that join and are closed at once.
    #[arg(short, default_value_t = 10_000)]
    pub(crate) n: usize,
}

#[derive(Debug, Serialize)]
pub(crate) struct GhostsReport {
    mode: &'static str,
    clients: usize,
    failed: usize,
    /// Presences that the observer on the other node was sent.
    seen: usize,
    /// Presences that are left in the lists of both nodes, and with the observer.
    left_over: i64,
    /// Until none was left, after the last client was closed.
    gone_ms: f64,
}

impl Ghosts {
    pub(crate) async fn run(self) -> io::Result<GhostsReport> {
        let (scratch, other) = (scratch(), self.nodes.other());
        let mut observer = Connection::open(&other, 0).await?;
        observer.join(&other, &scratch).await?;
        let view = Rc::new(std::cell::RefCell::new(View::default()));
        let (seen, reading) = (view.clone(), scratch.clone());
        spawn_local(async move {
            let mut look = |text: &[u8]| seen.borrow_mut().look(text);
            while let Ok(true) = observer.read(&reading, &mut look).await {}
        });
        let failed = self.come_and_go(&scratch).await?;
        let begin = Instant::now();
        let mut left_over = 0;
        for target in [&self.nodes.target, &other] {
            let mut asker = Asker::connect(target, &scratch).await?;
            while begin.elapsed() < PATIENCE {
                // the observer itself is one
                left_over = asker.count(&self.nodes.target.topic, &scratch).await? as i64 - 1;
                if left_over == 0 && view.borrow().present() == 0 {
                    break;
                }
                sleep(POLL).await;
            }
        }
        let (gone_ms, view) = (begin.elapsed().as_secs_f64() * 1e3, view.borrow());
        let left_over = left_over + view.present();
        Ok(GhostsReport { mode: "ghosts", clients: self.n, failed, seen: view.joined, left_over, gone_ms })
    }

    /// Every second client is closed when its join has been answered, the others when they have sent it.
    async fn come_and_go(&self, scratch: &Scratch) -> io::Result<usize> {
        let (gate, mut tasks) = (Rc::new(Semaphore::new(self.nodes.target.concurrency)), vec![]);
        for index in 0..self.n {
            let (target, gate, scratch) = (self.nodes.target.clone(), gate.clone(), scratch.clone());
            tasks.push(spawn_local(async move {
                let _permit = gate.acquire().await;
                let join = format!(r#"{{"user_id":"g{index}"}}"#);
                let target = Target { join, ..target };
                let mut connection = Connection::open(&target, index).await?;
                match index % 2 {
                    0 => connection.join(&target, &scratch).await,
                    _ => {
                        let Target { topic, join, .. } = &target;
                        connection.send(&format!(r#"["1","1","{topic}","phx_join",{join}]"#)).await
                    }
                }
            }));
        }
        let mut failed = 0;
        for task in tasks {
            failed += usize::from(task.await.map_err(io::Error::other)?.is_err());
        }
        Ok(failed)
    }
}

/// What a client makes of the changes that it is sent: how often each presence that it is not its own is there.
#[derive(Debug, Default)]
struct View {
    joined: usize,
    there: HashMap<String, i64>,
}

impl View {
    fn look(&mut self, text: &[u8]) {
        let Ok(Value::Array(message)) = serde_json::from_slice(text) else { return };
        let [_, _, _, event, payload] = &message[..] else { return };
        if event != "presence_diff" {
            return;
        }
        for (user, by) in [("joins", 1), ("leaves", -1)].iter().flat_map(|(of, by)| {
            payload[of].as_object().into_iter().flat_map(Map::keys).map(move |user| (user, *by))
        }) {
            // the observer itself is anonymous
            if user != "anon" {
                self.joined += usize::from(by > 0);
                *self.there.entry(user.clone()).or_default() += by;
            }
        }
    }

    fn present(&self) -> i64 {
        self.there.values().map(|there| there.abs()).sum()
    }
}

/// See `--help`.
#[derive(Debug, Args)]
pub(crate) struct Present {
    #[command(flatten)]
    pub(crate) target: Target,
    /// How many are awaited.
    #[arg(short)]
    pub(crate) n: usize,
}

#[derive(Debug, Serialize)]
pub(crate) struct PresentReport {
    mode: &'static str,
    /// When there were so many, in seconds since 1970.
    at: f64,
}

impl Present {
    /// A server that does not listen yet is waited for.
    pub(crate) async fn run(self) -> io::Result<PresentReport> {
        let scratch = scratch();
        within(async {
            let mut asker = loop {
                match Asker::connect(&self.target, &scratch).await {
                    Ok(asker) => break asker,
                    Err(_) => sleep(POLL).await,
                }
            };
            while asker.count(&self.target.topic, &scratch).await? != self.n {
                sleep(POLL).await;
            }
            Ok(PresentReport { mode: "present", at: unix_time() })
        })
        .await
    }
}

/// A client that asks who is present.
struct Asker {
    connection: Connection,
    asked: u64,
}

impl Asker {
    async fn connect(target: &Target, scratch: &Scratch) -> io::Result<Self> {
        let target = Target { topic: ASKER.to_owned(), join: "{}".to_owned(), ..target.clone() };
        let mut connection = Connection::open(&target, 0).await?;
        connection.join(&target, scratch).await?;
        Ok(Self { connection, asked: 1 })
    }

    /// How many presences a topic has.
    async fn count(&mut self, topic: &str, scratch: &Scratch) -> io::Result<usize> {
        self.asked += 1;
        let asked = self.asked;
        self.connection.send(&format!(r#"["1","{asked}","{ASKER}","list",{{"topic":"{topic}"}}]"#)).await?;
        let mut count = None;
        while count.is_none() {
            if !self.connection.read(scratch, &mut |text| count = count.or(listed(text))).await? {
                return Err(io::Error::other("closed before the answer"));
            }
        }
        Ok(count.unwrap_or_default())
    }
}

/// The number of presences in an answer.
fn listed(text: &[u8]) -> Option<usize> {
    let message: Value = serde_json::from_slice(text).ok()?;
    let users = message.get(4)?.get("response")?.as_object()?;
    Some(users.values().map(|user| user["metas"].as_array().map_or(0, Vec::len)).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_meta_of_every_user_is_a_presence() {
        let list = r#"["1","2","more:asker","phx_reply",{"response":{"a":{"metas":[{},{}]},"b":{"metas":[{}]}},"status":"ok"}]"#;
        assert_eq!(listed(list.as_bytes()), Some(3));
        assert_eq!(listed(br#"["1","2","t","phx_reply",{"response":{},"status":"ok"}]"#), Some(0));
        assert_eq!(listed(br#"[null,null,"t","other",{}]"#), None);
    }

    #[test]
    fn a_view_is_empty_when_all_that_joined_have_left() {
        let mut view = View::default();
        let diff = |joins: &str, leaves: &str| {
            format!(r#"[null,null,"t","presence_diff",{{"joins":{joins},"leaves":{leaves}}}]"#)
        };
        view.look(diff(r#"{"a":{"metas":[{}]},"anon":{"metas":[{}]}}"#, "{}").as_bytes());
        assert_eq!((view.joined, view.present()), (1, 1));
        view.look(diff(r#"{"b":{"metas":[{}]}}"#, r#"{"a":{"metas":[{}]}}"#).as_bytes());
        assert_eq!((view.joined, view.present()), (2, 1));
        view.look(diff("{}", r#"{"b":{"metas":[{}]}}"#).as_bytes());
        assert_eq!((view.joined, view.present()), (2, 0));
    }
}
