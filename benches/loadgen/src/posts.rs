//! How many posts a server takes, and how long each takes to come back to its poster as a broadcast.
//!
//! Every poster has joined the topic, so each post is delivered to all of them: with 128 posters, most of a server's work is
//! deliveries. A poster looks for its own mark in what it is sent and parses nothing else.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use clap::Args;
use hdrhistogram::Histogram;
use memchr::memmem::{self, Finder};
use serde::Serialize;
use tokio::{task::spawn_local, time::sleep};

use crate::{
    Target,
    connection::{Connection, Scratch, open_all, scratch},
    rtt::latencies,
    usage::Usage,
};

/// See `--help`.
#[derive(Debug, Args, Clone)]
pub(crate) struct Posts {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Posters. Each sends its next post when the one before has come back.
    #[arg(short, default_value_t = 128)]
    pub(crate) n: usize,
    /// Seconds.
    #[arg(long, default_value_t = 5)]
    pub(crate) secs: u64,
    /// Posts of each poster, instead of so many seconds of them.
    #[arg(long)]
    pub(crate) count: Option<u64>,
    /// Milliseconds between a post that has come back and the next; 0 posts as fast as they come back.
    #[arg(long, default_value_t = 0)]
    pub(crate) pause: u64,
    /// The event that is pushed, and that the server broadcasts.
    #[arg(long, default_value = "new_message")]
    pub(crate) event: String,
    /// Its payload: `$M` becomes the poster's mark, and `$X` as many x as `--size` says.
    #[arg(long, default_value = r#"{"message":"$M $X","reply_to":null}"#)]
    pub(crate) payload: String,
    /// Bytes of `$X`.
    #[arg(long, default_value_t = 40)]
    pub(crate) size: usize,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    mode: &'static str,
    posters: usize,
    pub(crate) failed: usize,
    pub(crate) posts: u64,
    /// Posts that were answered with an error, and are not among `posts`.
    pub(crate) refused: u64,
    posts_per_s: f64,
    cpu_us_per_post: f64,
    server_cpu_share: f64,
    /// Near 1 it is the load generator that sets the pace.
    load_cpu_share: f64,
    p50_us: u64,
    p99_us: u64,
    max_us: u64,
    rss_kib: f64,
}

/// What became of the posts of all posters.
struct Outcomes {
    latency: Histogram<u64>,
    refused: u64,
}

/// What a text means to a poster.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    /// Its own post has come back.
    Own,
    /// Its post was refused.
    Refused,
    /// Another's post.
    Other,
}

impl Heard {
    fn from(text: &[u8], mark: &Finder<'_>) -> Self {
        if mark.find(text).is_some() {
            return Self::Own;
        }
        // only what is sent to one client alone has its join_ref
        let is_refusal = text.starts_with(b"[\"1\"")
            && memmem::find(text, b"\"phx_reply\"").is_some()
            && memmem::find(text, b"\"error\"").is_some();
        if is_refusal { Self::Refused } else { Self::Other }
    }
}

impl Posts {
    pub(crate) async fn run(self) -> io::Result<Report> {
        let (scratch, pid, own) = (scratch(), self.target.pid, Some(std::process::id()));
        let opened = open_all(&self.target, self.n, &scratch).await;
        let posters = opened.connections.len();
        let outcomes = Rc::new(RefCell::new(Outcomes { latency: latencies()?, refused: 0 }));
        let (before, load, begin) = (Usage::of(pid)?, Usage::of(own)?, Instant::now());
        let post = |(index, connection)| {
            let (posts, scratch, outcomes) = (self.clone(), scratch.clone(), outcomes.clone());
            spawn_local(async move { posts.post(connection, index, begin, &scratch, &outcomes).await })
        };
        let tasks: Vec<_> = opened.connections.into_iter().enumerate().map(post).collect();
        let mut failed = opened.failed;
        for task in tasks {
            failed += usize::from(task.await.map_err(io::Error::other)?.is_err());
        }
        let took = begin.elapsed().as_secs_f64();
        let (after, own, outcomes) = (Usage::of(pid)?, Usage::of(own)?, outcomes.borrow());
        let (posts, latency) = (outcomes.latency.len(), &outcomes.latency);
        Ok(Report {
            mode: "posts",
            posters,
            failed,
            posts,
            refused: outcomes.refused,
            posts_per_s: posts as f64 / took,
            cpu_us_per_post: (after.cpu - before.cpu) / posts.max(1) as f64,
            server_cpu_share: (after.cpu - before.cpu) / 1e6 / took,
            load_cpu_share: (own.cpu - load.cpu) / 1e6 / took,
            p50_us: latency.value_at_quantile(0.5),
            p99_us: latency.value_at_quantile(0.99),
            max_us: latency.max(),
            rss_kib: after.memory,
        })
    }

    /// Posts on one connection until the time is over.
    async fn post(
        &self,
        mut connection: Connection,
        index: usize,
        begin: Instant,
        scratch: &Scratch,
        outcomes: &RefCell<Outcomes>,
    ) -> io::Result<()> {
        let is_over = |posts| match self.count {
            Some(count) => posts >= count,
            None => begin.elapsed() >= Duration::from_secs(self.secs),
        };
        let mut posts = 0;
        while !is_over(posts) {
            posts += 1;
            let mark = format!("@{index}.{posts}@");
            let sent = Instant::now();
            connection.send(&self.message(posts + 1, &mark)).await?;
            let heard = hear(&mut connection, &Finder::new(&mark), scratch).await?;
            match heard {
                Heard::Refused => outcomes.borrow_mut().refused += 1,
                _ => {
                    let took = (sent.elapsed().as_micros() as u64).max(1);
                    outcomes.borrow_mut().latency.saturating_record(took);
                }
            }
            if self.pause > 0 {
                sleep(Duration::from_millis(self.pause)).await;
            }
        }
        Ok(())
    }

    fn message(&self, reference: u64, mark: &str) -> String {
        let (topic, event) = (&self.target.topic, &self.event);
        let payload = self.payload.replace("$M", mark).replace("$X", &"x".repeat(self.size));
        format!(r#"["1","{reference}","{topic}","{event}",{payload}]"#)
    }
}

/// Reads until it is known what became of a post.
async fn hear(connection: &mut Connection, mark: &Finder<'_>, scratch: &Scratch) -> io::Result<Heard> {
    let mut heard = Heard::Other;
    while heard == Heard::Other {
        let mut look = |text: &[u8]| {
            if heard == Heard::Other {
                heard = Heard::from(text, mark);
            }
        };
        if !connection.read(scratch, &mut look).await? {
            return Err(io::Error::other("closed before the post came back"));
        }
    }
    Ok(heard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_has_come_back_with_its_mark_and_an_error_is_its_refusal() {
        let mark = Finder::new("@7.12@");
        for (text, heard) in [
            (r#"[null,null,"chat:lobby","new_message",{"message":{"content":"@7.12@ x"}}]"#, Heard::Own),
            (r#"[null,null,"chat:lobby","new_message",{"message":{"content":"@7.1@ x"}}]"#, Heard::Other),
            (
                r#"[null,null,"chat:lobby","new_message",{"message":{"content":"phx_reply error"}}]"#,
                Heard::Other,
            ),
            (r#"["1","13","chat:lobby","phx_reply",{"status":"error","response":{}}]"#, Heard::Refused),
            (r#"["1","13","chat:lobby","phx_reply",{"status":"ok","response":{}}]"#, Heard::Other),
        ] {
            assert_eq!(Heard::from(text.as_bytes(), &mark), heard, "{text}");
        }
    }
}
