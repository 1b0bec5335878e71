//! The chat behind nginx, with `deploy/nginx.conf` as it is but for the values in the lines marked HERE.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rcgen::generate_simple_self_signed;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::{
    PATIENCE,
    client::{Client, Upgrade},
    folder::Folder,
    guest::Guest,
    http::{exchange, get},
    server::{Launch, Server},
    tunnel::Tunnel,
};

pub(crate) const CONFIG: &str = include_str!("../../deploy/nginx.conf");

/// How often nginx is asked whether it is there.
const POLL: Duration = Duration::from_millis(5);

/// The name in the configuration.
const NAME: &str = "chat.example.com";

/// The nodes in the configuration.
pub(crate) const NODES: [&str; 3] = ["chat-1:4000", "chat-2:4000", "chat-3:4000"];

/// A running nginx.
pub(crate) struct Nginx {
    process: Child,
    /// Where it takes plain connections.
    pub(crate) port: u16,
    tls_port: u16,
    folder: Folder,
}

impl Nginx {
    /// In front of up to three nodes at these ports; with TLS if there is a certificate, and its key.
    pub(crate) fn start(upstream: &[u16], tls: Option<[&str; 2]>) -> Self {
        let folder = Folder::new();
        for (name, content) in ["cert.pem", "key.pem"].into_iter().zip(tls.into_iter().flatten()) {
            folder.write(name, content);
        }
        let [port, tls_port] = free_ports();
        let config = config(folder.path(), upstream, [port, tls_port], tls.is_some());
        folder.write("nginx.conf", &config);
        let program = env::var("NGINX").unwrap_or_else(|_| "/usr/sbin/nginx".to_owned());
        let mut process = Command::new(&program)
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(folder.path().join("nginx.conf"))
            .arg("-e")
            .arg(folder.path().join("error.log"))
            .args(["-g", "daemon off;"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {program}: {error}; `make test` installs it"));
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = process.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < until, "nginx does not run: {ended:?}");
            thread::sleep(POLL);
        }
        Self { process, port, tls_port, folder }
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // its workers would outlive a master that is killed
        let stop = format!("kill -TERM {}", self.process.id());
        let _ = Command::new("sh").args(["-c", &stop]).status();
        let _ = self.process.wait();
    }
}

/// Ports that nobody listened at a moment ago.
fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// The configuration for this machine: other values, the same directives.
fn config(folder: &Path, upstream: &[u16], [port, tls_port]: [u16; 2], tls: bool) -> String {
    let folder = folder.display();
    let values = [
        ("/run/nginx.pid", format!("{folder}/nginx.pid")),
        ("/var/log/nginx/error.log", format!("{folder}/error.log")),
        ("/var/log/nginx/access.log", format!("{folder}/access.log")),
        ("/var/lib/nginx/body", format!("{folder}/body")),
        ("listen 80;", format!("listen 127.0.0.1:{port};")),
        ("listen 443 ssl;", format!("listen 127.0.0.1:{tls_port} ssl;")),
        (NAME, format!("{NAME} localhost")),
        ("/etc/ssl/chat/fullchain.pem", format!("{folder}/cert.pem")),
        ("/etc/ssl/chat/privkey.pem", format!("{folder}/key.pem")),
    ];
    let ports = upstream.iter().map(|port| format!("127.0.0.1:{port}")).map(Some).chain([None, None, None]);
    let nodes = NODES.into_iter().zip(ports);
    let mut left: Vec<_> = values.into_iter().map(|(value, ours)| (value, Some(ours))).chain(nodes).collect();
    let lines = CONFIG.lines().filter_map(|line| {
        let line = if tls { line.replace("#tls ", "") } else { line.to_owned() };
        if !line.contains("# HERE: ") {
            return Some(line);
        }
        let at = left.iter().position(|(value, _)| line.contains(value));
        let (value, ours) = left.remove(at.unwrap_or_else(|| panic!("no value for: {line}")));
        // a node that is not there has no line
        ours.map(|ours| line.replace(value, &ours))
    });
    let config = lines.collect::<Vec<_>>().join("\n");
    assert!(left.is_empty(), "no line for {left:?}");
    config
}

