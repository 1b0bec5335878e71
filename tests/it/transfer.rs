//! `--export` and `--import`: messages go from one store to another, and no server is started.

use std::fs;

use crate::{
    folder::Folder,
    guest::Guest,
    server::{Launch, Outcome},
};

fn at(store: &str) -> Launch {
    Launch::chat().set("STORE", store)
}

fn succeeded(outcome: &Outcome) -> &str {
    assert!(outcome.status.success(), "{}", outcome.stderr);
    &outcome.stderr
}

#[test]
fn a_running_server_is_exported_and_another_store_goes_on_with_it() {
    let folder = Folder::new();
    let [from, to] =
        ["from.db", "to.db"].map(|name| format!("sqlite:{}", folder.path().join(name).display()));
    let file = folder.path().join("chat.jsonl");
    let file = file.to_str().unwrap();
    let server = at(&from).start();
    let (mut ann, _) = Guest::enter(&server);
    for text in ["one", "two \u{0} \"🔥\"", "three"] {
        ann.posts(text);
    }
    ann.likes(&1.into());
    succeeded(&at(&from).arguments(&["--export", file]).run());
    // what is in the file is what clients get
    let lines: Vec<serde_json::Value> =
        fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, ann.history());
    let said = at(&to).arguments(&["--import", file]).run();
    assert!(succeeded(&said).contains("event=imported messages=3"), "{}", said.stderr);
    let server = at(&to).start();
    let (mut bob, history) = Guest::enter(&server);
    assert_eq!((history, bob.posts("four")["id"].as_u64()), (lines, Some(4)));
}

#[test]
fn what_cannot_be_exported_or_imported_is_an_error_that_says_why() {
    let folder = Folder::new();
    folder.write("bad.jsonl", "{\"id\": 1}\n");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let store = format!("sqlite:{}", path("chat.db"));
    for (store, arguments, why) in [
        (&*store, ["--export", "-"], "chat.db"),
        (&*store, ["--import", &path("bad.jsonl")], "line 1: missing field `content`"),
        (&*store, ["--import", &path("none.jsonl")], "none.jsonl"),
        ("memory", ["--import", &path("bad.jsonl")], "--store"),
    ] {
        let refused = at(store).arguments(&arguments).run();
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        assert!(refused.stderr.contains(why), "{}", refused.stderr);
    }
    let running = at(&store).start();
    let refused = at(&store).arguments(&["--export", &path("chat.db")]).run();
    assert!(refused.stderr.contains("is the store itself"), "{}", refused.stderr);
    let refused = at(&store).arguments(&["--import", &path("bad.jsonl")]).run();
    assert!(refused.stderr.contains("another server has it open"), "{}", refused.stderr);
    drop(running);
}
