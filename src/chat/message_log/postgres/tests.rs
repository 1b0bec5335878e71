//! What a database adds to what every log does: it stays, it can be away, and belongs to one server.

#[path = "../../../../tests/it/instance.rs"]
mod instance;
mod nodes;
mod wire;

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    super::{
        super::{message::Draft, transfer},
        Committed, LogError,
        suite::{self, LIMIT, Lobby, meters, until, wait},
    },
    *,
};
use instance::{Database, Instance, PASSWORD};
use wire::Wire;

/// Far above what a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(30);

fn log(address: &str, keep: Keep) -> Box<dyn MessageLog> {
    Box::new(Postgres::new(&Dsn::new(address), Sharing::Alone, keep, meters()).unwrap())
}

fn open(database: &Database) -> Lobby {
    Lobby::open(log(&database.address(), Keep::All), LIMIT)
}

fn refusal(address: &str) -> String {
    let error = log(address, Keep::All).open(LIMIT, Arc::new(|_| ())).unwrap_err().to_string();
    assert!(!error.contains(PASSWORD), "{error}");
    error
}

fn stored(database: &Database) -> Vec<u64> {
    database.sql("SELECT id FROM messages ORDER BY id").lines().map(|id| id.parse().unwrap()).collect()
}

/// Hands posts in, and waits for none of them.
fn submit(lobby: &mut Lobby, contents: impl Iterator<Item = String>) {
    for content in contents {
        let command = lobby.draft(&content, None);
        let (_, _waits, done) = lobby.done();
        assert!(lobby.log.submit(command, done).unwrap().is_none());
    }
}

fn posted(committed: Result<Committed, LogError>) -> u64 {
    match committed {
        Ok(Committed::Posted(message)) => message.id(),
        outcome => panic!("not posted: {outcome:?}"),
    }
}

fn history(lobby: &mut Lobby) -> Vec<Value> {
    let history: Value = lobby.history.load().parse().unwrap();
    history["messages"].as_array().unwrap().clone()
}

#[test]
fn it_does_what_every_log_must() {
    let make = || log(&Instance::shared().database().address(), Keep::All);
    suite::all(make);
    suite::on_disk(make);
}

#[test]
fn what_was_committed_is_there_after_a_restart_byte_for_byte_and_ids_and_the_epoch_go_on() {
    let database = Instance::shared().database();
    let mut lobby = open(&database);
    for n in 1..=12 {
        lobby.post(&format!("message {n} \u{0}🔥"), (n > 1).then_some(n - 1));
    }
    lobby.like(12);
    lobby.like(12);
    lobby.like(5);
    let before = (lobby.history.load(), lobby.epoch);
    drop(lobby);
    let mut lobby = open(&database);
    assert_eq!((lobby.history.load(), lobby.epoch), before);
    assert_eq!(lobby.like(12), Some(3));
    assert_eq!(lobby.post("next", None)["id"], 13);
}

#[test]
fn a_nonce_is_that_of_one_message_after_a_restart_too_and_may_have_any_characters() {
    let database = Instance::shared().database();
    let post = |lobby: &mut Lobby| {
        let draft = Draft::new("x", None, Some("a\u{0}🔥".to_owned())).unwrap();
        lobby.run(Command::Post { draft, quote: None })
    };
    let mut lobby = open(&database);
    assert!(matches!(post(&mut lobby), Committed::Posted(_)));
    drop(lobby);
    assert_eq!(post(&mut open(&database)), Committed::Repeated(1));
}

#[test]
fn messages_that_are_damaged_are_passed_over_by_all_but_an_export_and_the_server_starts() {
    let database = Instance::shared().database();
    suite::damaged_ones(log(&database.address(), Keep::All), |ids| {
        database.sql(&format!("UPDATE messages SET body = 'oops' WHERE id IN ({ids})"));
    });
    let mut log = log(&database.address(), Keep::All);
    let snapshot = log.open(LIMIT, Arc::new(|_| ())).unwrap();
    assert_eq!((snapshot.newest.len(), snapshot.last_id), (3, 6));
}

#[test]
fn what_the_history_no_longer_has_can_still_be_quoted_and_liked() {
    let database = Instance::shared().database();
    let mut lobby = open(&database);
    for n in 1..=20 {
        lobby.post(&n.to_string(), None);
    }
    assert_eq!(lobby.history.get(2), None);
    assert_eq!(lobby.post("late", Some(2))["reply_to_content"], "2");
    assert_eq!((lobby.like(2), lobby.like(2)), (Some(1), Some(2)));
}

