//! TLS: the chat's `--tls-cert` and `--tls-key`.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    path::Path,
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};

use crate::{
    PATIENCE,
    client::{Client, Upgrade},
    folder::Folder,
    frame::{self, TEXT},
    guest::{Guest, LOBBY},
    http::{exchange, get},
    server::{Launch, Server},
    tunnel::Tunnel,
    turns::timed,
};

const PATH: &str = "/socket/websocket?vsn=2.0.0";

/// What a client offers that knows no other protocol.
const HTTP_1: &[&[u8]] = &[b"http/1.1"];

const RSA: &str = include_str!("../fixtures/tls/rsa.pem");

/// A certificate for `localhost` and its key, as PEM.
pub(crate) struct Identity {
    certificate: String,
    key: String,
    der: Vec<u8>,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self { certificate: cert.pem(), key: signing_key.serialize_pem(), der: cert.der().to_vec() }
    }

    fn write(&self, folder: &Folder) {
        folder.write("cert.pem", &self.certificate);
        folder.write("key.pem", &self.key);
    }
}

fn launch(folder: &Path) -> Launch {
    Launch::chat()
        .set("TLS_CERT", folder.join("cert.pem").display())
        .set("TLS_KEY", folder.join("key.pem").display())
}

/// The chat with a certificate, and the way in.
fn start(identity: &Identity, folder: &Folder) -> (Server, Tunnel) {
    start_with(identity, folder, |launch| launch)
}

/// The same, with other settings too.
pub(crate) fn start_with(
    identity: &Identity,
    folder: &Folder,
    with: impl FnOnce(Launch) -> Launch,
) -> (Server, Tunnel) {
    identity.write(folder);
    let server = with(launch(folder.path())).start();
    let tunnel = Tunnel::open(server.port, &[&identity.certificate], HTTP_1);
    (server, tunnel)
}

fn enter(port: u16) -> Guest {
    Guest::enter_by(port).0
}

#[test]
fn who_joins_over_tls_hears_what_others_say_and_they_hear_it() {
    let folder = Folder::new();
    let (_server, tunnel) = start(&Identity::new(), &folder);
    let (mut ann, mut bob) = (enter(tunnel.port), enter(tunnel.port));
    let text = "鳥".repeat(1_000);
    ann.posts(&text);
    assert_eq!(bob.hears("new_message")["content"], text);
    bob.posts(&text);
    assert_eq!(ann.hears("new_message")["content"], text);
}

