//! A private Redis: in a folder of its own, on a free port, gone when the tests are over, however they end.
//!
//! The tests of hinotori-redis use this file too. It starts what Debian's package installs, never what runs already.

#![allow(clippy::unwrap_used, dead_code, reason = "not every test uses all of it")]

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{self, Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// What clients log in with. No log and no error may have it.
pub(crate) const PASSWORD: &str = "s3cr3t-of-the-tests";

/// How long it may take to start, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(5);

/// Runs the server until its input ends, which it does when the tests end. `keep` lets the folder stay.
const WATCH: &str = r#"
folder=$1
shift
redis-server "$@" >>"$folder/log" 2>&1 </dev/null &
echo $!
read -r word
kill -KILL $! 2>/dev/null
wait
[ "$word" = keep ] || rm -rf "$folder"
"#;

/// One server.
pub(crate) struct Instance {
    folder: PathBuf,
    port: u16,
    tls_port: Option<u16>,
    running: Mutex<Option<Running>>,
}

struct Running {
    watch: Child,
    server: u32,
}

impl Instance {
    pub(crate) fn new() -> Self {
        Self::make(None)
    }

    /// One that takes TLS connections too, with this certificate and its key.
    pub(crate) fn with_tls(certificate: &str, key: &str) -> Self {
        Self::make(Some((certificate, key)))
    }

    fn make(tls: Option<(&str, &str)>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("hinotori-redis-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        if let Some((certificate, key)) = tls {
            fs::write(folder.join("cert.pem"), certificate).unwrap();
            fs::write(folder.join("key.pem"), key).unwrap();
        }
        let (port, tls_port) = (free_port(), tls.map(|_| free_port()));
        let instance = Self { folder, port, tls_port, running: Mutex::new(None) };
        instance.start();
        instance
    }

    fn start(&self) {
        let mut watch = Command::new("/bin/sh");
        watch.args(["-c", WATCH, "sh"]).arg(&self.folder);
        watch.args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--requirepass", PASSWORD]);
        watch.args(["--save", "", "--appendonly", "no", "--dir"]).arg(&self.folder);
        if let Some(port) = self.tls_port {
            watch.args(["--tls-port", &port.to_string(), "--tls-auth-clients", "no"]);
            watch.arg("--tls-cert-file").arg(self.folder.join("cert.pem"));
            watch.arg("--tls-ca-cert-file").arg(self.folder.join("cert.pem"));
            watch.arg("--tls-key-file").arg(self.folder.join("key.pem"));
        }
        let mut watch = watch.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(watch.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let server = line.trim().parse().unwrap();
        *self.running.lock().unwrap() = Some(Running { watch, server });
        self.wait("start", || self.try_command("PING").is_ok_and(|answer| answer.starts_with("+PONG")));
    }

    /// Ends it as `kill -9` does, and starts it again.
    pub(crate) fn restart(&self) {
        let mut running = self.running.lock().unwrap().take().unwrap();
        running.watch.stdin.take().unwrap().write_all(b"keep\n").unwrap();
        running.watch.wait().unwrap();
        self.start();
    }

    /// Stops it, as a machine does that hangs.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let server = self.running.lock().unwrap().as_ref().unwrap().server;
        // the shell's own kill: /bin/kill is not on every machine
        let kill = Command::new("sh").args(["-c", &format!("kill -{name} {server}")]).status();
        assert!(kill.unwrap().success());
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens, for a client with a password.
    pub(crate) fn address(&self, password: &str) -> String {
        format!("redis://:{password}@127.0.0.1:{}", self.port)
    }

    /// The same with TLS, for a client that trusts its certificate.
    pub(crate) fn tls_address(&self) -> String {
        let (port, folder) = (self.tls_port.unwrap(), self.folder.display());
        format!("rediss://:{PASSWORD}@localhost:{port}?cacert={folder}/cert.pem")
    }

    /// What it answers to a command.
    pub(crate) fn command(&self, command: &str) -> String {
        self.try_command(command).unwrap()
    }

    fn try_command(&self, command: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "AUTH {PASSWORD}\r\n{command}\r\nQUIT\r\n")?;
        let mut answers = String::new();
        stream.read_to_string(&mut answers)?;
        let answer = answers.strip_prefix("+OK\r\n").and_then(|rest| rest.strip_suffix("+OK\r\n"));
        Ok(answer.unwrap_or(&answers).to_owned())
    }

    fn wait(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so() {
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(
                Instant::now() < until,
                "Redis does not {what}; if it is not installed, `make redis` does that: {}",
                log()
            );
            thread::sleep(POLL);
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.lock().unwrap().take() {
            drop(running.watch.stdin.take());
            let _ = running.watch.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Nobody else has it now; if someone takes it before the server does, the test fails.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