#[test]
fn a_second_server_is_refused_until_the_first_is_gone_but_may_have_a_schema_of_its_own() {
    let database = Instance::shared().database();
    let mut lobby = open(&database);
    lobby.post("x", None);
    let why = refusal(&database.address());
    assert!(why.contains(&database.name) && why.contains("another server has these messages open"), "{why}");
    database.sql("CREATE SCHEMA other");
    let other = format!("{}?options=-csearch_path%3Dother,public", database.address());
    let mut other = Lobby::open(log(&other, Keep::All), LIMIT);
    assert_eq!((other.post("y", None)["id"].clone(), other.history.messages()), (json!(1), 1));
    assert_eq!(lobby.post("z", None)["id"], 2);
    drop(lobby);
    assert_eq!(open(&database).history.messages(), 2);
}

#[test]
fn tables_of_something_else_or_of_a_newer_version_are_refused_and_left_as_they_were() {
    let database = Instance::shared().database();
    database.sql("CREATE TABLE messages (text TEXT)");
    assert!(refusal(&database.address()).contains("not those of this program"));
    assert_eq!(database.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "1");
    database.sql("DROP TABLE messages");
    drop(open(&database));
    database.sql("UPDATE schema_version SET version = 7");
    let why = refusal(&database.address());
    assert!(why.contains("version 7") && why.contains("up to 1"), "{why}");
}

#[test]
fn what_cannot_be_helped_by_waiting_is_refused_at_once() {
    let database = Instance::shared().database();
    let instance = database.instance;
    instance.sql("postgres", &format!("CREATE ROLE poor_{0} LOGIN PASSWORD '{PASSWORD}'", database.name));
    let start = Instant::now();
    for (address, part) in [
        (instance.address("postgres", "wrong", &database.name), "password authentication failed"),
        (instance.address("nobody_of_that_name", PASSWORD, &database.name), "password authentication failed"),
        (instance.address("postgres", PASSWORD, "no_such_database"), "does not exist"),
        (instance.address(&format!("poor_{}", database.name), PASSWORD, &database.name), "permission denied"),
        (database.address() + "?sslmode=require", "TLS"),
    ] {
        let why = refusal(&address);
        assert!(why.contains(part) && why.contains("127.0.0.1") && !why.contains("wrong"), "{why}");
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

/// Lets commits wait for [`let_commit`].
fn hold_commits(database: &Database) {
    database.sql(
        "CREATE TABLE gate (is_open BOOLEAN);
         CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             WHILE NOT EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.005); END LOOP;
             RETURN NULL;
         END $$;
         CREATE CONSTRAINT TRIGGER pass AFTER INSERT ON messages DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW EXECUTE FUNCTION pass()",
    );
}

fn let_commit(database: &Database) {
    database.sql("INSERT INTO gate VALUES (true)");
}

/// Waits until a commit is held.
fn commits(database: &Database) {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND state = 'active' AND query = 'COMMIT'",
        database.name
    );
    until("committing", || database.sql(&sql) == "1");
}

/// A log behind a wire, that has sent a commit and waits for the answer.
fn committing(database: &Database) -> (Wire, Lobby) {
    let wire = Wire::to(database.instance.port());
    let port = |port: u16| format!(":{port}/");
    let address = database.address().replace(&port(database.instance.port()), &port(wire.port));
    let mut lobby = Lobby::open(log(&address, Keep::All), LIMIT);
    lobby.post("first", None);
    hold_commits(database);
    submit(&mut lobby, ["second".to_owned()].into_iter());
    commits(database);
    submit(&mut lobby, ["third".to_owned()].into_iter());
    (wire, lobby)
}

#[test]
fn a_commit_that_happens_after_its_connection_is_lost_is_found_and_not_made_again() {
    let database = Instance::shared().database();
    let (wire, mut lobby) = committing(&database);
    wire.cut();
    // the log comes back, and waits for whoever still commits
    let_commit(&database);
    assert_eq!((posted(lobby.settled()), posted(lobby.settled())), (2, 3));
    assert_eq!(stored(&database), [1, 2, 3]);
    assert_eq!(database.sql("SELECT batch_no, last_id FROM writers"), "3|3");
}

