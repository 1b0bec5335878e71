//! Server processes: started on a free port, watched, killed when the test is over.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{RecvTimeoutError, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{PATIENCE, folder::Folder};

/// How often a process is asked whether it has ended.
const POLL: Duration = Duration::from_millis(5);

/// What a server prints when it takes connections; the rest of its address follows.
const READY: &str = "listening on http";

/// What one prints before that, if it answers operators elsewhere; the port follows.
const OPS: &str = "operations on http://127.0.0.1:";

/// Every variable that a server reads: none of them comes from whoever runs the tests.
pub(crate) const VARIABLES: &[&str] = &[
    "HOST",
    "PORT",
    "WORKERS",
    "STATIC_DIR",
    "STORE",
    "KEEP",
    "CLUSTER",
    "NODE_NAME",
    "HISTORY_LIMIT",
    "MESSAGE_MAX",
    "CHECK_ORIGIN",
    "SECRET",
    "SECRET_KEY_BASE",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
    "HISTORY_BYTES",
    "IDLE_TIMEOUT",
    "LONGPOLL_WINDOW",
    "MAX_FRAME_SIZE",
    "MAX_MESSAGE_SIZE",
    "COMPRESS",
    "OUTBOX_LIMIT",
    "TRUSTED_PROXIES",
    "MAX_CONNECTIONS",
    "MAX_MESSAGE_RATE",
    "MAX_MESSAGE_BURST",
    "TLS_CERT",
    "TLS_KEY",
    "OPS_LISTEN",
    "CLUSTER_NAME",
    "DRAIN_GRACE",
    "READY_REQUIRES_STORE",
    "DRAIN_BATCH",
    "DRAIN_INTERVAL",
    "DRAIN_DEADLINE",
    "HTTP_SERVER",
    "DATA_DIR",
    "ROOM_TTL",
];

/// A server about to be started.
pub(crate) struct Launch {
    program: PathBuf,
    arguments: Vec<String>,
    environment: BTreeMap<&'static str, String>,
    folder: Option<Folder>,
    descriptors: Option<u32>,
    file_size: Option<u32>,
    namespace: Option<String>,
}

impl Launch {
    /// The example that speaks every part of the protocol.
    pub(crate) fn reference() -> Self {
        Self::example("reference")
    }

    /// The same, served by `actix_web::HttpServer`.
    pub(crate) fn reference_on_http_server() -> Self {
        Self::reference().set("HTTP_SERVER", "actix")
    }

    /// Runs a test with both of them.
    pub(crate) fn on_both(test: impl Fn(Self)) {
        test(Self::reference());
        println!("on actix-web's own server:");
        test(Self::reference_on_http_server());
    }

    /// An example of the library.
    pub(crate) fn example(name: &str) -> Self {
        let tests = env::current_exe().unwrap();
        let program = tests.ancestors().nth(2).unwrap().join("examples").join(name);
        assert!(
            program.is_file(),
            "{} is not built: run `cargo test --workspace`, which builds the examples, not only this test binary",
            program.display()
        );
        Self::program(program)
    }

    pub(crate) fn program(program: PathBuf) -> Self {
        Self {
            program,
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            folder: None,
            descriptors: None,
            file_size: None,
            namespace: None,
        }
        .set("HOST", "127.0.0.1")
        .set("PORT", "0")
        .set("WORKERS", "2")
        .set("RUST_LOG", "info")
    }

    pub(crate) fn set(mut self, variable: &'static str, value: impl ToString) -> Self {
        assert!(VARIABLES.contains(&variable), "{variable} is not in the list of variables");
        self.environment.insert(variable, value.to_string());
        self
    }

    /// With files that are there as long as the server.
    pub(crate) fn with(mut self, folder: Folder) -> Self {
        self.folder = Some(folder);
        self
    }

    pub(crate) fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// With so many descriptors, and no more.
    pub(crate) fn descriptors(mut self, most: u32) -> Self {
        self.descriptors = Some(most);
        self
    }

    /// Writing to a file beyond so many bytes fails, until [`Server::grant_file_size`].
    pub(crate) fn file_size(mut self, most: u32) -> Self {
        self.file_size = Some(most);
        self
    }

    /// In a network namespace, at an address there.
    pub(crate) fn within(mut self, namespace: &str, address: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self.set("HOST", address)
    }

