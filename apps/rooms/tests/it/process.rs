//! The program as a process.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use crate::{
    PATIENCE,
    folder::Folder,
    http::get,
    instance::Instance,
    server::{Launch, Server, VARIABLES},
};

impl Launch {
    /// Rooms with an empty page, on a database of SQLite.
    fn rooms() -> Self {
        let folder = Folder::new();
        folder.write("page/index.html", "<!doctype html><title>stub page</title>");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (page, store) = (path("page"), format!("sqlite:{}", path("rooms.db")));
        let program = Self::program(PathBuf::from(env!("CARGO_BIN_EXE_rooms")));
        program.set("STATIC_DIR", page).set("STORE", store).with(folder)
    }
}

#[test]
fn signals_are_heard_from_the_moment_the_address_is_printed() {
    for signal in ["TERM", "INT"] {
        for _ in 0..5 {
            let mut server = Launch::rooms().set("WORKERS", 1).start();
            assert!(server.hears(15) && server.hears(2), "a signal would end it without a drain");
            server.signal(signal);
            let status = server.wait_exit(PATIENCE);
            assert!(status.success(), "{status}: {}", server.log());
        }
    }
}

/// Waits until `/readyz` answers this.
fn answers(server: &Server, status: u16, body: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        let reply = get(server.ops, "/readyz", &[]);
        if (reply.status, &*reply.text()) == (status, body) {
            return;
        }
        assert!(Instant::now() < until, "{} {:?}", reply.status, reply.text());
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_database_that_is_away_is_told_by_readyz_though_nobody_writes() {
    let instance = Instance::new();
    let (one, other) = (instance.database(), instance.database());
    let told = Launch::rooms().set("STORE", one.address()).start();
    let required = Launch::rooms().set("STORE", other.address()).set("READY_REQUIRES_STORE", true).start();
    for server in [&told, &required] {
        answers(server, 200, "ready\nstore up\n");
    }
    instance.crash();
    answers(&told, 200, "ready\nstore down\n");
    answers(&required, 503, "not ready\nstore down\n");
    instance.start();
    for server in [&told, &required] {
        answers(server, 200, "ready\nstore up\n");
    }
}

#[test]
fn it_is_asked_for_its_health_by_its_own_settings() {
    let mut server = Launch::rooms().set("OPS_LISTEN", "127.0.0.1:0").start();
    let address = format!("127.0.0.1:{}", server.ops);
    let ask = |path: &str| {
        let launch = Launch::rooms().set("OPS_LISTEN", &address).arguments(&["--health-check", path]);
        launch.run().status.success()
    };
    assert!(ask("/healthz") && ask("/readyz"));
    server.signal("TERM");
    assert!(server.wait_exit(PATIENCE).success());
    assert!(!ask("/healthz"));
}

#[test]
fn no_setting_of_whoever_runs_the_tests_reaches_a_server_of_theirs() {
    for setting in rooms::settings::command().get_arguments() {
        let variable = setting.get_env().and_then(|name| name.to_str());
        assert!(variable.is_none_or(|variable| VARIABLES.contains(&variable)), "{variable:?}");
    }
}