#[test]
fn a_commit_that_is_cut_short_is_made_again_under_the_same_number() {
    let database = Instance::shared().database();
    let (_wire, mut lobby) = committing(&database);
    database.cut();
    let_commit(&database);
    assert_eq!((posted(lobby.settled()), posted(lobby.settled())), (2, 3));
    assert_eq!(stored(&database), [1, 2, 3]);
    assert_eq!(database.sql("SELECT batch_no, last_id FROM writers"), "3|3");
}

#[test]
fn all_connections_cut_again_and_again_lose_nothing_and_repeat_nothing() {
    let database = Instance::shared().database();
    let mut lobby = open(&database);
    let mut ids = Vec::new();
    for round in 0..5 {
        submit(&mut lobby, (0..400).map(|n| format!("{round} {n}")));
        database.cut();
        ids.extend((0..400).map(|_| posted(lobby.settled())));
    }
    assert_eq!(ids, (1..=2_000).collect::<Vec<_>>());
    assert_eq!(stored(&database), ids);
    assert_eq!(database.sql("SELECT count(DISTINCT body::json ->> 'content') FROM messages"), "2000");
}

#[test]
fn a_batch_that_the_database_refuses_is_an_error_keeps_nothing_and_the_next_goes_on() {
    let database = Instance::shared().database();
    let meters = meters();
    let postgres =
        Postgres::new(&Dsn::new(&database.address()), Sharing::Alone, Keep::All, meters.clone()).unwrap();
    let mut lobby = Lobby::open(Box::new(postgres), LIMIT);
    lobby.post("fits", None);
    database.sql("ALTER TABLE messages ADD CHECK (length(body) < 1000)");
    let mut refused = || {
        submit(&mut lobby, ["x".repeat(1_000)].into_iter());
        let Err(LogError::Postgres(failure)) = lobby.settled() else { panic!("it fits") };
        assert!(failure.to_string().contains("23514"), "{failure}");
    };
    refused();
    refused();
    // without another post: it tries by itself
    while meters.is_up() {
        refused();
    }
    until("up again", || meters.is_up());
    assert_eq!(lobby.post("small", None)["id"], 2);
    assert_eq!(stored(&database), [1, 2]);
}

#[test]
fn a_database_that_was_wiped_has_another_epoch_and_a_server_that_runs_writes_nothing_into_it() {
    let database = Instance::shared().database();
    let mut lobby = open(&database);
    lobby.post("x", None);
    let epoch = lobby.epoch;
    database.sql("TRUNCATE topics, messages, writers");
    submit(&mut lobby, ["y".to_owned()].into_iter());
    let Err(LogError::Postgres(failure)) = lobby.settled() else { panic!("posted") };
    assert!(failure.to_string().contains("restart this one"), "{failure}");
    drop(lobby);
    assert!(stored(&database).is_empty());
    let mut lobby = open(&database);
    assert_ne!(lobby.epoch, epoch);
    assert_eq!(lobby.post("z", None)["id"], 1);
}

#[test]
fn closing_writes_what_waits_and_takes_no_more() {
    let database = Instance::shared().database();
    let mut lobby = open(&database);
    submit(&mut lobby, (0..3_000).map(|n| n.to_string()));
    lobby.log.close();
    assert_eq!(stored(&database).len(), 3_000);
    let command = lobby.draft("late", None);
    let (_, _waits, done) = lobby.done();
    assert_eq!(lobby.log.submit(command, done).unwrap_err(), Busy);
}

#[test]
fn only_so_many_messages_are_kept_and_none_of_the_younger_ones_goes() {
    let database = Instance::shared().database();
    let mut lobby = open(&database);
    submit(&mut lobby, (0..3_000).map(|_| "x".to_owned()));
    drop(lobby);
    let mut lobby = Lobby::open(log(&database.address(), Keep::Messages(5)), LIMIT);
    assert_eq!(lobby.history.messages(), 5, "no more than is kept");
    // what is too many goes in parts, between posts
    until("deleted", || stored(&database) == (2_996..=3_000).collect::<Vec<_>>());
    assert_eq!(lobby.post("next", None)["id"], 3_001);
    assert_eq!(lobby.like(1), None);
}

