//! The chat's store on disk: what was seen stays, whatever happens to the server or its disk.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::{
    PATIENCE,
    chance::amount,
    checker::Outcome,
    folder::Folder,
    guest::{Guest, LOBBY, ids},
    metrics::comes_to,
    ordeal::Ordeal,
    server::{Launch, Server},
    small_disk::SmallDisk,
};

/// A database file that does not exist yet.
struct Database {
    folder: Folder,
}

impl Database {
    fn new() -> Self {
        Self { folder: Folder::new() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("chat.db")
    }

    fn launch(&self) -> Launch {
        Launch::chat().set("STORE", format!("sqlite:{}", self.file().display()))
    }

    fn start(&self) -> Server {
        self.launch().start()
    }

    /// As another process would read and lock it.
    fn other(&self) -> Connection {
        Connection::open(self.file()).unwrap()
    }
}

/// What a server of this file has.
fn stored(database: &Database) -> Vec<Value> {
    Guest::enter(&database.start()).1
}

#[test]
fn a_restart_keeps_messages_replies_and_likes_and_ids_go_on() {
    let database = Database::new();
    let mut server = database.start();
    let (mut ann, history) = Guest::enter(&server);
    assert!(history.is_empty());
    ann.posts("hello \u{0} \"🔥\"");
    ann.push("new_message", &json!({"message": "a reply", "reply_to": 1}));
    ann.hears("new_message");
    ann.likes(&json!(1));
    ann.likes(&json!(1));
    let before = ann.history();
    server.signal("TERM");
    assert!(server.wait_exit(PATIENCE).success(), "{}", server.log());
    let server = database.launch().set("HISTORY_LIMIT", 1).start();
    let (mut bob, history) = Guest::enter(&server);
    assert_eq!(history, before[1..], "the newest alone");
    server.log_line(|line| line.contains("event=store_opened") && line.ends_with("messages=1 last_id=2"));
    // what is not in memory can be liked and quoted
    assert_eq!(bob.likes(&json!(1))["likes"], 3);
    bob.push("new_message", &json!({"message": "late", "reply_to": 1}));
    let late = bob.hears("new_message");
    assert_eq!((&late["id"], &late["reply_to_content"]), (&json!(3), &json!("hello \u{0} \"🔥\"")));
}

#[test]
fn kill_9_under_load_loses_nothing_that_anyone_saw() {
    let database = Database::new();
    let mut ordeal = Ordeal::new(|| database.launch());
    for round in 0..amount("CHAOS_KILLS", 3) {
        ordeal.round(|server, watcher| {
            // a different moment of the group commit each time
            watcher.sees(150 + 37 * (round % 20) as usize);
            server.signal("KILL");
        });
    }
}

#[test]
#[should_panic(expected = "Lost")]
fn the_check_finds_what_a_store_in_memory_loses() {
    Ordeal::new(Launch::chat).round(|server, watcher| {
        watcher.sees(10);
        server.signal("KILL");
    });
}

#[test]
fn a_server_that_is_stopped_under_load_for_longer_than_a_post_may_wait_agrees_with_its_clients() {
    let database = Database::new();
    let mut ordeal = Ordeal::new(|| database.launch());
    ordeal.round(|server, watcher| {
        watcher.sees(100);
        server.signal("STOP");
        // longer than the 5 s that a post may wait
        thread::sleep(Duration::from_secs(6));
        server.signal("CONT");
        watcher.sees(100);
    });
}

#[test]
fn a_disk_that_is_full_under_load_refuses_posts_until_there_is_space_and_loses_none() {
    let Some(disk) = SmallDisk::mount(24) else { return };
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![0; 23 << 20]).unwrap();
    let store = format!("sqlite:{}", disk.path().join("chat.db").display());
    let mut ordeal = Ordeal::new(|| Launch::chat().set("STORE", &store));
    ordeal.round(|server, _| {
        comes_to(server, "realtime_chat_store_up", 0.0);
        fs::remove_file(&ballast).unwrap();
        comes_to(server, "realtime_chat_store_up", 1.0);
    });
    let refused = ordeal.posts(|outcome| outcome == Outcome::Refused);
    assert!(refused > 0);
    // killed while nothing can be written
    ordeal.round(|server, _| {
        fs::write(&ballast, vec![0; 24 << 20]).unwrap_err();
        comes_to(server, "realtime_chat_store_up", 0.0);
        server.signal("KILL");
        fs::remove_file(&ballast).unwrap();
    });
    assert!(ordeal.posts(|outcome| outcome == Outcome::Refused) > refused);
}

#[test]
fn a_second_server_on_the_same_file_is_refused_and_the_first_goes_on() {
    let database = Database::new();
    let server = database.start();
    let (mut ann, _) = Guest::enter(&server);
    let second = database.launch().run();
    assert_eq!(second.status.code(), Some(1));
    for part in ["error: cannot open the store", "chat.db", "another server has it open"] {
        assert!(second.stderr.contains(part), "{}", second.stderr);
    }
    assert_eq!(ann.posts("still here")["id"], 1);
}

#[test]
fn a_file_that_is_no_database_and_one_in_no_folder_stop_the_start_and_are_named() {
    let database = Database::new();
    database.folder.write("chat.db", &"not a database\n".repeat(100));
    let refused = database.launch().run();
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("chat.db: file is not a database"), "{}", refused.stderr);
    let refused = Launch::chat().set("STORE", "sqlite:/no/such/folder/chat.db").run();
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("/no/such/folder/chat.db"), "{}", refused.stderr);
}

