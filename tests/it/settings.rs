//! How the program starts, and how it says why it does not.

use crate::{
    folder::Folder,
    http::get,
    server::{Launch, Outcome},
};

/// It did not start, and exits with `code`.
fn refuses(launch: Launch, code: Option<i32>, parts: &[&str]) -> Outcome {
    let outcome = launch.run();
    let (status, stderr) = (outcome.status, &outcome.stderr);
    assert!(!status.success() && code.is_none_or(|code| status.code() == Some(code)), "{status}: {stderr}");
    for part in parts {
        assert!(stderr.contains(part), "no `{part}` in: {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
    outcome
}

#[test]
fn a_bad_flag_exits_with_2_and_is_named() {
    for (arguments, named) in [
        (&["--port", "99999"][..], "--port"),
        (&["--port", "http"], "--port"),
        (&["--history-limit", "0"], "--history-limit"),
        (&["--history-limit", "-1"], "--history-limit"),
        (&["--message-max", "0"], "--message-max"),
        (&["--workers", "0"], "--workers"),
        (&["--trusted-proxies", "localhost"], "--trusted-proxies"),
        (&["--trusted-proxies", "10.0.0.0/33"], "--trusted-proxies"),
        (&["--max-connections", "0"], "--max-connections"),
        (&["--max-message-burst", "0"], "--max-message-burst"),
        (&["--colour"], "--colour"),
        (&["stray"], "stray"),
    ] {
        refuses(Launch::chat().arguments(arguments), Some(2), &[named]);
    }
}

#[test]
fn a_bad_variable_exits_with_2_and_its_value_is_shown() {
    for (variable, value, flag) in [
        ("PORT", "99999", "--port"),
        ("HISTORY_LIMIT", "none", "--history-limit"),
        ("WORKERS", "-3", "--workers"),
    ] {
        refuses(Launch::chat().set(variable, value), Some(2), &[flag, value]);
    }
}

#[test]
fn a_flag_wins_over_its_variable() {
    let server = Launch::chat().set("PORT", "99").arguments(&["--port", "0"]).start();
    assert_ne!(server.port, 99);
    assert_eq!(get(server.port, "/", &[]).status, 200);
}

#[test]
fn a_page_that_is_not_built_stops_the_start_and_says_how_to_build_it() {
    let folder = Folder::new();
    let missing = folder.path().join("static");
    let half = Folder::new();
    half.write("index.html", "<!doctype html>");
    for path in [missing.as_path(), folder.path(), half.path()] {
        let launch = Launch::chat().set("STATIC_DIR", path.display());
        let outcome = refuses(launch, None, &[&path.display().to_string()]);
        assert!(
            outcome.stderr.contains("make build") || outcome.stderr.contains("npm run build"),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn an_address_that_is_taken_stops_the_start_and_is_named() {
    let server = Launch::chat().start();
    let port = server.port.to_string();
    refuses(Launch::chat().set("PORT", &port), None, &[&port]);
    let taken = format!("127.0.0.1:{port}");
    refuses(Launch::chat().set("OPS_LISTEN", &taken), None, &[&taken, "--ops-listen"]);
}

#[test]
fn a_host_that_does_not_exist_stops_the_start_and_is_named() {
    refuses(Launch::chat().set("HOST", "no-such-host.invalid"), None, &["no-such-host.invalid"]);
}