    /// Starts it and waits until it takes connections.
    pub(crate) fn start(self) -> Server {
        let mut process = self.spawn();
        let (sender, ready) = channel();
        let stdout = BufReader::new(process.child.stdout.take().unwrap());
        thread::spawn(move || {
            let mut ops = None;
            for line in stdout.lines().map_while(Result::ok) {
                ops = line.split_once(OPS).and_then(|(_, port)| port.parse::<u16>().ok()).or(ops);
                let port = line
                    .split_once(READY)
                    .and_then(|(_, rest)| rest.trim().trim_end_matches('/').rsplit_once(':'))
                    .map(|(_, port)| port.parse::<u16>());
                if let Some(port) = port {
                    let _ = sender.send((port, ops));
                }
            }
        });
        let (port, ops) = match ready.recv_timeout(PATIENCE) {
            Ok((port, ops)) => (port.expect("the port behind `listening on` is a number"), ops),
            Err(RecvTimeoutError::Timeout) => panic!("not ready within {PATIENCE:?}: {}", process.log()),
            Err(RecvTimeoutError::Disconnected) => {
                let status = process.wait_exit(PATIENCE);
                panic!("ended before it was ready, with {status}: {}", process.log())
            }
        };
        Server { process, port, ops: ops.unwrap_or(port), _folder: self.folder }
    }

    /// Runs it to its end, which must be soon.
    pub(crate) fn run(self) -> Outcome {
        let mut process = self.spawn();
        let status = process.wait_exit(PATIENCE);
        let mut stdout = String::new();
        process.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        Outcome { status, stdout, stderr: process.log() }
    }

    fn command(&self) -> Command {
        let descriptors = self.descriptors.map(|most| format!("ulimit -n {most} && "));
        // in blocks of 512 bytes; a write fails, where the signal would end the process
        let file_size = self.file_size.map(|most| format!("trap '' XFSZ && ulimit -S -f {} && ", most / 512));
        let limits: String = [descriptors, file_size].into_iter().flatten().collect();
        if let Some(namespace) = &self.namespace {
            let mut within = Command::new("ip");
            within.args(["netns", "exec", namespace]).arg(&self.program);
            return within;
        }
        if limits.is_empty() {
            return Command::new(&self.program);
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{limits}exec \"$0\" \"$@\"")]).arg(&self.program);
        shell
    }

    fn spawn(&self) -> Process {
        let mut command = self.command();
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        let mut child = command
            .args(&self.arguments)
            .envs(&self.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {}: {e}", self.program.display()));
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, sink) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&log));
        let logger = thread::spawn(move || {
            for line in lines.split(b'\n').map_while(Result::ok) {
                let mut log = sink.lock().unwrap();
                log.push_str(&String::from_utf8_lossy(&line));
                log.push('\n');
            }
        });
        Process { child, log, logger: Some(logger) }
    }
}

/// What [`Launch::run`] left behind.
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
    logger: Option<JoinHandle<()>>,
}

impl Process {
    fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        let until = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // the log is whole only when its reader has seen the end
                if let Some(logger) = self.logger.take() {
                    logger.join().unwrap();
                }
                return status;
            }
            assert!(Instant::now() < until, "still running after {within:?}; its log:\n{}", self.log());
            thread::sleep(POLL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the server's log:\n{}", self.log.lock().map(|log| log.clone()).unwrap_or_default());
        }
    }
}

/// A running server.
pub(crate) struct Server {
    process: Process,
    pub(crate) port: u16,
    /// Where it answers operators.
    pub(crate) ops: u16,
    _folder: Option<Folder>,
}

impl Server {
    /// Sends a signal, by its name without `SIG`.
    pub(crate) fn signal(&self, name: &str) {
        // the shell's own kill: /bin/kill is not on every machine
        let command = format!("kill -{name} {}", self.process.child.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success(), "{command}");
    }

    /// Whether it has something to do at the signal of this number.
    pub(crate) fn hears(&self, signal: u32) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.child.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (signal - 1)) != 0
    }

    /// Lets it write files of any size.
    pub(crate) fn grant_file_size(&self) {
        let process = format!("--pid={}", self.process.child.id());
        assert!(Command::new("prlimit").args([&process, "--fsize=unlimited"]).status().unwrap().success());
    }

    pub(crate) fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        self.process.wait_exit(within)
    }

    /// What it wrote to stderr so far.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// The first line of the log that `wanted` takes, waiting for it to be written.
    pub(crate) fn log_line(&self, wanted: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.log().lines().find(|line| wanted(line)) {
                return line.to_owned();
            }
            assert!(Instant::now() < until, "no such line in the log:\n{}", self.log());
            thread::sleep(POLL);
        }
    }

    /// Files and connections that it has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process.child.id())).unwrap().count()
    }

    /// Has no more than `count` of them open, or soon will have.
    pub(crate) fn settles_at(&self, count: usize) {
        let until = Instant::now() + PATIENCE;
        while self.descriptors() > count {
            assert!(Instant::now() < until, "{} descriptors, {count} before", self.descriptors());
            thread::sleep(POLL);
        }
    }

    /// Time that it has spent on processors.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.child.id())).unwrap();
        // the name, in brackets, may have anything in it; user and system time are fields 14 and 15
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(10 * ticks)
    }

    /// Memory in use now (`VmRSS`) or at most ever (`VmHWM`), in bytes.
    pub(crate) fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
        1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    }
}