#[test]
fn settings_of_the_store_that_cannot_be_are_refused_and_say_what_can_be() {
    for (flag, value, part) in [
        ("--store", "chat.db", "sqlite:chat.db"),
        ("--store", "sqlite:", "sqlite:chat.db"),
        ("--keep", "0", "30d"),
        ("--keep", "forever", "30d"),
    ] {
        let refused = Launch::chat().arguments(&[flag, value]).run();
        assert_eq!(refused.status.code(), Some(2));
        assert!(refused.stderr.contains(flag) && refused.stderr.contains(part), "{}", refused.stderr);
    }
    let refused = Launch::chat().set("KEEP", "30d").run();
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("--keep") && refused.stderr.contains("--store"), "{}", refused.stderr);
}

#[test]
fn only_what_is_to_be_kept_is_there_after_a_restart() {
    let database = Database::new();
    let server = database.start();
    let (mut ann, _) = Guest::enter(&server);
    for n in 1..=8 {
        ann.posts(&n.to_string());
    }
    drop(server);
    let server = database.launch().set("KEEP", 3).start();
    let (mut bob, history) = Guest::enter(&server);
    assert_eq!(ids(&history), [6, 7, 8]);
    let until = Instant::now() + PATIENCE;
    let count = || {
        database.other().query_row("SELECT count(*) FROM messages", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    while count() > 3 {
        assert!(Instant::now() < until, "{} messages", count());
        thread::yield_now();
    }
    assert_eq!(bob.posts("next")["id"], 9);
}

#[test]
fn while_the_database_is_locked_a_post_gets_one_error_and_is_never_stored() {
    let database = Database::new();
    let server = database.start();
    let (mut ann, _) = Guest::enter(&server);
    ann.posts("before");
    let other = database.other();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    ann.is_refused("new_message", &json!({ "message": "during" }), "message store unavailable");
    comes_to(&server, "realtime_chat_store_up", 0.0);
    server.log_line(|line| line.contains("event=store_failed what=write"));
    // what is in memory is still served
    assert_eq!(ids(&ann.history()), [1]);
    // one that waits when the lock is gone is carried out
    ann.push("new_message", &json!({ "message": "after" }));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(ann.hears("new_message")["id"], 2);
    server.log_line(|line| line.contains("event=store_recovered"));
    comes_to(&server, "realtime_chat_store_up", 1.0);
    ann.client.beat();
    drop(server);
    assert_eq!(stored(&database).last().unwrap()["content"], "after");
}

#[test]
fn a_full_disk_is_an_error_reply_and_posting_goes_on_when_there_is_space() {
    let database = Database::new();
    // 1 MB a file, as a disk would refuse it: the write fails
    let server = database.launch().file_size(1_000_000).start();
    let (mut ann, _) = Guest::enter(&server);
    let content = "x".repeat(4_000);
    let reply = json!({"status": "error", "response": {"reason": "message store unavailable"}});
    let (mut acknowledged, mut refused) = (0, 0);
    // after the first refusal, the log is moved into the file and written over, until that is full as well
    while refused < 2 {
        let reference = ann.push("new_message", &json!({ "message": content }));
        let answer = ann.client.message();
        if answer[3] == "phx_reply" {
            assert_eq!(answer, json!(["1", reference, LOBBY, "phx_reply", reply]));
            refused += 1;
            continue;
        }
        (acknowledged, refused) = (acknowledged + 1, 0);
        assert_eq!(answer[4]["message"]["id"], acknowledged);
        assert!(acknowledged < 1_000, "there is no limit");
    }
    server.log_line(|line| line.contains("event=store_failed what=write"));
    assert_eq!(ann.history().len(), acknowledged);
    server.grant_file_size();
    assert_eq!(ann.posts("there is space")["id"], acknowledged + 1);
    assert_eq!(ann.likes(&json!(1))["likes"], 1);
    drop(server);
    assert_eq!(ids(&stored(&database)), (1..=acknowledged as u64 + 1).collect::<Vec<_>>());
}

#[test]
fn a_backup_of_a_running_server_starts_a_server_with_what_it_had() {
    let database = Database::new();
    let server = database.start();
    let (mut ann, _) = Guest::enter(&server);
    for n in 1..=50 {
        ann.posts(&n.to_string());
    }
    let history = ann.history();
    for (name, statement) in [("backup.db", ".backup 'backup.db'"), ("vacuum.db", "VACUUM INTO 'vacuum.db'")]
    {
        let made = Command::new("sqlite3")
            .current_dir(database.folder.path())
            .args(["chat.db", statement])
            .status()
            .unwrap_or_else(|error| panic!("cannot run sqlite3: {error}; `make test` installs it"));
        assert!(made.success(), "{statement}");
        let copy = format!("sqlite:{}", database.folder.path().join(name).display());
        let restored = Launch::chat().set("STORE", copy).start();
        let (mut bob, restored_history) = Guest::enter(&restored);
        assert_eq!(restored_history, history, "{statement}");
        assert_eq!(bob.posts("goes on")["id"], 51);
    }
    assert_eq!(ann.posts("here too")["id"], 51);
}