/// Something that is taken for a node, and what it was sent: it answers each request by this, or hangs up.
struct Fake {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    fn new(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, seen) = (listener.local_addr().unwrap().port(), Arc::default());
        let seen_here: Arc<Mutex<Vec<String>>> = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let mut lines =
                    stream.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty());
                let first = lines.next().unwrap_or_default();
                lines.for_each(drop);
                seen_here.lock().unwrap().push(first.split(' ').next().unwrap_or_default().to_owned());
                let _ = stream.into_inner().write_all(answer.as_bytes());
            }
        });
        Self { port, seen }
    }

    fn count(&self, method: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|seen| *seen == method).count()
    }
}

/// The chat, and nginx in front of it.
fn chat() -> (Server, Nginx) {
    let server = Launch::chat().set("TRUSTED_PROXIES", "127.0.0.1").start();
    let nginx = Nginx::start(&[server.port], None);
    (server, nginx)
}

/// The seconds of a directive that occurs once.
fn seconds(directive: &str) -> u64 {
    let values: Vec<_> =
        CONFIG.lines().filter_map(|line| line.trim().strip_prefix(directive)?.strip_suffix("s;")).collect();
    assert_eq!(values.len(), 1, "{directive}: {values:?}");
    values[0].trim().parse().unwrap()
}

#[test]
fn a_guest_behind_nginx_and_one_without_it_hear_each_other() {
    let (server, nginx) = chat();
    let (mut behind, _) = Guest::enter_by(nginx.port);
    let (mut direct, _) = Guest::enter(&server);
    let long = "鳥".repeat(3_000);
    for text in ["hello", &long] {
        behind.posts(text);
        assert_eq!(direct.hears("new_message")["content"], text);
        direct.posts(text);
        assert_eq!(behind.hears("new_message")["content"], text);
    }
    behind.client.beat();
    server.signal("TERM");
    behind.client.closes(1012);
}

#[test]
fn a_request_that_a_node_has_not_taken_goes_to_the_next_one_and_a_post_that_was_sent_is_never_repeated() {
    let dead = free_ports()[0];
    let ask = |nginx: &Nginx, method| {
        let body = (method == "POST").then_some(&b"[]"[..]);
        exchange(nginx.port, method, "/socket/longpoll", &[], body).unwrap().status
    };
    let full = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let good = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    for (answer, status) in [("", 502), (full, 503)] {
        let [one, other] = [Fake::new(answer), Fake::new(good)];
        let nginx = Nginx::start(&[dead, one.port, other.port], None);
        for _ in 0..6 {
            assert_eq!(ask(&nginx, "GET"), 200, "another node takes it");
        }
        assert!(one.count("GET") > 0 && other.count("GET") == 6, "{answer}");
        // on its own: the node that has failed is asked again at once
        let nginx = Nginx::start(&[one.port, dead], None);
        let before = one.count("POST");
        assert_eq!(ask(&nginx, "POST"), status);
        assert_eq!(one.count("POST"), before + 1, "{answer}");
    }
    let other = Fake::new(good);
    let nginx = Nginx::start(&[dead, other.port], None);
    for n in 1..=4 {
        assert_eq!((ask(&nginx, "POST"), other.count("POST")), (200, n), "it was not sent to the dead one");
    }
}

#[test]
fn the_page_comes_through_nginx_and_what_operates_the_server_does_not() {
    let (_server, nginx) = chat();
    assert!(get(nginx.port, "/", &[]).text().contains("stub page"));
    let script = get(nginx.port, "/assets/app.js", &[]);
    assert!(script.header("etag").is_some() && script.text().contains("stub app"));
    for path in ["/metrics", "/healthz", "/readyz"] {
        let answer = get(nginx.port, path, &[]);
        assert!(answer.status == 404 && answer.text().contains("nginx"), "{path}: {}", answer.text());
    }
}

