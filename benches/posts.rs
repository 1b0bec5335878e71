//! Posts per second through the chat's store, without the network: `cargo bench --bench posts`.
//!
//! Posters are tasks on one thread, and so is the one subscriber; the store's actor and its writer have a thread each, as in
//! the server. A post is the whole way from the actor's mailbox through the commit to the broadcast; it excludes sockets,
//! frames and the channel. Each poster sends its next post when the one before is broadcast. In turn with the posts, the disk
//! is probed: `fdatasync` after writing as many bytes as the commit of one post does.
//!
//! Prints one line of JSON for each number of posters.

#![allow(missing_docs, reason = "a benchmark")]
#![allow(clippy::duplicate_mod, reason = "the chat's own tests have an instance too")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on says so by panicking")]

// the program is no library: the benchmark compiles the chat's modules again, and uses a part of them
#[allow(dead_code, unreachable_pub, unused_imports, reason = "only the store is measured")]
#[path = "../src/chat/mod.rs"]
mod chat;
#[path = "../tests/it/instance.rs"]
mod instance;

use std::{
    cell::{Cell, RefCell},
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use actix::Addr;
use actix_web::rt::{System, spawn, time::sleep};
use clap::Parser;
use hinotori::{Endpoint, Subscription};
use serde_json::{Value, json};

use instance::Instance;

use chat::{Close, Keep, Kind, LOBBY, Limit, MessageStore, Meters, Post, Sharing};

/// What the commit of one post adds to SQLite's write-ahead log: a page of each of its two tables, with their headers.
const COMMIT: usize = 2 * (4_096 + 24);

/// Bytes of the file that the probe writes over and over, as SQLite does with its log.
const PROBED: usize = 4 << 20;

/// How long posters post until the disk is probed again, for a third of that time: neighbours of the disk come and go.
const SLICE: Duration = Duration::from_millis(250);

/// The history's limits: the program's defaults.
const LIMIT: Limit = Limit { messages: 10_000, bytes: 16 << 20 };

/// Measures posts through the chat's store, and prints a line of JSON for each number of posters.
#[derive(Debug, Parser)]
struct Options {
    /// Where messages are stored, as the program's --store; a new file of SQLite by default.
    #[arg(long)]
    store: Option<Kind>,
    /// Store them in a PostgreSQL of its own, which is started for it and ends with it.
    #[arg(long, conflicts_with = "store")]
    postgres: bool,
    /// Posters, separated by commas.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 128])]
    posters: Vec<usize>,
    /// Seconds for each of them.
    #[arg(long, default_value_t = 3.0)]
    secs: f64,
    /// Bytes of a message's content.
    #[arg(long, default_value_t = 50)]
    size: usize,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A folder on the disk that holds the build, deleted in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("posts-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let folder = Folder::new()?;
    let instance = options.postgres.then(Instance::new);
    for &posters in &options.posters {
        let mut disk = Disk::new(&folder.0.join("probe"))?;
        let file = folder.0.join(format!("{posters}.db"));
        let store = match (&options.store, &instance) {
            (Some(store), _) => store.clone(),
            (None, Some(instance)) => instance.database().address().parse()?,
            (None, None) => format!("sqlite:{}", file.display()).parse()?,
        };
        let posted = System::new().block_on(measure(&store, posters, &options, &mut disk))?;
        println!("{}", report(posters, disk.took, posted));
    }
    Ok(())
}

/// How long it takes to write as much as a post does, and to have the disk keep it.
struct Disk {
    file: File,
    at: u64,
    /// In microseconds.
    took: Vec<u64>,
}

impl Disk {
    fn new(file: &Path) -> io::Result<Self> {
        let file = File::create(file)?;
        file.write_all_at(&vec![0; PROBED], 0)?;
        file.sync_all()?;
        Ok(Self { file, at: 0, took: Vec::new() })
    }

    fn probe(&mut self, time: Duration) -> io::Result<()> {
        let (begin, bytes) = (Instant::now(), vec![0x5a; COMMIT]);
        while begin.elapsed() < time {
            let start = Instant::now();
            self.file.write_all_at(&bytes, self.at)?;
            self.file.sync_data()?;
            self.took.push(micros(start.elapsed()));
            self.at = (self.at + COMMIT as u64) % (PROBED - COMMIT) as u64;
        }
        Ok(())
    }
}

/// What the posters share.
struct Posters {
    store: Addr<MessageStore>,
    begin: Instant,
    /// Microseconds from a post to its broadcast.
    took: RefCell<Vec<u64>>,
    is_over: Cell<bool>,
}

#[derive(Default)]
struct Posted {
    /// Microseconds from a post to its broadcast.
    took: Vec<u64>,
    wall: Duration,
    /// Of the whole process: posters, subscriber, actor and writer.
    cpu: Duration,
}

async fn measure(
    store: &Kind,
    posters: usize,
    options: &Options,
    disk: &mut Disk,
) -> Result<Posted, Box<dyn std::error::Error>> {
    let endpoint = Endpoint::new();
    let log = store.log(Sharing::Alone, Keep::All, Meters::new()?)?;
    let store = MessageStore::start(log, LIMIT, &endpoint)?;
    let (took, is_over, begin) = (RefCell::default(), Cell::new(false), Instant::now());
    let shared = Rc::new(Posters { store: store.clone(), begin, took, is_over });
    let subscriber = spawn(hear(endpoint.subscribe(LOBBY), shared.clone()));
    let (mut posts, mut posted) = (0, Posted::default());
    while posted.wall.as_secs_f64() < options.secs {
        disk.probe(SLICE / 3)?;
        let (begin, cpu) = (Instant::now(), cpu());
        shared.is_over.set(false);
        let tasks: Vec<_> = (0..posters).map(|_| spawn(post(options.size, shared.clone()))).collect();
        sleep(SLICE).await;
        shared.is_over.set(true);
        for task in tasks {
            posts += task.await?;
        }
        posted.wall += begin.elapsed();
        posted.cpu += self::cpu() - cpu;
    }
    store.send(Close).await?;
    subscriber.abort();
    posted.took = shared.took.take();
    assert_eq!(posted.took.len(), posts, "every post is broadcast once");
    Ok(posted)
}

/// Posts until it is over; returns how many. Each post begins with when it was sent.
async fn post(size: usize, posters: Rc<Posters>) -> usize {
    let mut posts = 0;
    while !posters.is_over.get() {
        let mut content = format!("{}@", micros(posters.begin.elapsed()));
        content.extend(std::iter::repeat_n('x', size.saturating_sub(content.len())));
        let pending =
            posters.store.send(Post { content, reply_to: None, nonce: None }).await.unwrap().unwrap();
        pending.outcome().await.unwrap();
        posts += 1;
    }
    posts
}

/// Takes the broadcasts.
async fn hear(mut subscription: Subscription, posters: Rc<Posters>) {
    const CONTENT: &[u8] = br#""content":""#;
    while let Some(broadcast) = subscription.recv().await {
        let broadcast = broadcast.unwrap();
        let json = broadcast.payload().as_json().unwrap();
        let at = json.windows(CONTENT.len()).position(|window| window == CONTENT).unwrap();
        let digits = json[at + CONTENT.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        let sent = digits.fold(0, |sent, digit| 10 * sent + u64::from(digit - b'0'));
        posters.took.borrow_mut().push(micros(posters.begin.elapsed()) - sent);
    }
}

/// CPU time of this process so far.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // the name, in brackets, may have anything in it; user and system time are fields 14 and 15, in hundredths of a second
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2);
    Duration::from_millis(10 * fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>())
}

fn report(posters: usize, mut synced: Vec<u64>, Posted { mut took, wall, cpu }: Posted) -> Value {
    took.sort_unstable();
    synced.sort_unstable();
    let over_sync =
        quantile(&took, 0.5).zip(quantile(&synced, 0.5)).map(|(post, sync)| post.saturating_sub(sync));
    json!({
        "mode": "store_posts",
        "posters": posters,
        "posts": took.len(),
        "posts_per_s": took.len() as f64 / wall.as_secs_f64(),
        "cpu_us_per_post": cpu.as_secs_f64() * 1e6 / took.len().max(1) as f64,
        "p50_us": quantile(&took, 0.5),
        "p99_us": quantile(&took, 0.99),
        "max_us": took.last(),
        "sync_p50_us": quantile(&synced, 0.5),
        "sync_p99_us": quantile(&synced, 0.99),
        "over_sync_us": over_sync,
    })
}

/// Of values that ascend.
fn quantile(values: &[u64], quantile: f64) -> Option<u64> {
    values.get((values.len() as f64 * quantile) as usize).copied()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
