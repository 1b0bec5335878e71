//! The program as a process.

use std::path::PathBuf;

use crate::{
    PATIENCE,
    folder::Folder,
    server::{Launch, VARIABLES},
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
