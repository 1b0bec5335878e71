//! What a file adds to what every log does: it stays, it can be locked or full, and belongs to one server.

use std::{fs, path::Path, sync::mpsc, thread, time::Duration};

use hinotori::recovery::Cursor;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::{
    super::{
        super::{history::History, message::Draft},
        Claim, Committed, LogError, Report,
        queue::{MOST, MOST_BYTES},
        suite::{self, Folder, LIMIT, Lobby, meters, until},
    },
    *,
};

fn connect(file: &Path) -> Box<dyn MessageLog> {
    Box::new(Sqlite::connect(file, Synchronous::Full, Keep::All, meters()).unwrap())
}

fn open(file: &Path) -> Lobby {
    Lobby::open(connect(file), LIMIT)
}

fn keeping(file: &Path, keep: Keep, limit: Limit) -> Lobby {
    Lobby::open(Box::new(Sqlite::connect(file, Synchronous::Full, keep, meters()).unwrap()), limit)
}

fn refusal(file: &Path) -> String {
    Sqlite::connect(file, Synchronous::Full, Keep::All, meters()).unwrap_err().to_string()
}

/// What another process reads or writes.
fn other(file: &Path) -> Connection {
    Connection::open(file).unwrap()
}

fn stored(file: &Path) -> Vec<i64> {
    let other = other(file);
    let mut select = other.prepare("SELECT id FROM messages ORDER BY id").unwrap();
    select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn history(lobby: &mut Lobby) -> Vec<Value> {
    let history: Value = lobby.history.load().parse().unwrap();
    history["messages"].as_array().unwrap().clone()
}

#[test]
fn it_does_what_every_log_must() {
    let folders = std::cell::RefCell::new(Vec::new());
    let make = || {
        let folder = Folder::new();
        let log = connect(&folder.file());
        folders.borrow_mut().push(folder);
        log
    };
    suite::all(make);
    suite::on_disk(make);
}

#[test]
fn what_was_committed_is_there_after_a_restart_byte_for_byte_and_ids_go_on() {
    let folder = Folder::new();
    let mut lobby = open(&folder.file());
    for n in 1..=12 {
        lobby.post(&format!("message {n} \u{0}🔥"), (n > 1).then_some(n - 1));
    }
    lobby.like(12);
    lobby.like(12);
    lobby.like(5);
    let before = lobby.history.load();
    drop(lobby);
    let mut lobby = open(&folder.file());
    assert_eq!(lobby.history.load(), before);
    assert_eq!(lobby.like(12), Some(3));
    assert_eq!(lobby.post("next", None)["id"], 13);
}

/// A database as the first version of the tables made it.
#[test]
fn what_an_older_version_wrote_is_there_and_can_be_gone_on_with() {
    let folder = Folder::new();
    let old = other(&folder.file());
    old.execute_batch(include_str!("schema_1.sql")).unwrap();
    old.execute_batch(
        r#"PRAGMA user_version = 1;
        INSERT INTO topics VALUES ('chat:lobby', 2, 1, 9223372036854775807);
        INSERT INTO messages VALUES
            ('chat:lobby', 1, '{"id":1,"content":"a","reply_to_id":null,"reply_to_content":null,"timestamp":"T"}', 1, 1, 5),
            ('chat:lobby', 2, '{"id":2,"content":"b","reply_to_id":1,"reply_to_content":"a","timestamp":"T"}', 0, 1, 6);"#,
    )
    .unwrap();
    drop(old);
    let mut lobby = open(&folder.file());
    let old = history(&mut lobby);
    assert_eq!((&old[0]["likes"], &old[1]["reply_to_content"]), (&json!(1), &json!("a")));
    assert_eq!((lobby.like(1), lobby.post("c", Some(2))["id"].clone()), (Some(2), json!(3)));
    let epoch = lobby.epoch;
    drop(lobby);
    assert_eq!(open(&folder.file()).epoch, epoch);
}

#[test]
fn what_the_history_no_longer_has_can_still_be_quoted_and_liked() {
    let folder = Folder::new();
    let mut lobby = open(&folder.file());
    for n in 1..=20 {
        lobby.post(&n.to_string(), None);
    }
    assert_eq!(lobby.history.get(2), None);
    assert_eq!(lobby.post("late", Some(2))["reply_to_content"], "2");
    assert_eq!((lobby.like(2), lobby.like(2)), (Some(1), Some(2)));
}

#[test]
fn a_second_server_is_refused_until_the_first_is_gone_and_readers_are_not() {
    let folder = Folder::new();
    let mut lobby = open(&folder.file());
    lobby.post("x", None);
    let why = refusal(&folder.file());
    assert!(why.contains("chat.db") && why.contains("another server has it open"), "{why}");
    assert_eq!(stored(&folder.file()), [1]);
    for link in ["link.db", "folder"] {
        let link = folder.file().with_file_name(link);
        let of_folder = link.extension().is_none();
        std::os::unix::fs::symlink(
            if of_folder { folder.file().parent().unwrap().into() } else { folder.file() },
            &link,
        )
        .unwrap();
        let why = refusal(&if of_folder { link.join("chat.db") } else { link });
        assert!(why.contains("another server has it open"), "{why}");
    }
    drop(lobby);
    assert_eq!(open(&folder.file()).history.messages(), 1);
}

#[test]
fn a_file_of_something_else_or_of_a_newer_version_is_refused_and_left_as_it_was() {
    let folder = Folder::new();
    let file = folder.file();
    let refused = |parts: &[&str]| {
        let before = fs::read(&file).unwrap();
        let why = refusal(&file);
        assert!(parts.iter().all(|part| why.contains(part)), "{why}");
        assert_eq!(fs::read(&file).unwrap(), before);
        fs::remove_file(&file).unwrap();
    };
    fs::write(
        &file,
        "a text, and not a short one: longer than the header of a database, which has a hundred bytes",
    )
    .unwrap();
    refused(&["chat.db", "not a database"]);
    other(&file).execute_batch("CREATE TABLE songs (name TEXT)").unwrap();
    refused(&["not one of this program"]);
    other(&file).execute_batch("CREATE TABLE songs (name TEXT); PRAGMA user_version = 1").unwrap();
    refused(&["not one of this program"]);
    drop(open(&file));
    other(&file).execute_batch("PRAGMA journal_mode = delete; PRAGMA user_version = 7").unwrap();
    refused(&["version 7", "up to 2"]);
    let nowhere = folder.file().join("no/such/folder/chat.db");
    let why = refusal(&nowhere);
    assert!(why.contains("no/such/folder"), "{why}");
}

#[test]
fn one_who_gives_up_first_is_not_carried_out_and_one_who_is_late_waits() {
    let folder = Folder::new();
    let mut lobby = open(&folder.file());
    lobby.post("first", None);
    let other = other(&folder.file());
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let claims: Vec<_> = (0..3)
        .map(|n| {
            let command = lobby.draft(&format!("waits {n}"), None);
            let (claim, waits, done) = lobby.done();
            assert!(lobby.log.submit(command, done).unwrap().is_none());
            (claim, waits)
        })
        .collect();
    // the writer has taken none of them, as long as the database is locked
    assert!(claims[1].0.take());
    other.execute_batch("ROLLBACK").unwrap();
    for (id, content) in [(2, "waits 0"), (3, "waits 2")] {
        let Committed::Posted(message) = lobby.settled().unwrap() else { panic!("not posted") };
        assert_eq!(
            (&suite::value(&message)["id"], &suite::value(&message)["content"]),
            (&json!(id), &json!(content))
        );
    }
    assert!(!claims[0].0.take() && !claims[2].0.take());
    assert_eq!(stored(&folder.file()), [1, 2, 3]);
}

#[test]
fn the_queue_has_bounds_in_commands_and_in_bytes_and_takes_more_once_it_is_written() {
    for (content, most) in [("x".to_owned(), MOST), ("x".repeat(1 << 20), MOST_BYTES >> 20)] {
        let folder = Folder::new();
        let mut lobby = open(&folder.file());
        let other = other(&folder.file());
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut taken = 0;
        let mut waiting = Vec::new();
        loop {
            let command = lobby.draft(&content, None);
            let (_, waits, done) = lobby.done();
            waiting.push(waits);
            match lobby.log.submit(command, done) {
                Ok(_) => taken += 1,
                Err(Busy) => break,
            }
            assert!(taken <= most, "no bound");
        }
        assert_eq!(taken, most);
        other.execute_batch("ROLLBACK").unwrap();
        for _ in 0..taken {
            lobby.settled().unwrap();
        }
        assert_eq!(lobby.post("more", None)["id"], most + 1);
    }
}

#[test]
fn a_full_disk_is_an_error_keeps_nothing_and_is_over_when_there_is_space() {
    let folder = Folder::new();
    let meters = meters();
    let sqlite = Sqlite::connect(&folder.file(), Synchronous::Full, Keep::All, meters.clone()).unwrap();
    let database = sqlite.database.as_ref().unwrap();
    let pages: i64 = database.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    // as SQLite says it of a disk: SQLITE_FULL
    database.connection.pragma_update_and_check(None, "max_page_count", pages + 8, |_| Ok(())).unwrap();
    let mut lobby = Lobby::open(Box::new(sqlite), LIMIT);
    lobby.post("fits", None);
    let big = "x".repeat(100_000);
    let failed = |lobby: &mut Lobby| {
        let command = lobby.draft(&big, None);
        let (_, _waits, done) = lobby.done();
        lobby.log.submit(command, done).unwrap();
        lobby.settled()
    };
    for _ in 0..2 {
        let Err(LogError::Sqlite(error)) = failed(&mut lobby) else { panic!("it fits") };
        assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
    }
    // without another post: it tries by itself
    while meters.is_up() {
        failed(&mut lobby).unwrap_err();
    }
    until("up again", || meters.is_up());
    assert_eq!(stored(&folder.file()), [1]);
    // what is small has space, and its id is the next
    assert_eq!(lobby.post("small", None)["id"], 2);
    assert_eq!(history(&mut lobby).len(), 2);
}

#[test]
fn a_commit_syncs_unless_the_settings_say_otherwise() {
    for (synchronous, level) in [(Synchronous::Full, 2), (Synchronous::Normal, 1)] {
        let folder = Folder::new();
        let sqlite = Sqlite::connect(&folder.file(), synchronous, Keep::All, meters()).unwrap();
        let database = sqlite.database.as_ref().unwrap();
        let found: i64 =
            database.connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!(found, level);
    }
}

#[test]
fn closing_writes_what_waits_and_takes_no_more() {
    let folder = Folder::new();
    let mut lobby = open(&folder.file());
    let other = other(&folder.file());
    for n in 0..600 {
        let command = lobby.draft(&n.to_string(), None);
        let (_, _waits, done) = lobby.done();
        lobby.log.submit(command, done).unwrap();
    }
    lobby.log.close();
    assert_eq!(stored(&folder.file()).len(), 600);
    let command = lobby.draft("late", None);
    let (_, _waits, done) = lobby.done();
    assert_eq!(lobby.log.submit(command, done).unwrap_err(), Busy);
    drop(other);
    // a file that was closed is whole without its log
    fs::copy(folder.file(), folder.file().with_extension("copy")).unwrap();
    assert_eq!(stored(&folder.file().with_extension("copy")).len(), 600);
}

#[test]
fn a_server_that_goes_down_does_not_wait_for_who_holds_the_database_locked() {
    let folder = Folder::new();
    let mut lobby = open(&folder.file());
    let other = other(&folder.file());
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let command = lobby.draft("waits", None);
    let (_, _waits, done) = lobby.done();
    lobby.log.submit(command, done).unwrap();
    lobby.log.close();
    assert!(lobby.settled().is_err());
    other.execute_batch("ROLLBACK").unwrap();
    assert!(stored(&folder.file()).is_empty());
}

#[test]
fn only_so_many_messages_are_kept_and_none_of_the_younger_ones_goes() {
    let folder = Folder::new();
    let mut lobby = open(&folder.file());
    for _ in 0..3_000 {
        let command = lobby.draft("x", None);
        let (_, _waits, done) = lobby.done();
        lobby.log.submit(command, done).unwrap();
    }
    drop(lobby);
    let mut lobby = keeping(&folder.file(), Keep::Messages(5), LIMIT);
    assert_eq!(lobby.history.messages(), 5, "no more than is kept");
    // what is too many goes in parts, between posts
    until("deleted", || stored(&folder.file()) == (2_996..=3_000).collect::<Vec<_>>());
    assert_eq!(lobby.post("next", None)["id"], 3_001);
    assert_eq!(lobby.like(1), None);
}

/// What SQLite's log takes on the disk.
fn log_size(file: &Path) -> u64 {
    fs::metadata(file.with_extension("db-wal")).map_or(0, |log| log.len())
}

#[test]
fn the_log_is_used_again_after_a_restart() {
    let folder = Folder::new();
    let mut sizes = Vec::new();
    for _ in 0..6 {
        let mut lobby = open(&folder.file());
        for n in 0..60 {
            lobby.post(&n.to_string(), None);
        }
        // as a server that was killed leaves it
        let copy = Folder::new();
        for extension in ["db", "db-wal"] {
            let file = folder.file().with_extension(extension);
            fs::copy(&file, copy.file().with_extension(extension)).unwrap();
        }
        drop(lobby);
        for extension in ["db", "db-wal"] {
            let file = folder.file().with_extension(extension);
            fs::copy(copy.file().with_extension(extension), &file).unwrap();
        }
        let _ = fs::remove_file(folder.file().with_extension("db-shm"));
        sizes.push(log_size(&folder.file()));
    }
    assert_eq!(stored(&folder.file()).len(), 360);
    assert!(sizes[5] < 2 * sizes[1], "{sizes:?}");
}

#[test]
fn deleting_does_not_grow_the_log_without_end() {
    let folder = Folder::new();
    let mut lobby = open(&folder.file());
    let content = "x".repeat(3_000);
    for _ in 0..12_000 {
        while lobby.log.submit(lobby.draft(&content, None), lobby.done().2).is_err() {
            lobby.settled().unwrap();
        }
    }
    drop(lobby);
    let before = log_size(&folder.file());
    let mut lobby = keeping(&folder.file(), Keep::Messages(1), LIMIT);
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while stored(&folder.file()).len() > 1 {
        assert!(std::time::Instant::now() < until, "not deleted");
        thread::yield_now();
    }
    lobby.post("next", None);
    let after = log_size(&folder.file());
    assert!(after < before + (16 << 20), "{before} {after}");
}

#[test]
fn nothing_is_written_after_messages_that_are_not_those_that_the_server_left() {
    let folder = Folder::new();
    let mut lobby = open(&folder.file());
    lobby.post("one", None);
    for (n, column) in (2..).zip(["last_id", "last_rev", "epoch"]) {
        let change = |by: i64| {
            let sql = format!("UPDATE topics SET {column} = {column} + ?1");
            assert_eq!(other(&folder.file()).execute(&sql, [by]).unwrap(), 1);
        };
        change(1);
        let command = lobby.draft("refused", None);
        let (_, _waits, done) = lobby.done();
        lobby.log.submit(command, done).unwrap();
        assert!(matches!(lobby.settled(), Err(LogError::Replaced)), "{column}");
        change(-1);
        assert_eq!(lobby.post("goes on", None)["id"], n);
    }
}

#[test]
fn one_message_that_cannot_be_read_fails_no_other() {
    let folder = Folder::new();
    let mut lobby = open(&folder.file());
    lobby.post("damaged", None);
    other(&folder.file()).execute("UPDATE messages SET body = 'oops'", []).unwrap();
    let commands = [
        Command::Like { id: 1, known: None },
        lobby.draft("fine", None),
        Command::Post { draft: Draft::new("a reply", Some(1), None).unwrap(), quote: None },
    ];
    for command in commands {
        let (_, _waits, done) = lobby.done();
        lobby.log.submit(command, done).unwrap();
    }
    assert_eq!(lobby.settled().unwrap(), Committed::NotFound);
    for id in [2, 3] {
        let Committed::Posted(message) = lobby.settled().unwrap() else { panic!("not posted") };
        assert_eq!(message.id(), id);
    }
}

#[test]
fn messages_that_are_damaged_are_passed_over_by_all_but_an_export_and_the_server_starts() {
    let folder = Folder::new();
    suite::damaged_ones(connect(&folder.file()), |ids| {
        let damage = format!("UPDATE messages SET body = 'oops' WHERE id IN ({ids})");
        other(&folder.file()).execute(&damage, []).unwrap();
    });
    let mut log = connect(&folder.file());
    let snapshot = log.open(LIMIT, Arc::new(|_| ())).unwrap();
    assert_eq!((snapshot.newest.len(), snapshot.last_id), (3, 6));
    let mut history = History::new(LIMIT, snapshot).unwrap();
    assert_eq!(history.since(Cursor::new(0, None)).unwrap().last_id(), 6);
}

#[test]
fn a_link_to_no_file_yet_has_the_lock_of_the_file() {
    let folder = Folder::new();
    let link = folder.file().with_file_name("link.db");
    std::os::unix::fs::symlink(folder.file(), &link).unwrap();
    let _first = open(&link);
    let why = refusal(&folder.file());
    assert!(why.contains("another server has it open"), "{why}");
}

#[test]
fn a_panic_while_it_deletes_costs_no_post() {
    let folder = Folder::new();
    let (sender, settled) = mpsc::channel();
    let sink: Sink = Arc::new(move |report| match report {
        Report::Forgotten(_) | Report::Replaced(_) => panic!("told to"),
        Report::Settled(batch) => batch.into_iter().for_each(|settled| _ = sender.send(settled.outcome)),
    });
    let mut log = Sqlite::connect(&folder.file(), Synchronous::Full, Keep::Messages(1), meters()).unwrap();
    log.open(LIMIT, sink).unwrap();
    for n in 1..=600 {
        let draft = Draft::new("x", None, None).unwrap();
        let done = Done::new(Claim::default(), tokio::sync::oneshot::channel().0);
        log.submit(Command::Post { draft, quote: None }, done).unwrap();
        let posted = settled.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
        assert!(matches!(&posted, Committed::Posted(message) if message.id() == n), "{posted:?}");
    }
    assert!(stored(&folder.file()).len() < 600, "nothing was deleted");
}

#[test]
fn what_is_too_old_is_not_loaded_and_then_deleted() {
    let folder = Folder::new();
    let mut lobby = open(&folder.file());
    for n in 1..=5 {
        lobby.post(&n.to_string(), None);
    }
    drop(lobby);
    let two_hours = 7_200_000_000_i64;
    other(&folder.file())
        .execute("UPDATE messages SET created_at = created_at - ?1 WHERE id < 4", [two_hours])
        .unwrap();
    let mut lobby = keeping(&folder.file(), Keep::Age(std::time::Duration::from_secs(3_600)), LIMIT);
    assert_eq!(history(&mut lobby).iter().map(|message| message["id"].clone()).collect::<Vec<_>>(), [4, 5]);
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while stored(&folder.file()) != [4, 5] {
        assert!(std::time::Instant::now() < until, "{:?}", stored(&folder.file()));
        thread::yield_now();
    }
}

#[test]
fn a_backup_that_is_made_meanwhile_has_what_was_committed_before_it() {
    let folder = Folder::new();
    let mut lobby = open(&folder.file());
    for n in 1..=50 {
        lobby.post(&n.to_string(), None);
    }
    let (sender, ready) = mpsc::channel();
    let (file, copy) = (folder.file(), folder.file().with_extension("backup"));
    let backup = thread::spawn(move || {
        let other = other(&file);
        sender.send(()).unwrap();
        other.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
        copy
    });
    ready.recv().unwrap();
    for n in 51..=100 {
        lobby.post(&n.to_string(), None);
    }
    let copy = backup.join().unwrap();
    let mut restored = open(&copy);
    let ids = stored(&copy);
    assert!(ids.len() >= 50 && ids == (1..=ids.len() as i64).collect::<Vec<_>>(), "{ids:?}");
    assert_eq!(restored.post("goes on", None)["id"], ids.len() + 1);
}
