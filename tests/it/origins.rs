//! Which pages may connect: the chat's `--check-origin`.

use crate::{
    client::Upgrade,
    server::{Launch, Server},
};

/// The status of an upgrade that carries this `Origin`; `$PORT` is the server's.
fn status(server: &Server, origin: &str) -> u16 {
    let origin = origin.replace("$PORT", &server.port.to_string());
    let path = "/socket/websocket?vsn=2.0.0";
    Upgrade::request(server.port, path, &[("Origin", &[origin.as_str()])]).unwrap().status
}

fn all_are(server: &Server, wanted: u16, origins: &[&str]) {
    for origin in origins {
        assert_eq!(status(server, origin), wanted, "origin `{origin}`");
    }
}

#[test]
fn by_default_only_pages_of_the_requests_own_host_may_connect() {
    let server = Launch::chat().start();
    // the tests' clients ask for the host `localhost`
    all_are(&server, 101, &["http://localhost:$PORT", "http://LOCALHOST:$PORT"]);
    let others = [
        "http://evil.test",
        "http://127.0.0.1:$PORT",
        "http://localhost.evil.test:$PORT",
        "http://evil.test/localhost:$PORT",
        "http://localhost:$PORT@evil.test",
        "http://a.localhost:$PORT",
        "null",
        "file://",
        "",
        "localhost:$PORT",
        "localhost",
    ];
    all_are(&server, 403, &others);
}

#[test]
fn a_client_without_an_origin_is_no_page_and_may_connect() {
    for server in [Launch::chat(), Launch::chat().set("CHECK_ORIGIN", "//a.test")] {
        let server = server.start();
        assert_eq!(Upgrade::request(server.port, "/socket/websocket?vsn=2.0.0", &[]).unwrap().status, 101);
    }
}

#[test]
fn a_refusal_is_logged_with_the_origin_the_setting_and_the_value_that_allows_it() {
    let server = Launch::chat().start();
    assert_eq!(status(&server, "http://evil.test:8080"), 403);
    let line =
        server.log_line(|line| line.contains("http://evil.test:8080") && line.contains("--check-origin"));
    let value = line.rsplit("--check-origin").next().unwrap().trim_start_matches(['=', ' ', '\'', '"', '`']);
    let value = value.split([' ', '\'', '"', '`', ',', ';', ')']).next().unwrap();
    let server = Launch::chat().arguments(&["--check-origin", value]).start();
    assert_eq!(status(&server, "http://evil.test:8080"), 101, "the log said `{value}`: {line}");
}

#[test]
fn a_list_of_origins_is_matched_as_phoenix_matches_it() {
    let server = Launch::chat().set("CHECK_ORIGIN", "//a.test,//*.b.test,http://c.test:8080").start();
    let allowed = [
        "http://a.test",
        "https://a.test",
        "http://a.test:1234",
        "http://A.TEST",
        "http://x.b.test",
        "https://x.y.b.test:99",
        "http://b.test",
        "http://c.test:8080",
    ];
    all_are(&server, 101, &allowed);
    let refused = [
        "http://x.a.test",
        "http://a.test.evil.test",
        "http://evila.test",
        "http://evilb.test",
        "http://b.test.evil.test",
        "http://c.test",
        "http://c.test:80",
        "https://c.test:8080",
        "http://x.c.test:8080",
        // the list takes the place of the request's own host
        "http://localhost:$PORT",
        "null",
        "file://",
        "",
    ];
    all_are(&server, 403, &refused);
}

#[test]
fn switched_off_it_lets_any_page_connect() {
    let server = Launch::chat().set("CHECK_ORIGIN", "off").start();
    all_are(&server, 101, &["http://evil.test", "null", "file://", ""]);
}

#[test]
fn a_setting_that_is_no_origin_stops_the_start_and_is_named() {
    for value in ["a.test", "//", "http://", "//a.test,,//b.test", "ftp//x"] {
        let outcome = Launch::chat().arguments(&["--check-origin", value]).run();
        assert_eq!(outcome.status.code(), Some(2), "`{value}`: {}", outcome.stderr);
        assert!(outcome.stderr.contains("--check-origin"), "`{value}`: {}", outcome.stderr);
    }
}
