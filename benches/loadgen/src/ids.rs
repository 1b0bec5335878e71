//! Posters on two nodes of the chat: every client must be sent the same messages under the same ids, without a gap.

use std::{
    cell::RefCell,
    collections::HashSet,
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use clap::Args;
use hdrhistogram::Histogram;
use memchr::memmem;
use serde::Serialize;
use tokio::{
    task::spawn_local,
    time::{sleep, sleep_until},
};

use crate::{
    Target,
    connection::{Connection, Scratch, open_all, scratch},
    nodes::{Nodes, number_behind, unix_time},
    rtt::latencies,
};

/// How long all clients may take to get everything after the last post.
const PATIENCE: Duration = Duration::from_secs(15);

const POLL: Duration = Duration::from_millis(10);

/// A delivery that takes longer comes late.
const LATE: Duration = Duration::from_secs(1);

/// See `--help`.
#[derive(Debug, Args, Clone)]
pub(crate) struct Ids {
    #[command(flatten)]
    pub(crate) nodes: Nodes,
    /// Posters at each node.
    #[arg(short, default_value_t = 12)]
    pub(crate) n: usize,
    /// Seconds.
    #[arg(long, default_value_t = 5)]
    pub(crate) secs: u64,
    /// Posts a second, in all; without it, each poster waits for its own to come back.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Posts of a poster that may be on their way at that rate: while more would be, it makes none.
    #[arg(long, default_value_t = 20)]
    pub(crate) on_their_way: u64,
    /// Bytes of a message beside its mark.
    #[arg(long, default_value_t = 40)]
    pub(crate) size: usize,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    mode: &'static str,
    failed: usize,
    sent: u64,
    posts: u64,
    refused: u64,
    /// Posts that were neither delivered nor refused.
    unanswered: u64,
    posts_per_s: f64,
    /// How often an id was not the one after the one before, at any client.
    gaps: u64,
    /// How often a client was sent another message under an id than others were.
    disagreements: u64,
    /// Messages that came under two ids.
    doubles: u64,
    /// Clients that were not sent the last message.
    behind: usize,
    p50_us: u64,
    p99_us: u64,
    max_us: u64,
    /// When the last delivery came late, and when the last post was refused, in seconds since 1970.
    late_until: f64,
    refused_until: f64,
}

/// What a message says of itself: `@poster.number.micros@`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    poster: u64,
    number: u64,
    /// When it was sent, since the beginning.
    sent: u64,
}

impl Mark {
    fn of(text: &[u8]) -> Option<Self> {
        let at = memchr::memchr(b'@', text)? + 1;
        let end = at + memchr::memchr(b'@', &text[at..])?;
        let mut parts = std::str::from_utf8(&text[at..end]).ok()?.splitn(3, '.').map(str::parse);
        let mut next = || parts.next()?.ok();
        Some(Self { poster: next()?, number: next()?, sent: next()? })
    }

    fn name(self) -> u64 {
        self.poster << 40 | self.number
    }
}

/// What a client is told.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Message { id: u64, mark: Mark },
    Refused,
    Nothing,
}

impl Told {
    fn by(text: &[u8]) -> Self {
        // only what is sent to one client alone has its join_ref
        if text.starts_with(b"[\"1\"") {
            let is = |what| memmem::find(text, what).is_some();
            return if is(b"\"phx_reply\"") && is(b"\"error\"") { Self::Refused } else { Self::Nothing };
        }
        let Some(at) = memmem::find(text, br#","new_message",{"#) else { return Self::Nothing };
        match number_behind(&text[at..], br#""id":"#).zip(Mark::of(&text[at..])) {
            Some((id, mark)) => Self::Message { id, mark },
            None => Self::Nothing,
        }
    }
}

/// What all clients together know.
struct Agreed {
    base: Instant,
    is_over: bool,
    sent: u64,
    refused: u64,
    /// The name of each message, by its id; 0 if no client was sent it.
    names: Vec<u64>,
    posts: HashSet<u64>,
    doubles: u64,
    disagreements: u64,
    gaps: u64,
    /// The last id of each client.
    last: Vec<u64>,
    latency: Histogram<u64>,
    late_until: f64,
    refused_until: f64,
}

impl Agreed {
    fn new(clients: usize) -> io::Result<Self> {
        Ok(Self {
            base: Instant::now(),
            is_over: false,
            sent: 0,
            refused: 0,
            names: vec![],
            posts: HashSet::new(),
            doubles: 0,
            disagreements: 0,
            gaps: 0,
            last: vec![0; clients],
            latency: latencies()?,
            late_until: 0.0,
            refused_until: 0.0,
        })
    }

