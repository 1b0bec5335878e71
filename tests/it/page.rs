//! The page and its files, as a browser and as a nosy visitor ask for them.

use crate::{
    http::{exchange, get},
    server::Launch,
};

#[test]
fn the_page_and_its_files_come_with_their_types() {
    let server = Launch::chat().start();
    for (path, content_type, part) in [
        ("/", "text/html", "stub page"),
        ("/assets/app.js", "text/javascript", "stub app"),
        ("/assets/page.js", "text/javascript", "stub page"),
        ("/assets/app.css", "text/css", "color: black"),
        ("/assets/favicon.svg", "image/svg+xml", "<svg"),
    ] {
        let reply = get(server.port, path, &[]);
        assert_eq!(reply.status, 200, "{path}");
        let got = reply.header("content-type").unwrap_or_default();
        assert!(got.starts_with(content_type), "{path}: {got}");
        assert!(reply.text().contains(part), "{path}: {}", reply.text());
    }
}

#[test]
fn a_browser_that_has_the_newest_is_told_so() {
    let server = Launch::chat().start();
    for path in ["/", "/assets/app.js"] {
        let first = get(server.port, path, &[]);
        let etag = first.header("etag").unwrap_or_else(|| panic!("{path} has no ETag"));
        assert!(first.header("cache-control").is_some(), "{path} has no Cache-Control");
        let again = get(server.port, path, &[("If-None-Match", etag)]);
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        let other = get(server.port, path, &[("If-None-Match", "\"another\"")]);
        assert_eq!((other.status, other.body), (200, first.body), "{path}");
    }
}

#[test]
fn every_answer_has_the_security_headers() {
    let server = Launch::chat().start();
    for path in ["/", "/assets/app.js", "/nothing"] {
        let reply = get(server.port, path, &[]);
        let header = |name: &str| reply.header(name).unwrap_or_else(|| panic!("{path} has no {name}"));
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert!(!header("referrer-policy").is_empty(), "{path}");
        let policy = header("content-security-policy");
        assert!(policy.contains("default-src"), "{path}: {policy}");
        let scripts = policy.split(';').map(str::trim).find(|rule| rule.starts_with("script-src"));
        let scripts = scripts.unwrap_or(policy);
        for hole in ["'unsafe-eval'", "*", "data:", "http:"] {
            assert!(!scripts.split(' ').any(|source| source == hole), "{path}: {policy}");
        }
    }
}

#[test]
fn nothing_outside_the_folder_is_ever_served() {
    let server = Launch::chat().start();
    for path in [
        "/assets/../../secret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/assets/%2e%2e/%2e%2e/secret.txt",
        "/assets/..%5c..%5csecret.txt",
        "/assets/....//....//secret.txt",
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/secret.txt",
        "//secret.txt",
        "/assets/../../../../../../../../etc/passwd",
        "/assets/%2fetc/passwd",
        "/assets//etc/passwd",
        "/assets/%00",
        "/assets/app.js%00.html",
        "/assets/",
        "/assets",
    ] {
        let reply = get(server.port, path, &[]);
        let text = reply.text();
        assert!(!text.contains("not-for-visitors") && !text.contains("root:"), "{path}: {text}");
        assert!((400..500).contains(&reply.status), "{path}: {}", reply.status);
    }
    // a path that leads out and in again is at most the page itself
    for path in ["/assets/../index.html", "/assets/%2e%2e/index.html", "/assets/..%2findex.html"] {
        let reply = get(server.port, path, &[]);
        assert!(reply.status >= 400 || reply.text().contains("stub page"), "{path}: {}", reply.text());
    }
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn what_does_not_exist_is_404() {
    let server = Launch::chat().start();
    for path in
        ["/nothing", "/assets/nothing.js", "/assets/app.js/x", "/socket", "/socket/nothing", "/ASSETS/app.js"]
    {
        assert_eq!(get(server.port, path, &[]).status, 404, "{path}");
    }
}

#[test]
fn a_head_request_has_the_headers_of_the_page_and_no_body() {
    let server = Launch::chat().start();
    let page = get(server.port, "/", &[]);
    let head = exchange(server.port, "HEAD", "/", &[], None).unwrap();
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), page.header("content-length"));
    assert_eq!(head.header("etag"), page.header("etag"));
}
