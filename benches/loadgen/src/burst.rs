//! Broadcasts that a channel makes faster than a client could ask for them, and what arrives at a subscriber.
//!
//! The example `reference` makes them: its channels `more:*` answer `burst` when another thread has broadcast so many.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use clap::Args;
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::{
    sync::Notify,
    task::spawn_local,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    Target,
    connection::{Connection, Scratch, scratch},
    nodes::{number_behind, unix_time},
    rtt::latencies,
};

/// How long the rest of a burst may take: it is lost then.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bursts that may wait for their answer: a server that does not keep up gets fewer.
const UNANSWERED: u64 = 2;

/// See `--help`.
#[derive(Debug, Args, Clone)]
pub(crate) struct Burst {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Where the subscriber is, if that is another node. Without it there is no subscriber but the publisher itself.
    #[arg(long)]
    pub(crate) to: Option<SocketAddr>,
    /// Broadcasts of a burst.
    #[arg(short, default_value_t = 5_000)]
    pub(crate) n: u64,
    /// Bytes of each.
    #[arg(long, default_value_t = 20)]
    pub(crate) size: usize,
    /// Bursts.
    #[arg(long, default_value_t = 10)]
    pub(crate) count: u64,
    /// Bursts a second; 0 asks for each when the one before has arrived.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) rate: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    mode: &'static str,
    broadcasts: u64,
    broadcasts_per_s: f64,
    arrived: u64,
    lost: u64,
    /// Those that came before one that was sent earlier.
    disordered: u64,
    p50_ms: f64,
    max_ms: f64,
    longest_silence_ms: f64,
    /// When the longest silence at the subscriber ended, in seconds since 1970.
    silent_until: f64,
}

/// What the subscriber has seen.
struct Seen {
    arrived: Cell<u64>,
    disordered: Cell<u64>,
    last: Cell<u64>,
    wanted: Cell<u64>,
    /// When so many had arrived.
    reached_at: Cell<Instant>,
    reached: Notify,
    at: Cell<Instant>,
    silence: Cell<(Duration, f64)>,
}

impl Seen {
    fn nothing() -> Self {
        Self {
            arrived: Cell::new(0),
            disordered: Cell::new(0),
            last: Cell::new(0),
            wanted: Cell::new(u64::MAX),
            reached_at: Cell::new(Instant::now()),
            reached: Notify::new(),
            at: Cell::new(Instant::now()),
            silence: Cell::new((Duration::ZERO, 0.0)),
        }
    }

    fn look(&self, text: &[u8]) {
        let Some(number) = number_of(text) else { return };
        self.arrived.set(self.arrived.get() + 1);
        // a burst may begin before the end of the one before has come, if that is lost
        if number <= self.last.replace(number) && number != 1 {
            self.disordered.set(self.disordered.get() + 1);
        }
        if self.arrived.get() == self.wanted.get() {
            self.reached_at.set(Instant::now());
            self.reached.notify_one();
        }
    }

    /// After everything that came together.
    fn looked(&self) {
        let silence = self.at.replace(Instant::now()).elapsed();
        if silence > self.silence.get().0 {
            self.silence.set((silence, unix_time()));
        }
    }
}

