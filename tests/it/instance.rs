//! A private PostgreSQL: in a folder of its own, on a free port, gone when the tests are over, however they end.
//!
//! The unit tests of the chat's store and the tests of hinotori-postgres use this file too. It starts what Debian's package installs, never what runs already.

#![allow(clippy::unwrap_used, dead_code, reason = "not every test uses all of it")]

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// What its superuser logs in with. No log and no error may have it.
pub(crate) const PASSWORD: &str = "s3cr3t-of-the-tests";

/// How long it may take to start, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(5);

/// Runs the server until its input ends, which it does when the tests end. `keep` lets the folder stay.
const WATCH: &str = r#"
"$1" -D "$2/data" >>"$2/log" 2>&1 </dev/null &
echo $!
read -r word
[ "$word" = keep ] && exit
kill -QUIT $! 2>/dev/null
kill -CONT $! 2>/dev/null
wait
rm -rf "$2"
"#;

/// One server with its databases.
pub(crate) struct Instance {
    folder: PathBuf,
    port: u16,
    running: Mutex<Option<Running>>,
}

struct Running {
    watch: Child,
    server: u32,
}

impl Instance {
    /// A server that was started for all tests of this process.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Instance> = OnceLock::new();
        SHARED.get_or_init(Self::new)
    }

    /// A server that one test may stop and kill.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("hinotori-pg-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("password"), PASSWORD).unwrap();
        let (user, group) = user();
        for path in [folder.clone(), folder.join("password")] {
            chown(&path, Some(user), Some(group)).unwrap();
        }
        // nobody else has it now; if someone takes it before the server does, the test fails
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut initdb = as_user(&program("initdb"));
        initdb.args([
            "--username=postgres",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]);
        initdb.arg("--pwfile").arg(folder.join("password")).arg("-D").arg(folder.join("data"));
        let made = initdb.current_dir(&folder).output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nmax_connections = 60\n\
             shared_buffers = 16MB\nfsync = on\nlog_min_messages = warning\n",
            folder.display()
        );
        let mut file = fs::OpenOptions::new().append(true).open(folder.join("data/postgresql.conf")).unwrap();
        file.write_all(settings.as_bytes()).unwrap();
        let instance = Self { folder, port, running: Mutex::new(None) };
        instance.start();
        instance
    }

    /// Starts it, or starts it again, and waits until it takes connections.
    pub(crate) fn start(&self) {
        let mut watch = as_user(Path::new("/bin/sh"))
            .args(["-c", WATCH, "sh"])
            .arg(program("postgres"))
            .arg(&self.folder)
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(watch.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let server = line.trim().parse().unwrap();
        *self.running.lock().unwrap() = Some(Running { watch, server });
        self.wait("start", || self.try_sql("postgres", "SELECT 1").is_ok());
    }

    /// An empty database, as one sets it: `postgres://…`.
    pub(crate) fn database(&self) -> Database<'_> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("chat_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        Database { instance: self, name }
    }

    /// The address of a database, for someone with a password.
    pub(crate) fn address(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgres://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where its certificate may be.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// A file that it can read and nobody else.
    pub(crate) fn write(&self, name: &str, content: &str) {
        use fs::Permissions;
        use std::os::unix::fs::PermissionsExt;
        let (path, (user, group)) = (self.data().join(name), user());
        fs::write(&path, content).unwrap();
        chown(&path, Some(user), Some(group)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }

    /// What a statement answers: a line for each row, with `|` between its columns.
    pub(crate) fn sql(&self, database: &str, statement: &str) -> String {
        self.try_sql(database, statement).unwrap_or_else(|why| panic!("{statement}: {why}"))
    }

    fn try_sql(&self, database: &str, statement: &str) -> Result<String, String> {
        let output = self.client("psql", database).args(["-XAtqc", statement]).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// A program of its package, which connects to a database.
    pub(crate) fn client(&self, name: &str, database: &str) -> Command {
        let mut command = Command::new(program(name));
        command
            .env("PGPASSWORD", PASSWORD)
            .env("PGCONNECT_TIMEOUT", "20")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres", "-d", database])
            .current_dir(env::temp_dir());
        command
    }

    /// Ends it as a crash does: nothing is written any more, and its next start recovers.
    pub(crate) fn crash(&self) {
        let Some(mut running) = self.running.lock().unwrap().take() else { return };
        signal("QUIT", &[running.server]);
        self.wait("end", || {
            !Path::new(&format!("/proc/{}", running.server)).exists() || is_dead(running.server)
        });
        let _ = running.watch.stdin.take().unwrap().write_all(b"keep\n");
        running.watch.wait().unwrap();
        self.wait("leave its port", || TcpStream::connect(("127.0.0.1", self.port)).is_err());
    }

    /// Stops all its processes, as a machine does that hangs, until what it returns is dropped.
    pub(crate) fn freeze(&self) -> Frozen {
        let server = self.running.lock().unwrap().as_ref().unwrap().server;
        // first the one that starts others
        signal("STOP", &[server]);
        let mut processes = children(server);
        signal("STOP", &processes);
        processes.push(server);
        Frozen(processes)
    }

    fn wait(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so() {
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "PostgreSQL does not {what}: {}", log());
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

/// Processes that are stopped.
pub(crate) struct Frozen(Vec<u32>);

impl Drop for Frozen {
    fn drop(&mut self) {
        signal("CONT", &self.0);
    }
}

/// One database.
pub(crate) struct Database<'a> {
    pub(crate) instance: &'a Instance,
    pub(crate) name: String,
}

impl Database<'_> {
    /// What `--store` is set to.
    pub(crate) fn address(&self) -> String {
        self.instance.address("postgres", PASSWORD, &self.name)
    }

    pub(crate) fn sql(&self, statement: &str) -> String {
        self.instance.sql(&self.name, statement)
    }

    /// Cuts all connections to it.
    pub(crate) fn cut(&self) {
        let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '";
        self.instance.sql("postgres", &format!("{cut}{}'", self.name));
    }
}

/// Sends a signal to processes, some of which may be gone.
fn signal(name: &str, processes: &[u32]) {
    let processes: Vec<String> = processes.iter().map(u32::to_string).collect();
    // the shell's own kill: /bin/kill is not on every machine
    let command = format!("kill -{name} {} 2>/dev/null", processes.join(" "));
    let _ = Command::new("sh").args(["-c", &command]).status().unwrap();
}

/// The state of a process and the one that started it.
fn stat(process: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // the name, in brackets, may have anything in it
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// It has ended, and who started it has not asked yet how.
fn is_dead(process: u32) -> bool {
    stat(process).is_none_or(|(state, _)| state == 'Z')
}

fn children(of: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap();
    let ids = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    ids.filter(|id| stat(*id).is_some_and(|(_, parent)| parent == of)).collect()
}

/// A program of the newest package that is installed.
fn program(name: &str) -> PathBuf {
    let versions =
        fs::read_dir("/usr/lib/postgresql").into_iter().flatten().map(|entry| entry.unwrap().path());
    let number =
        |path: &PathBuf| path.file_name().unwrap().to_str().and_then(|name| name.parse::<u32>().ok());
    let newest = versions.filter(|path| path.join("bin/postgres").exists()).max_by_key(number);
    newest.expect("PostgreSQL is not installed: `make postgres` does that").join("bin").join(name)
}

/// Who runs it: the server refuses root.
fn user() -> (u32, u32) {
    let me = fs::metadata("/proc/self").unwrap();
    let (uid, gid) = (std::os::unix::fs::MetadataExt::uid(&me), std::os::unix::fs::MetadataExt::gid(&me));
    if uid != 0 {
        return (uid, gid);
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let ids = |name: &str| {
        let mut fields =
            users.lines().find_map(|line| line.strip_prefix(&format!("{name}:")))?.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    ids("postgres").or_else(|| ids("nobody")).expect("neither a user `postgres` nor `nobody`")
}

fn as_user(program: &Path) -> Command {
    let ((user, group), mut command) = (user(), Command::new(program));
    if fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0) {
        command.uid(user).gid(group);
    }
    command
}