#[test]
fn the_page_and_the_long_poll_are_there_over_tls() {
    let folder = Folder::new();
    let (_server, tunnel) = start(&Identity::new(), &folder);
    assert!(get(tunnel.port, "/", &[]).text().contains("stub page"));
    let ask = |method: &str, token: &str, body: Option<&str>| -> Value {
        let headers = [("X-Phoenix-Longpoll-Token".to_owned(), token.to_owned())];
        let path = "/socket/longpoll?vsn=2.0.0";
        let reply = exchange(tunnel.port, method, path, &headers, body.map(str::as_bytes)).unwrap();
        serde_json::from_slice(&reply.body).unwrap()
    };
    let token = ask("GET", "", None)["token"].as_str().unwrap().to_owned();
    let beat = r#"[null,"1","phoenix","heartbeat",{}]"#;
    assert_eq!(ask("POST", &token, Some(beat))["status"], 200);
    let answer = ask("GET", &token, None);
    assert_eq!(answer["messages"][0], r#"[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]"#);
}

#[test]
fn http_2_is_not_offered_to_a_client_that_would_take_it() {
    let (folder, identity) = (Folder::new(), Identity::new());
    let (server, _) = start(&identity, &folder);
    let tunnel = Tunnel::open(server.port, &[&identity.certificate], &[b"h2", b"http/1.1"]);
    enter(tunnel.port).client.beat();
    assert_eq!(tunnel.handshakes()[0].protocol.as_deref(), Some(&b"http/1.1"[..]));
}

#[test]
fn a_new_certificate_is_taken_at_sighup_and_connections_live_on() {
    let (folder, old, new) = (Folder::new(), Identity::new(), Identity::new());
    let (server, _) = start(&old, &folder);
    let tunnel = Tunnel::open(server.port, &[&old.certificate, &new.certificate], HTTP_1);
    let mut before = enter(tunnel.port);
    new.write(&folder);
    assert_eq!(get(tunnel.port, "/", &[]).status, 200);
    server.signal("HUP");
    server.log_line(|line| line.contains("SIGHUP"));
    let mut after = enter(tunnel.port);
    let shown: Vec<_> = tunnel.handshakes().into_iter().map(|handshake| handshake.certificate).collect();
    assert!(shown == [old.der.clone(), old.der, new.der], "not the old, the old and the new");
    before.client.beat();
    after.client.beat();
}

#[test]
fn a_bad_file_at_sighup_is_logged_and_the_former_certificate_stays() {
    let (folder, old, new) = (Folder::new(), Identity::new(), Identity::new());
    let (server, tunnel) = start(&old, &folder);
    // half renewed: the new certificate with the old key
    folder.write("cert.pem", &new.certificate);
    server.signal("HUP");
    let line = server.log_line(|line| line.contains("SIGHUP"));
    for part in ["ERROR", "key.pem", "cert.pem", "former certificate"] {
        assert!(line.contains(part), "no `{part}` in: {line}");
    }
    enter(tunnel.port).client.beat();
    assert!(tunnel.handshakes().iter().all(|handshake| handshake.certificate == old.der));
}

#[test]
fn sighup_without_a_certificate_ends_nothing() {
    let server = Launch::chat().start();
    let mut client = Client::open(server.port, PATH);
    server.signal("HUP");
    server.log_line(|line| line.contains("SIGHUP"));
    client.beat();
}

#[test]
fn a_certificate_that_cannot_be_used_stops_the_start_and_is_named() {
    let (identity, other) = (Identity::new(), Identity::new());
    let broken = identity.certificate.replacen("MII", "!!!", 1);
    // valid PEM around what is no certificate, or no key
    let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let hollow_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let locked = identity.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let (certificate, key) = (identity.certificate.as_str(), identity.key.as_str());
    for (certificate, key, parts) in [
        (None, Some(key), &["cert.pem", "No such file"][..]),
        (Some(certificate), None, &["key.pem", "No such file"]),
        (Some(""), Some(key), &["cert.pem", "no certificate", "BEGIN CERTIFICATE"]),
        (Some(key), Some(key), &["cert.pem", "no certificate"]),
        (Some(&broken), Some(key), &["cert.pem", "broken PEM"]),
        (Some(hollow), Some(key), &["cert.pem"]),
        (Some(certificate), Some(""), &["key.pem", "no private key"]),
        (Some(certificate), Some(certificate), &["key.pem", "no private key"]),
        (Some(certificate), Some(&locked), &["key.pem", "no private key", "passphrase"]),
        (Some(certificate), Some(hollow_key), &["key.pem"]),
        (Some(certificate), Some(&other.key), &["key.pem", "cert.pem", "not that of"]),
    ] {
        let folder = Folder::new();
        for (name, content) in [("cert.pem", certificate), ("key.pem", key)] {
            content.into_iter().for_each(|content| folder.write(name, content));
        }
        let outcome = launch(folder.path()).run();
        let said = &outcome.stderr;
        assert_eq!(outcome.status.code(), Some(1), "{parts:?}: {said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{parts:?}: {said}");
        assert!(said.starts_with("error: ") && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn a_certificate_without_key_or_a_key_without_certificate_exits_with_2_and_names_what_is_missing() {
    for (given, missing) in [("--tls-cert", "--tls-key"), ("--tls-key", "--tls-cert")] {
        let outcome = Launch::chat().arguments(&[given, "file.pem"]).run();
        assert_eq!(outcome.status.code(), Some(2), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(missing), "{}", outcome.stderr);
    }
}

#[test]
fn keys_of_every_kind_and_format_are_taken() {
    // made by openssl: PKCS#1, SEC1 and PKCS#8
    for (certificate, key, format) in [
        (RSA, include_str!("../fixtures/tls/rsa-key.pem"), "BEGIN RSA PRIVATE KEY"),
        (
            include_str!("../fixtures/tls/ec.pem"),
            include_str!("../fixtures/tls/ec-key.pem"),
            "BEGIN EC PRIVATE KEY",
        ),
        (
            include_str!("../fixtures/tls/ed25519.pem"),
            include_str!("../fixtures/tls/ed25519-key.pem"),
            "BEGIN PRIVATE KEY",
        ),
    ] {
        assert!(key.contains(format));
        let folder = Folder::new();
        folder.write("cert.pem", certificate);
        folder.write("key.pem", key);
        let server = launch(folder.path()).start();
        let tunnel = Tunnel::open(server.port, &[certificate], HTTP_1);
        enter(tunnel.port).client.beat();
    }
}

#[test]
fn a_client_without_tls_is_cut_off_and_hurts_nobody() {
    let folder = Folder::new();
    let (server, tunnel) = start(&Identity::new(), &folder);
    let mut guest = enter(tunnel.port);
    for junk in [&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], &[0; 70_000], b"\x16\x03\x01\xff\xff"] {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.write_all(junk);
        // an alert of TLS may come first; a reset is an end as well, only silence is none
        let end = stream.read_to_end(&mut vec![]).map(drop).map_err(|error| error.kind());
        assert!(matches!(end, Ok(()) | Err(ErrorKind::ConnectionReset)), "{end:?}");
    }
    guest.client.beat();
    enter(tunnel.port).client.beat();
}

/// Many that begin a handshake and say no more: more than actix-web lets two workers have under way by default.
fn stall(server: &Server) -> Vec<TcpStream> {
    let stalled = (0..600).map(|_| TcpStream::connect(("127.0.0.1", server.port)).unwrap());
    stalled.inspect(|mut stream| stream.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap()).collect()
}

#[test]
fn handshakes_that_stall_keep_nobody_out_and_are_cut_off() {
    let _turn = timed();
    let folder = Folder::new();
    let (server, tunnel) = start(&Identity::new(), &folder);
    // who gets in while even the first of them is still there has not waited for any; on a machine that is busy beyond
    // measure they may be over by themselves, but not every time
    let served_beside_them = (0..5).any(|_| {
        let stalled = stall(&server);
        enter(tunnel.port).client.beat();
        let mut first = &stalled[0];
        first.set_nonblocking(true).unwrap();
        first.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    });
    assert!(served_beside_them, "who came later had to wait until the first was cut off");
    for mut stream in stall(&server) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let end = stream.read(&mut [0]).map_err(|error| error.kind());
        assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)), "{end:?}");
    }
}