    fn message(&mut self, client: &Client, id: u64, mark: Mark) {
        let last = std::mem::replace(&mut self.last[client.index], id);
        self.gaps += u64::from(last != 0 && id != last + 1);
        let at = id as usize;
        if self.names.len() <= at {
            self.names.resize(at + 1, 0);
        }
        match self.names[at] {
            0 => {
                self.names[at] = mark.name();
                self.doubles += u64::from(!self.posts.insert(mark.name()));
            }
            name => self.disagreements += u64::from(name != mark.name()),
        }
        let late = (self.base.elapsed().as_micros() as u64).saturating_sub(mark.sent).max(1);
        if client.is_first_of_its_node && client.other == mark.poster % 2 {
            self.latency.saturating_record(late);
        }
        if late > LATE.as_micros() as u64 {
            self.late_until = unix_time();
        }
    }

    fn refused(&mut self) {
        self.refused += 1;
        self.refused_until = unix_time();
    }

    /// Clients that were not sent the last message.
    fn behind(&self) -> usize {
        let newest = self.names.len().saturating_sub(1) as u64;
        self.last.iter().filter(|last| **last != newest).count()
    }

    /// Ids that no client was sent, since the first.
    fn missing(&self) -> u64 {
        let missing = |name: &&u64| **name == 0;
        self.names.iter().skip_while(missing).filter(missing).count() as u64
    }

    fn is_settled(&self) -> bool {
        self.sent == self.posts.len() as u64 + self.refused && self.behind() == 0
    }
}

/// A poster.
#[derive(Debug, Clone, Copy)]
struct Client {
    index: usize,
    /// The parity of the posters at the other node: those at `--addr` are even.
    other: u64,
    is_first_of_its_node: bool,
}

impl Ids {
    pub(crate) async fn run(self) -> io::Result<Report> {
        let scratch = scratch();
        let (here, there) = (&self.nodes.target, self.nodes.other());
        let mut opened = [open_all(here, self.n, &scratch).await, open_all(&there, self.n, &scratch).await];
        let failed = opened.iter().map(|opened| opened.failed).sum();
        let agreed = Rc::new(RefCell::new(Agreed::new(2 * self.n)?));
        let begin = Instant::now();
        let mut tasks = vec![];
        for (node, opened) in opened.iter_mut().enumerate() {
            for (nth, connection) in std::mem::take(&mut opened.connections).into_iter().enumerate() {
                let (index, other) = (2 * nth + node, 1 - node as u64);
                let client = Client { index, other, is_first_of_its_node: nth == 0 };
                let (ids, scratch, agreed) = (self.clone(), scratch.clone(), agreed.clone());
                tasks.push(spawn_local(async move { ids.post(client, connection, &scratch, &agreed).await }));
            }
        }
        sleep(Duration::from_secs(self.secs)).await;
        agreed.borrow_mut().is_over = true;
        let took = begin.elapsed().as_secs_f64();
        let posts = agreed.borrow().posts.len() as f64;
        let end = Instant::now();
        while !agreed.borrow().is_settled() && end.elapsed() < PATIENCE {
            sleep(POLL).await;
        }
        tasks.iter().for_each(|task| task.abort());
        let agreed = agreed.borrow();
        let missing = agreed.missing();
        Ok(Report {
            mode: "ids",
            failed,
            sent: agreed.sent,
            posts: agreed.posts.len() as u64,
            refused: agreed.refused,
            unanswered: agreed.sent.saturating_sub(agreed.posts.len() as u64 + agreed.refused),
            posts_per_s: posts / took,
            gaps: agreed.gaps + missing,
            disagreements: agreed.disagreements,
            doubles: agreed.doubles,
            behind: agreed.behind(),
            p50_us: agreed.latency.value_at_quantile(0.5),
            p99_us: agreed.latency.value_at_quantile(0.99),
            max_us: agreed.latency.max(),
            late_until: agreed.late_until,
            refused_until: agreed.refused_until,
        })
    }

