//! Plays a recorded conversation against a server and tells where it goes another way.
//!
//! The steps and what they mean are in `tests/fixtures/README.md`. A recording was made by waiting after every step until
//! the server had been silent for a while. Playing it is faster: it waits until as much has come as was recorded, then
//! a moment for what should not come. Recordings about timeouts keep the pace in which they were made.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};

use crate::{
    client::{Item, Upgrade, Writer},
    frame,
    normal::same,
    request::{Answer, header_lines, request},
    turns,
};

/// Conversations played at once; they mostly wait.
const PLAYERS: usize = 8;

/// A step is given up when what was recorded has not come after this long.
const STEP_PATIENCE: Duration = Duration::from_secs(10);

/// Silence after a step that has got all it wants.
const QUIET: Duration = Duration::from_millis(40);

/// Silence after a step that wants nothing, and at the end.
const NOTHING_COMES: Duration = Duration::from_millis(100);

/// Silence that the recordings were made with.
const RECORDED_QUIET: Duration = Duration::from_millis(250);

/// How much later than recorded something may come, where a recording tells the time.
const LATE: Duration = Duration::from_millis(150);

/// What each client got in a step: its name, and its items in order.
type Got = Map<String, Value>;

pub(crate) struct Conversation {
    pub(crate) name: String,
    steps: Vec<Value>,
}

impl Conversation {
    /// All conversations of a file in `tests/fixtures`.
    pub(crate) fn read(file: &str) -> Vec<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let recording: Value =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let read = |scenario: &Value| Self {
            name: scenario["name"].as_str().unwrap().to_owned(),
            steps: scenario["steps"].as_array().unwrap().clone(),
        };
        recording["scenarios"].as_array().unwrap().iter().map(read).collect()
    }

    /// It is about time that passes, so it keeps the pauses that it was recorded with: it has pauses of its own, or on long
    /// poll starts a timer that goes off before the next poll.
    fn tells_time(&self) -> bool {
        let has_pause = |step: &Value| ["sleep", "quiet", "took"].iter().any(|key| !step[key].is_null());
        self.steps.iter().any(|step| has_pause(step) || step["body"][3] == "after")
    }

    /// # Errors
    /// What differs, step by step.
    pub(crate) fn play(&self, port: u16) -> Result<(), String> {
        let mut player = Player::new(port, self.tells_time());
        let mut differences = String::new();
        for (at, step) in self.steps.iter().enumerate() {
            let wanted = step["got"].as_object().unwrap();
            let mut got = Got::new();
            player
                .act(step, &mut got)
                .map_err(|why| format!("{differences}  step {at} cannot be played: {why}\n"))?;
            player.collect(step, wanted, &mut got, at + 1 == self.steps.len());
            if !same(&wanted.clone().into(), &got.clone().into()) {
                let mut asked = step.clone();
                asked.as_object_mut().unwrap().remove("got");
                differences += &format!("  step {at} {}\n", cut(&asked, 160));
                differences +=
                    &format!("    want {}\n    got  {}\n", cut(&json!(wanted), 600), cut(&got.into(), 600));
            }
        }
        if differences.is_empty() { Ok(()) } else { Err(differences) }
    }
}

fn cut(value: &Value, length: usize) -> String {
    value.to_string().chars().take(length).collect()
}