#[test]
fn clients_are_told_of_the_end_over_tls_too() {
    let folder = Folder::new();
    let (mut server, tunnel) = start(&Identity::new(), &folder);
    let guests: Vec<Guest> = (0..5).map(|_| enter(tunnel.port)).collect();
    server.signal("TERM");
    for guest in guests {
        guest.client.closes(1012);
    }
    assert!(server.wait_exit(PATIENCE).success());
}

/// Connects, joins the lobby, and leaves it at that.
fn idle(port: u16) -> TcpStream {
    let mut stream = Upgrade::granted(port, PATH).stream;
    let join = json!(["1", "1", LOBBY, "phx_join", {}]).to_string();
    stream.write_all(&frame::masked(true, TEXT, join.as_bytes())).unwrap();
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains("load_messages") {
        let mut chunk = [0; 1024];
        let n = stream.read(&mut chunk).unwrap();
        assert!(n > 0, "the connection has ended");
        heard.extend(&chunk[..n]);
    }
    stream
}

#[test]
#[ignore = "a measurement for docs/OPERATIONS.md: run it alone, with --release and --nocapture"]
fn what_a_connection_costs_without_tls_and_with_it() {
    const CLIENTS: u16 = 2_000;
    let measure = |what: &str, server: &Server, port: u16| {
        let warm: Vec<_> = (0..200).map(|_| idle(port)).collect();
        let (memory, cpu) = (server.memory("VmRSS"), server.cpu());
        let clients: Vec<_> = (0..CLIENTS).map(|_| idle(port)).collect();
        let (memory, cpu) = (server.memory("VmRSS") - memory, server.cpu() - cpu);
        let n = f64::from(CLIENTS);
        let (kib, micros) = (memory as f64 / 1024.0 / n, cpu.as_secs_f64() * 1e6 / n);
        println!("{what}: {kib:.1} KiB, {micros:.0} µs of CPU for connecting and joining");
        drop((warm, clients));
    };
    let server = Launch::chat().set("RUST_LOG", "error").start();
    measure("plain", &server, server.port);
    for name in ["P-256", "RSA 2048"] {
        let (folder, made) = (Folder::new(), Identity::new());
        made.write(&folder);
        if name != "P-256" {
            folder.write("cert.pem", RSA);
            folder.write("key.pem", include_str!("../fixtures/tls/rsa-key.pem"));
        }
        let server = launch(folder.path()).set("RUST_LOG", "error").start();
        let tunnel = Tunnel::open(server.port, &[&made.certificate, RSA], HTTP_1);
        measure(name, &server, tunnel.port);
    }
}
