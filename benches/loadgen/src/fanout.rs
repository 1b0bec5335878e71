//! What a delivery of a broadcast costs, how late it is, and whether any is lost.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use clap::Args;
use hdrhistogram::Histogram;
use memchr::memmem::Finder;
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
    task::spawn_local,
    time::{sleep, sleep_until, timeout},
};

use crate::{
    Target,
    connection::{Connection, Scratch, open_all, scratch},
    frame,
    rtt::latencies,
    usage::Usage,
};

/// How long nothing may come while deliveries are still on their way: they are lost then.
const PATIENCE: Duration = Duration::from_secs(5);

/// See `--help`.
#[derive(Debug, Args)]
pub(crate) struct Fanout {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Subscribers.
    #[arg(short, default_value_t = 1_000)]
    pub(crate) n: usize,
    /// Where they are, if that is another node than the publisher's.
    #[arg(long)]
    pub(crate) to: Option<SocketAddr>,
    /// Messages a second; 0 sends each when the one before has reached every subscriber.
    #[arg(long, default_value_t = 20.0)]
    pub(crate) rate: f64,
    /// Seconds.
    #[arg(long, default_value_t = 5)]
    pub(crate) secs: u64,
    /// Messages in all, instead of so many seconds of them.
    #[arg(long, required_if_eq("rate", "0"))]
    pub(crate) count: Option<u64>,
    /// The event that is pushed, and that the server broadcasts.
    #[arg(long, default_value = "new_message")]
    pub(crate) event: String,
    /// Its payload: `$T` becomes the time at which it was due, from which latency is measured.
    #[arg(long, default_value = r#"{"message":"$T hello from the load generator","reply_to":null}"#)]
    pub(crate) payload: String,
    /// What a delivery holds exactly once, before that time.
    #[arg(long, default_value = "@T")]
    pub(crate) mark: String,
    /// What a message holds that is no delivery, such as a history.
    #[arg(long, default_value = "load_messages")]
    pub(crate) ignore: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    mode: &'static str,
    pub(crate) subscribers: usize,
    pub(crate) failed: usize,
    sent: u64,
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    closed: usize,
    /// Subscribers to which the server compresses. All but one of them count messages without inflating them.
    pub(crate) deflated: usize,
    pub(crate) bytes_per_delivery: f64,
    pub(crate) deliveries_per_s: f64,
    cpu_us_per_delivery: f64,
    server_cpu_share: f64,
    /// Near 1 it is the load generator that sets the pace.
    load_cpu_share: f64,
    p50_us: u64,
    p99_us: u64,
    max_us: u64,
    rss_kib: f64,
}

/// What the subscribers have seen, together.
struct Seen {
    base: Instant,
    delivered: Cell<u64>,
    /// The number of deliveries at which the publisher wants to be woken.
    wanted: Cell<u64>,
    reached: Notify,
    last: Cell<Instant>,
    /// When what is being looked at came, if a delivery in it has asked.
    now: Cell<Option<Instant>>,
    closed: Cell<usize>,
    latency: RefCell<Histogram<u64>>,
}

impl Seen {
    fn nothing() -> io::Result<Self> {
        let base = Instant::now();
        Ok(Self {
            base,
            delivered: Cell::new(0),
            wanted: Cell::new(u64::MAX),
            reached: Notify::new(),
            last: Cell::new(base),
            now: Cell::new(None),
            closed: Cell::new(0),
            latency: RefCell::new(latencies()?),
        })
    }

    /// A text that may be a delivery.
    fn look(&self, text: &[u8], mark: &Finder<'_>, ignore: &Finder<'_>) {
        let Some(at) = mark.find(text) else { return };
        if ignore.find(text).is_some() {
            return;
        }
        let now = self.count(1);
        let digits = text[at + mark.needle().len()..].iter().take_while(|byte| byte.is_ascii_digit());
        let due = digits.fold(0u64, |due, digit| due * 10 + u64::from(digit - b'0'));
        let late = ((now - self.base).as_micros() as u64).saturating_sub(due).max(1);
        self.latency.borrow_mut().saturating_record(late);
    }

    /// Counts deliveries that came just now.
    fn count(&self, deliveries: u64) -> Instant {
        // one look at the clock for all that came together
        let now = self.now.get().unwrap_or_else(Instant::now);
        self.now.set(Some(now));
        self.last.set(now);
        self.delivered.set(self.delivered.get() + deliveries);
        if self.delivered.get() >= self.wanted.get() {
            self.wanted.set(u64::MAX);
            self.reached.notify_one();
        }
        now
    }

    /// Waits until so many have been delivered, or until it is in vain.
    async fn reach(&self, deliveries: u64) {
        self.wanted.set(deliveries);
        while self.delivered.get() < deliveries {
            let before = self.delivered.get();
            if timeout(PATIENCE, self.reached.notified()).await.is_err() && self.delivered.get() == before {
                return;
            }
        }
    }

    fn forget(&self) {
        self.delivered.set(0);
        self.latency.borrow_mut().reset();
    }
}