/// Plays each conversation on a server of its own, several at once, and fails with all that differ.
pub(crate) fn play_all(conversations: &[Conversation], start: impl Fn() -> crate::server::Server + Sync) {
    let _turn = conversations.iter().any(Conversation::tells_time).then(turns::timed);
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..PLAYERS.min(conversations.len()) {
            scope.spawn(|| {
                while let Some(conversation) = conversations.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let server = start();
                    if let Err(why) = conversation.play(server.port) {
                        failures.lock().unwrap().push(format!("DIFFERS {}\n{why}", conversation.name));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let (bad, all) = (failures.len(), conversations.len());
    assert!(failures.is_empty(), "{}{} of {all} conversations the same", failures.concat(), all - bad);
}

/// One conversation in progress.
struct Player {
    port: u16,
    tells_time: bool,
    clients: HashMap<String, Seat>,
    tokens: HashMap<String, String>,
    polls: HashMap<String, JoinHandle<Answer>>,
    sender: Sender<(usize, Item)>,
    items: Receiver<(usize, Item)>,
    opened: usize,
}

/// A client's connection; the number tells it from one that the same client had before.
struct Seat {
    number: usize,
    writer: Writer,
}

impl Player {
    fn new(port: u16, tells_time: bool) -> Self {
        let (sender, items) = channel();
        let (clients, tokens, polls) = Default::default();
        Self { port, tells_time, clients, tokens, polls, sender, items, opened: 0 }
    }

    fn act(&mut self, step: &Value, got: &mut Got) -> Result<(), String> {
        let name = step["c"].as_str().unwrap_or_default();
        let text = |key: &str| step[key].as_str();
        let token = self.tokens.get(name).cloned().unwrap_or_default();
        if let Some(path) = text("open") {
            let said = self.open(name, path, step).map_err(|e| format!("no answer to the upgrade: {e}"))?;
            got.insert(name.to_owned(), json!([said]));
        } else if let Some(method) = text("http") {
            let answer = request(self.port, step, method, text("path").unwrap(), &token);
            self.answered(name, step, answer, got);
        } else if let Some(path) = text("poll_bg") {
            let (port, step, path) = (self.port, step.clone(), path.to_owned());
            let handle = thread::spawn(move || request(port, &step, "GET", &path, &token));
            self.polls.insert(text("as").unwrap_or(name).to_owned(), handle);
        } else if !step["poll_end"].is_null() {
            let handle = self.polls.remove(text("as").unwrap_or(name)).ok_or("no poll of that name")?;
            let answer = handle.join().map_err(|_| "the poll's thread panicked")?;
            self.answered(name, step, answer, got);
        } else if !step["drop"].is_null() {
            self.clients.remove(name).ok_or("no client of that name")?.writer.cut();
        } else if !name.is_empty() {
            self.clients.get_mut(name).ok_or("no client of that name")?.writer.bytes(&bytes_of(step)?);
        }
        Ok(())
    }

    fn open(&mut self, name: &str, path: &str, step: &Value) -> std::io::Result<Value> {
        let headers = header_lines(step, self.port, "");
        let values: Vec<Vec<&str>> =
            headers.iter().map(|(_, values)| values.iter().map(String::as_str).collect()).collect();
        let headers: Vec<(&str, &[&str])> = headers
            .iter()
            .zip(&values)
            .map(|((name, _), values)| (name.as_str(), values.as_slice()))
            .collect();
        let upgrade = Upgrade::request(self.port, path, &headers)?;
        let mut said = json!({ "status": upgrade.status });
        if let Some(chosen) = upgrade.header("sec-websocket-protocol") {
            said["subprotocol"] = chosen.into();
        }
        for header in step["show"].as_array().into_iter().flatten() {
            let header = header.as_str().unwrap();
            said[header] = upgrade.header(header).into();
        }
        if let Some(mut old) = self.clients.remove(name) {
            old.writer.cut();
        }
        if upgrade.status == 101 {
            self.opened += 1;
            let (number, sender) = (self.opened, self.sender.clone());
            let writer = upgrade.listen(move |item| {
                let _ = sender.send((number, item));
            });
            self.clients.insert(name.to_owned(), Seat { number, writer });
        }
        Ok(said)
    }

    fn answered(&mut self, name: &str, step: &Value, answer: Answer, got: &mut Got) {
        self.tokens.insert(name.to_owned(), answer.token.clone());
        got.insert(name.to_owned(), json!([answer.said(step)]));
    }

    /// Takes in what comes after a step, until all is there that was recorded and the server is silent.
    fn collect(&self, step: &Value, wanted: &Got, got: &mut Got, last: bool) {
        let start = Instant::now();
        let fixed = ["sleep", "quiet"].iter().find_map(|key| step[key].as_f64()).map(Duration::from_secs_f64);
        let quiet = match fixed {
            Some(fixed) => fixed,
            None if self.tells_time => RECORDED_QUIET,
            None if last || wanted.is_empty() => NOTHING_COMES,
            None => QUIET,
        };
        let patience = fixed.map_or(STEP_PATIENCE, |fixed| fixed + LATE);
        let mut silent_at = start + quiet;
        loop {
            let count = |items: &Value| items.as_array().map_or(0, Vec::len);
            let complete = wanted.iter().all(|(name, items)| got.get(name).map_or(0, count) >= count(items));
            let until = if complete { silent_at } else { silent_at.max(start + patience) };
            let Ok((number, item)) = self.items.recv_timeout(until.saturating_duration_since(Instant::now()))
            else {
                return;
            };
            // nobody listens any more on a connection that its client has dropped
            if let Some((name, _)) = self.clients.iter().find(|(_, seat)| seat.number == number) {
                let items = got.entry(name.clone()).or_insert_with(|| json!([]));
                items.as_array_mut().unwrap().push(item.to_json(self.port));
                silent_at = silent_at.max(Instant::now() + QUIET);
            }
        }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        for seat in self.clients.values_mut() {
            seat.writer.cut();
        }
    }
}

/// What a step puts on the wire.
fn bytes_of(step: &Value) -> Result<Vec<u8>, String> {
    let hex = |key: &str| step[key].as_str().map(unhex);
    let size = step["frag"].as_u64().map_or(usize::MAX, |size| usize::try_from(size).unwrap());
    if !step["send"].is_null() {
        let text = step["send"].as_str().map_or_else(|| step["send"].to_string(), str::to_owned);
        let size = if step["split"].is_null() { size } else { text.len().div_ceil(2) };
        return Ok(frame::fragmented(frame::TEXT, text.as_bytes(), size));
    }
    if let Some(data) = hex("bin") {
        return Ok(frame::fragmented(frame::BINARY, &data, size));
    }
    if let Some(data) = hex("ping") {
        return Ok(frame::masked(true, frame::PING, &data));
    }
    if let Some(code) = step["close"].as_u64() {
        return Ok(frame::masked(true, frame::CLOSE, &u16::try_from(code).unwrap().to_be_bytes()));
    }
    hex("raw").ok_or_else(|| "an act that nobody knows".to_owned())
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