/// The number of a broadcast in its burst, counted from 1.
fn number_of(text: &[u8]) -> Option<u64> {
    if text.starts_with(b"[null,") { number_behind(text, br#""burst",{"i":"#) } else { None }
}

impl Burst {
    pub(crate) async fn run(self) -> io::Result<Report> {
        let (scratch, seen) = (scratch(), Rc::new(Seen::nothing()));
        if let Some(to) = self.to {
            let target = Target { addr: to, ..self.target.clone() };
            let subscriber = joined(&target, &scratch).await?;
            spawn_local(subscribe(subscriber, scratch.clone(), seen.clone()));
        }
        let publisher = joined(&self.target, &scratch).await?;
        let (mut took, begin) = (latencies()?, Instant::now());
        seen.at.set(begin);
        let sent = if self.rate > 0.0 {
            self.publish(publisher, &scratch).await?
        } else {
            self.publish_in_turn(publisher, &scratch, &seen, &mut took).await?
        };
        let wall = begin.elapsed().as_secs_f64();
        let (broadcasts, arrived) = (sent * self.n, seen.arrived.get());
        let ms = |micros: u64| micros as f64 / 1e3;
        let (silence, silent_until) = seen.silence.get();
        Ok(Report {
            mode: "burst",
            broadcasts,
            broadcasts_per_s: broadcasts as f64 / wall,
            arrived,
            lost: if self.to.is_some() { broadcasts.saturating_sub(arrived) } else { 0 },
            disordered: seen.disordered.get(),
            p50_ms: ms(took.value_at_quantile(0.5)),
            max_ms: ms(took.max()),
            longest_silence_ms: silence.as_secs_f64() * 1e3,
            silent_until,
        })
    }

    /// Each burst when the one before has arrived. The time is from the push to the last broadcast at the subscriber.
    async fn publish_in_turn(
        &self,
        mut publisher: Connection,
        scratch: &Scratch,
        seen: &Seen,
        took: &mut Histogram<u64>,
    ) -> io::Result<u64> {
        for number in 0..self.count {
            let begin = Instant::now();
            seen.wanted.set(seen.arrived.get() + self.n);
            publisher.ask(&self.message(number + 2), number + 2, scratch).await?;
            if self.to.is_some() && timeout(PATIENCE, seen.reached.notified()).await.is_ok() {
                took.saturating_record((seen.reached_at.get() - begin).as_micros() as u64);
            }
        }
        Ok(self.count)
    }

    /// So many bursts a second, as far as the server makes them. Returns how many it has made.
    async fn publish(&self, mut publisher: Connection, scratch: &Scratch) -> io::Result<u64> {
        let mut ticks = interval(Duration::from_secs_f64(1.0 / self.rate));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (mut sent, answered) = (0, RefCell::new(0));
        // only what is sent to one client alone has its join_ref
        let mut look = |text: &[u8]| *answered.borrow_mut() += u64::from(text.starts_with(b"[\"1\""));
        for _ in 0..self.count {
            loop {
                tokio::select! {
                    read = publisher.read(scratch, &mut look) => if !read? { return Ok(sent) },
                    _ = ticks.tick() => break,
                }
            }
            if sent < *answered.borrow() + UNANSWERED {
                publisher.send(&self.message(sent + 2)).await?;
                sent += 1;
            }
        }
        while *answered.borrow() < sent {
            match timeout(PATIENCE, publisher.read(scratch, &mut look)).await {
                Ok(Ok(true)) => {}
                _ => break,
            }
        }
        Ok(sent)
    }

    fn message(&self, reference: u64) -> String {
        let Self { target: Target { topic, .. }, n, size, .. } = self;
        format!(r#"["1","{reference}","{topic}","burst",{{"n":{n},"size":{size}}}]"#)
    }
}

async fn joined(target: &Target, scratch: &Scratch) -> io::Result<Connection> {
    let mut connection = Connection::open(target, 0).await?;
    connection.join(target, scratch).await?;
    Ok(connection)
}

async fn subscribe(mut subscriber: Connection, scratch: Scratch, seen: Rc<Seen>) {
    while let Ok(true) = subscriber.read(&scratch, &mut |text| seen.look(text)).await {
        seen.looked();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broadcast_before_its_turn_is_disordered_and_the_next_burst_begins_at_one() {
        let seen = Seen::nothing();
        for number in [1, 2, 4, 3, 1, 2] {
            seen.look(format!(r#"[null,null,"more:b","burst",{{"i":{number},"x":"xx"}}]"#).as_bytes());
        }
        seen.look(br#"["1","2","more:b","phx_reply",{"status":"ok","response":{}}]"#);
        assert_eq!((seen.arrived.get(), seen.disordered.get()), (6, 1));
    }
}