impl Fanout {
    pub(crate) async fn run(self) -> io::Result<Report> {
        let (scratch, pid, own) = (scratch(), self.target.pid, Some(std::process::id()));
        let subscribing = Target { addr: self.to.unwrap_or(self.target.addr), ..self.target.clone() };
        let opened = open_all(&subscribing, self.n, &scratch).await;
        let subscribers = opened.connections.len();
        let deflated = opened.connections.iter().filter(|connection| connection.is_deflated()).count();
        let seen = Rc::new(Seen::nothing()?);
        for (index, mut connection) in opened.connections.into_iter().enumerate() {
            if index > 0 {
                connection.seal();
            }
            spawn_local(self.subscribe(connection, scratch.clone(), seen.clone()));
        }
        let mut publisher = Connection::open(&self.target, self.n).await?;
        publisher.join(&self.target, &crate::connection::scratch()).await?;
        sleep(Duration::from_secs(1)).await;
        let (before, load, bytes) = (Usage::of(pid)?, Usage::of(own)?, scratch.read());
        seen.forget();
        let begin = Instant::now();
        let sent = self.publish(publisher, begin, &seen, subscribers).await?;
        let expected = sent * subscribers as u64;
        seen.reach(expected).await;
        // until the last delivery: what was lost was waited for in vain
        let took = seen.last.get().saturating_duration_since(begin).as_secs_f64();
        let (after, own) = (Usage::of(pid)?, Usage::of(own)?);
        let (delivered, latency) = (seen.delivered.get(), seen.latency.borrow());
        Ok(Report {
            mode: "fanout",
            subscribers,
            failed: opened.failed,
            sent,
            delivered,
            lost: expected.saturating_sub(delivered),
            closed: seen.closed.get(),
            deflated,
            bytes_per_delivery: (scratch.read() - bytes) as f64 / delivered.max(1) as f64,
            deliveries_per_s: delivered as f64 / took,
            cpu_us_per_delivery: (after.cpu - before.cpu) / delivered.max(1) as f64,
            server_cpu_share: (after.cpu - before.cpu) / 1e6 / took,
            load_cpu_share: (own.cpu - load.cpu) / 1e6 / took,
            p50_us: latency.value_at_quantile(0.5),
            p99_us: latency.value_at_quantile(0.99),
            max_us: latency.max(),
            rss_kib: after.memory,
        })
    }

    /// Counts what one subscriber is sent, until the connection is over.
    fn subscribe(
        &self,
        mut connection: Connection,
        scratch: Scratch,
        seen: Rc<Seen>,
    ) -> impl Future<Output = ()> + 'static {
        let (mark, ignore) = (self.mark.clone(), self.ignore.clone());
        async move {
            let (mark, ignore) = (Finder::new(&mark), Finder::new(&ignore));
            let mut look = |text: &[u8]| seen.look(text, &mark, &ignore);
            while let Ok(true) = connection.read(&scratch, &mut look).await {
                match connection.sealed() {
                    0 => {}
                    sealed => _ = seen.count(sealed),
                }
                seen.now.set(None);
            }
            seen.closed.set(seen.closed.get() + 1);
        }
    }

    /// Sends all messages, each stamped with the time at which it was due: a server that stalls cannot hide that.
    async fn publish(
        &self,
        publisher: Connection,
        begin: Instant,
        seen: &Seen,
        subscribers: usize,
    ) -> io::Result<u64> {
        let (mut read, mut write) = publisher.into_split();
        spawn_local(async move {
            let mut sink = vec![0; 1 << 16];
            while let Ok(1..) = read.read(&mut sink).await {}
        });
        let total = self.count.unwrap_or((self.rate * self.secs as f64) as u64);
        for number in 0..total {
            let due = if self.rate > 0.0 {
                let due = begin + Duration::from_secs_f64(number as f64 / self.rate);
                sleep_until(due.into()).await;
                due
            } else {
                seen.reach(number * subscribers as u64).await;
                Instant::now()
            };
            let stamp = format!("{}{}@", self.mark, (due - seen.base).as_micros());
            let payload = self.payload.replace("$T", &stamp);
            let (reference, topic, event) = (number + 2, &self.target.topic, &self.event);
            let text = format!(r#"["1","{reference}","{topic}","{event}",{payload}]"#);
            write.write_all(&frame::masked(text.as_bytes())).await?;
            write.flush().await?;
        }
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_no_delivery_and_latency_is_read_behind_the_mark() -> io::Result<()> {
        let seen = Seen::nothing()?;
        let (mark, ignore) = (Finder::new("@T"), Finder::new("load_messages"));
        for text in ["{\"m\":\"@T0@ hi\"}", "{\"load_messages\":\"@T0@ hi\"}", "{}"] {
            seen.look(text.as_bytes(), &mark, &ignore);
        }
        assert_eq!((seen.delivered.get(), seen.latency.borrow().len()), (1, 1));
        Ok(())
    }
}