#[test]
fn a_long_poll_comes_through_nginx_with_a_body_as_long_as_the_server_takes_one() {
    let (_server, nginx) = chat();
    let ask = |method: &str, token: &str, body: Option<&str>| -> Value {
        let headers = [("X-Phoenix-Longpoll-Token".to_owned(), token.to_owned())];
        let path = "/socket/longpoll?vsn=2.0.0";
        let reply = exchange(nginx.port, method, path, &headers, body.map(str::as_bytes)).unwrap();
        serde_json::from_slice(&reply.body).unwrap_or_else(|e| panic!("{e}: {}", reply.text()))
    };
    let token = ask("GET", "", None)["token"].as_str().unwrap().to_owned();
    let padding = " ".repeat(7_900_000);
    let beat = format!(r#"[null,"1","phoenix","heartbeat",{{}}{padding}]"#);
    assert_eq!(ask("POST", &token, Some(&beat))["status"], 200);
    let answer = ask("GET", &token, None);
    assert_eq!(answer["messages"][0], r#"[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]"#);
}

#[test]
fn pages_of_the_own_host_may_connect_through_nginx_and_no_others() {
    let (_server, nginx) = chat();
    let status = |origin: &str| {
        let headers: [(&str, &[&str]); 2] = [("Origin", &[origin]), ("X-Forwarded-Host", &["evil.test"])];
        Upgrade::request(nginx.port, "/socket/websocket?vsn=2.0.0", &headers).unwrap().status
    };
    assert_eq!(status("https://localhost"), 101);
    for origin in ["https://evil.test", "http://127.0.0.1"] {
        assert_eq!(status(origin), 403, "{origin}");
    }
}

#[test]
fn the_server_knows_a_client_behind_nginx_by_its_own_address() {
    let server = Launch::example("remote_ip").set("TRUSTED_PROXIES", "127.0.0.1").start();
    let nginx = Nginx::start(&[server.port], None);
    // a machine has more than one address of its own; nginx itself is at 127.0.0.1
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 9], 0)).into()).unwrap();
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], nginx.port)).into()).unwrap();
    let forged: [(&str, &[&str]); 1] = [("X-Forwarded-For", &["6.6.6.6, 127.0.0.1"])];
    let upgrade = Upgrade::request_over(socket.into(), "/socket/websocket?vsn=2.0.0", &forged).unwrap();
    assert_eq!(upgrade.status, 101);
    let mut client = Client::over(upgrade);
    client.send(&json!(["1", "1", "address", "phx_join", {}]));
    let seen = json!({ "remote_ip": "127.0.0.9", "peer": "127.0.0.1" });
    client.expect(&json!(["1", "1", "address", "phx_reply", { "status": "ok", "response": seen }]));
}

#[test]
fn with_tls_at_nginx_clients_join_by_wss_and_plain_requests_are_sent_there() {
    let server = Launch::chat().set("TRUSTED_PROXIES", "127.0.0.1").start();
    let identity = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = identity.cert.pem();
    let nginx = Nginx::start(&[server.port], Some([&certificate, &identity.signing_key.serialize_pem()]));
    let tunnel = Tunnel::open(nginx.tls_port, &[&certificate], &[b"h2", b"http/1.1"]);
    let (mut guest, _) = Guest::enter_by(tunnel.port);
    guest.posts("hello");
    assert!(get(tunnel.port, "/", &[]).text().contains("stub page"));
    let plain = get(nginx.port, "/x?y", &[]);
    assert_eq!((plain.status, plain.header("location")), (301, Some("https://127.0.0.1/x?y")));
}

#[test]
fn the_log_of_nginx_has_no_params_of_clients() {
    let (_server, nginx) = chat();
    let _ = get(nginx.port, "/socket/longpoll?vsn=2.0.0&token=secret-of-a-client", &[]);
    let _ = get(nginx.port, "/?token=secret-of-a-client", &[]);
    let until = Instant::now() + PATIENCE;
    while nginx.log("access.log").lines().count() < 2 {
        assert!(Instant::now() < until, "no requests in the log");
        thread::sleep(POLL);
    }
    let log = nginx.log("access.log");
    assert!(log.contains("/socket/longpoll") && !log.contains("secret"), "{log}");
}

#[test]
fn nginx_waits_longer_than_a_heartbeat_a_long_poll_and_the_servers_own_patience() {
    let help = Launch::chat().arguments(&["--help"]).run().stdout;
    // the server's own patience, in milliseconds; it is above a heartbeat and a window
    assert!(help.contains("IDLE_TIMEOUT=]\n") && help.contains("[default: 60000]"), "{help}");
    for directive in ["proxy_read_timeout", "proxy_send_timeout"] {
        assert!(seconds(directive) > 60, "{directive}");
    }
    // and less than the server keeps an idle connection, 5 s
    assert!(seconds("keepalive_timeout") < 5);
}