    /// Posts and reads on one connection, for ever.
    async fn post(
        &self,
        client: Client,
        mut connection: Connection,
        scratch: &Scratch,
        agreed: &RefCell<Agreed>,
    ) -> io::Result<()> {
        let (begin, mut turns, mut number, mut waiting) = (Instant::now(), 0, 0, 0u64);
        let pause = self.rate.map(|rate| Duration::from_secs_f64(2.0 * self.n as f64 / rate));
        // in turn with the others
        let turn = client.index as f64 / (2 * self.n) as f64;
        let due = |turns| begin + pause.unwrap_or_default().mul_f64(f64::from(turns) + turn);
        loop {
            let is_next = !agreed.borrow().is_over && (pause.is_some() || waiting == 0);
            let mut look = |text: &[u8]| match Told::by(text) {
                Told::Message { id, mark } => {
                    agreed.borrow_mut().message(&client, id, mark);
                    waiting = waiting.saturating_sub(u64::from(mark.poster == client.index as u64));
                }
                Told::Refused => {
                    agreed.borrow_mut().refused();
                    waiting = waiting.saturating_sub(1);
                }
                Told::Nothing => {}
            };
            tokio::select! {
                read = connection.read(scratch, &mut look) => if !read? { return Ok(()) },
                () = sleep_until(due(turns).into()), if is_next => {
                    turns += 1;
                    if waiting < self.on_their_way {
                        number += 1;
                        waiting += 1;
                        let text = self.message(client.index, number, agreed);
                        connection.send(&text).await?;
                    }
                }
            }
        }
    }

    fn message(&self, poster: usize, number: u32, agreed: &RefCell<Agreed>) -> String {
        let mut agreed = agreed.borrow_mut();
        agreed.sent += 1;
        let Target { topic, .. } = &self.nodes.target;
        let (reference, sent, x) = (number + 1, agreed.base.elapsed().as_micros(), "x".repeat(self.size));
        format!(
            r#"["1","{reference}","{topic}","new_message",{{"message":"@{poster}.{number}.{sent}@ {x}","reply_to":null}}]"#
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: Client = Client { index: 0, other: 1, is_first_of_its_node: true };

    fn mark(number: u64) -> Mark {
        Mark { poster: 1, number, sent: 0 }
    }

    #[test]
    fn a_message_has_its_id_and_its_mark_and_an_error_is_a_refusal() {
        for (text, told) in [
            (
                r#"[null,null,"chat:lobby","new_message",{"message":{"id":7,"content":"@1.2.34@ xx"}}]"#,
                Told::Message { id: 7, mark: Mark { poster: 1, number: 2, sent: 34 } },
            ),
            (r#"["1","3","chat:lobby","phx_reply",{"status":"error","response":{}}]"#, Told::Refused),
            (r#"["1",null,"chat:lobby","load_messages",{"messages":[{"id":1}]}]"#, Told::Nothing),
            (r#"[null,null,"chat:lobby","new_message",{"message":{"id":7,"content":"hi"}}]"#, Told::Nothing),
        ] {
            assert_eq!(Told::by(text.as_bytes()), told, "{text}");
        }
    }

    #[test]
    fn gaps_doubles_and_disagreements_are_each_noticed() -> io::Result<()> {
        let mut agreed = Agreed::new(2)?;
        let second = Client { index: 1, ..CLIENT };
        for (client, id, number) in
            [(&CLIENT, 1, 1), (&CLIENT, 2, 2), (&second, 1, 1), (&second, 2, 2), (&second, 3, 3)]
        {
            agreed.message(client, id, mark(number));
        }
        assert_eq!((agreed.gaps, agreed.doubles, agreed.disagreements, agreed.behind()), (0, 0, 0, 1));
        assert_eq!(agreed.missing(), 0, "there is no id 0");
        agreed.message(&CLIENT, 3, mark(4));
        assert_eq!((agreed.disagreements, agreed.behind()), (1, 0));
        agreed.message(&CLIENT, 5, mark(2));
        assert_eq!((agreed.gaps, agreed.doubles, agreed.missing()), (1, 1, 1));
        Ok(())
    }
}