#[test]
fn what_is_too_old_is_deleted_before_it_is_loaded() {
    let database = Instance::shared().database();
    let mut lobby = open(&database);
    for n in 1..=5 {
        lobby.post(&n.to_string(), None);
    }
    drop(lobby);
    database.sql("UPDATE messages SET created_at = created_at - 7200000000 WHERE id < 4");
    let keep = Keep::Age(Duration::from_secs(3_600));
    let mut lobby = Lobby::open(log(&database.address(), keep), LIMIT);
    assert_eq!(history(&mut lobby).iter().map(|message| message["id"].clone()).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(stored(&database), [4, 5]);
}

#[test]
fn what_was_exported_is_imported_byte_for_byte_or_not_at_all() {
    let [from, to] = [(); 2].map(|()| Instance::shared().database());
    let folder = suite::Folder::new();
    let (file, again) = (folder.file(), folder.file().with_extension("again"));
    let mut lobby = open(&from);
    submit(&mut lobby, (1..=2_500).map(|n| format!("message {n} \u{0}\"\u{1f525}")));
    (0..2_500).for_each(|_| _ = posted(lobby.settled()));
    lobby.like(30);
    // beside the server
    let export = |database: &Database, file| {
        let reader = DatabaseReader::open(&Dsn::new(&database.address()))?;
        Ok::<_, BoxError>(wait(transfer::export(&reader, file)).unwrap())
    };
    assert_eq!(export(&from, &file).unwrap(), 2_500);
    let why = export(&to, &again).unwrap_err().to_string();
    assert!(why.contains("no messages of this program") && why.contains(&to.name), "{why}");
    let import =
        || transfer::import(&mut *log(&to.address(), Keep::All), &file).map_err(|why| why.to_string());
    let lines = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{lines}no message\n")).unwrap();
    assert!(import().unwrap_err().starts_with("line 2501: "));
    assert!(stored(&to).is_empty());
    std::fs::write(&file, &lines).unwrap();
    assert_eq!(import(), Ok(2_500));
    let why = import().unwrap_err();
    assert!(why.contains(&to.name) && why.contains("there are messages in it"), "{why}");
    assert_eq!(export(&to, &again).unwrap(), 2_500);
    assert_eq!(std::fs::read_to_string(&again).unwrap(), lines);
    let mut copy = open(&to);
    assert_eq!((copy.like(30), copy.post("next", None)["id"].clone()), (Some(2), json!(2_501)));
}

#[test]
fn while_the_database_hangs_callers_may_give_up_and_whoever_did_is_not_carried_out() {
    let instance = Instance::new();
    let database = instance.database();
    let mut lobby = open(&database);
    lobby.post("first", None);
    let frozen = instance.freeze();
    let claims: Vec<_> = (0..3)
        .map(|n| {
            let command = lobby.draft(&format!("waits {n}"), None);
            let (claim, waits, done) = lobby.done();
            assert!(lobby.log.submit(command, done).unwrap().is_none());
            (claim, waits)
        })
        .collect();
    assert!(claims[1].0.take(), "the log has taken it while it cannot begin");
    let reader = lobby.log.reader();
    assert!(wait(reader.before(9, LIMIT)).is_err());
    drop(frozen);
    assert_eq!((posted(lobby.settled()), posted(lobby.settled())), (2, 3));
    assert!(!claims[0].0.take() && !claims[2].0.take());
    assert_eq!(
        database.sql("SELECT body::json ->> 'content' FROM messages ORDER BY id"),
        "first\nwaits 0\nwaits 2"
    );
    until("read again", || wait(reader.before(9, LIMIT)).is_ok_and(|messages| messages.len() == 3));
}

#[test]
fn a_server_that_goes_down_does_not_wait_for_a_database_that_is_away() {
    let instance = Instance::new();
    let database = instance.database();
    let mut lobby = open(&database);
    lobby.post("first", None);
    instance.crash();
    submit(&mut lobby, (0..5).map(|n| n.to_string()));
    lobby.log.close();
    for _ in 0..5 {
        assert!(lobby.settled().is_err());
    }
    instance.start();
    assert_eq!(stored(&database), [1]);
}

#[test]
fn a_database_that_comes_later_is_waited_for() {
    let instance = Instance::new();
    let database = instance.database();
    instance.crash();
    thread::scope(|scope| {
        let opening = scope.spawn(|| open(&database));
        instance.start();
        assert_eq!(opening.join().unwrap().post("first", None)["id"], 1);
    });
}
