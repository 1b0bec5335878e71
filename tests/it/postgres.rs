//! The chat's store in PostgreSQL: what was seen stays, whatever happens to the server or to the database.

use std::{
    env, fs,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};

use crate::{
    PATIENCE,
    chance::amount,
    folder::Folder,
    guest::{Guest, ids},
    http::get,
    instance::{Database, Instance, PASSWORD},
    metrics::comes_to,
    ordeal::Ordeal,
    server::{Launch, Outcome, Server},
};

/// Longer than the 5 s that a post may wait.
const TOO_LONG: Duration = Duration::from_secs(6);

/// What is run on a database that was restored.
const NEW_EPOCH: &str = "UPDATE topics SET epoch = epoch + 1";

const UNAVAILABLE: &str = "message store unavailable";

fn launch(database: &Database) -> Launch {
    at(&database.address())
}

fn at(address: &str) -> Launch {
    Launch::chat().set("STORE", address)
}

fn start(database: &Database) -> Server {
    launch(database).start()
}

fn stored(database: &Database) -> Vec<Value> {
    Guest::enter(&start(database)).1
}

/// It did not start, and its error does not show the password.
fn refused(launch: Launch, parts: &[&str]) -> Outcome {
    let outcome = launch.run();
    assert_eq!(outcome.status.code(), Some(1), "{}", outcome.stderr);
    for part in parts {
        assert!(outcome.stderr.contains(part), "no `{part}` in: {}", outcome.stderr);
    }
    assert!(!outcome.stderr.contains(PASSWORD) && !outcome.stdout.contains(PASSWORD), "{}", outcome.stderr);
    outcome
}

#[test]
fn a_restart_keeps_messages_replies_and_likes_and_ids_go_on() {
    let database = Instance::shared().database();
    let mut server = start(&database);
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
    let server = launch(&database).set("HISTORY_LIMIT", 1).start();
    let (mut bob, history) = Guest::enter(&server);
    assert_eq!(history, before[1..], "the newest alone");
    let name = format!("database=\"127.0.0.1:{}/{}\"", database.instance.port(), database.name);
    server.log_line(|line| line.ends_with(&format!("event=store_opened {name} messages=1 last_id=2")));
    // what is not in memory can be liked, quoted and loaded
    assert_eq!(bob.likes(&json!(1))["likes"], 3);
    bob.push("new_message", &json!({"message": "late", "reply_to": 1}));
    let late = bob.hears("new_message");
    assert_eq!((&late["id"], &late["reply_to_content"]), (&json!(3), &json!("hello \u{0} \"🔥\"")));
    bob.push("load_before", &json!({"id": 3, "limit": 1}));
    let older = bob.client.message();
    assert_eq!(older[4]["response"]["messages"][0]["id"], 2, "{older}");
}

#[test]
fn kill_9_of_the_server_under_load_loses_nothing_that_anyone_saw() {
    let database = Instance::shared().database();
    let mut ordeal = Ordeal::new(|| launch(&database));
    for round in 0..amount("CHAOS_KILLS", 3) {
        ordeal.round(|server, watcher| {
            // a different moment of the group commit each time
            watcher.sees(150 + 37 * round as usize);
            server.signal("KILL");
        });
    }
}

#[test]
fn crashes_of_the_database_under_load_lose_nothing_and_posting_goes_on() {
    let instance = Instance::new();
    let database = instance.database();
    Ordeal::new(|| launch(&database)).round(|server, watcher| {
        for round in 0..amount("CHAOS_KILLS", 3) {
            watcher.sees(100 + 37 * round as usize);
            instance.crash();
            comes_to(server, "realtime_chat_store_up", 0.0);
            instance.start();
            comes_to(server, "realtime_chat_store_up", 1.0);
        }
        server.log_line(|line| line.contains("event=store_failed what="));
        server.log_line(|line| line.contains("event=store_recovered"));
        watcher.sees(100);
    });
}

#[test]
fn readyz_tells_that_the_database_is_away_and_is_503_if_that_is_required() {
    let instance = Instance::new();
    let database = instance.database();
    let [told, required] =
        [launch(&database), launch(&instance.database()).set("READY_REQUIRES_STORE", "true")]
            .map(Launch::start);
    let ready = |server: &Server| {
        let reply = get(server.port, "/readyz", &[]);
        (reply.status, reply.text())
    };
    let well = || (200, "ready\nstore up\n".to_owned());
    assert_eq!((ready(&told), ready(&required)), (well(), well()));
    instance.crash();
    for server in [&told, &required] {
        comes_to(server, "realtime_chat_store_up", 0.0);
    }
    assert_eq!(ready(&told), (200, "ready\nstore down\n".to_owned()));
    assert_eq!(ready(&required), (503, "not ready\nstore down\n".to_owned()));
    instance.start();
    for server in [&told, &required] {
        comes_to(server, "realtime_chat_store_up", 1.0);
    }
    assert_eq!((ready(&told), ready(&required)), (well(), well()));
}

#[test]
fn connections_that_are_cut_under_load_lose_nothing_and_repeat_nothing() {
    let database = Instance::shared().database();
    Ordeal::new(|| launch(&database)).round(|_, watcher| {
        for round in 0..5 {
            watcher.sees(50 + 17 * round);
            database.cut();
        }
        watcher.sees(100);
    });
}

#[test]
fn a_database_that_hangs_for_longer_than_a_post_may_wait_goes_on_and_agrees_with_the_clients() {
    let instance = Instance::new();
    let database = instance.database();
    Ordeal::new(|| launch(&database)).round(|_, watcher| {
        watcher.sees(100);
        let frozen = instance.freeze();
        thread::sleep(TOO_LONG);
        drop(frozen);
        watcher.sees(100);
    });
}

#[test]
fn a_server_that_is_stopped_for_longer_than_the_database_waits_for_it_goes_on() {
    let database = Instance::shared().database();
    Ordeal::new(|| launch(&database)).round(|server, watcher| {
        watcher.sees(100);
        server.signal("STOP");
        thread::sleep(TOO_LONG);
        server.signal("CONT");
        watcher.sees(100);
    });
}

#[test]
fn while_the_database_hangs_a_post_gets_one_error_and_is_never_stored_and_the_history_is_there() {
    let instance = Instance::new();
    let database = instance.database();
    let server = launch(&database).set("HISTORY_LIMIT", 1).start();
    let (mut ann, _) = Guest::enter(&server);
    ann.posts("older");
    ann.posts("before");
    let frozen = instance.freeze();
    let asked = Instant::now();
    ann.is_refused("new_message", &json!({ "message": "during" }), UNAVAILABLE);
    assert!(asked.elapsed() >= Duration::from_secs(4), "it was not waited for: {:?}", asked.elapsed());
    comes_to(&server, "realtime_chat_store_up", 0.0);
    assert_eq!(ids(&ann.history()), [2]);
    ann.is_refused("load_before", &json!({ "id": 2 }), UNAVAILABLE);
    // one that waits when it comes back is carried out
    ann.push("new_message", &json!({ "message": "after" }));
    drop(frozen);
    assert_eq!(ann.hears("new_message")["content"], "after");
    server.log_line(|line| line.contains("event=store_recovered"));
    comes_to(&server, "realtime_chat_store_up", 1.0);
    ann.client.beat();
    drop(server);
    let contents: Vec<Value> = stored(&database).iter().map(|message| message["content"].clone()).collect();
    assert_eq!(contents, ["older", "before", "after"]);
}

#[test]
fn a_second_server_on_the_same_database_is_refused_and_the_first_goes_on() {
    let database = Instance::shared().database();
    let server = start(&database);
    let (mut ann, _) = Guest::enter(&server);
    let why = ["error: cannot open the store", &*database.name, "another server has these messages open"];
    refused(launch(&database), &why);
    assert_eq!(ann.posts("still here")["id"], 1);
}

#[test]
fn what_is_wrong_with_the_address_or_the_rights_stops_the_start_at_once_and_no_password_is_shown() {
    let database = Instance::shared().database();
    let instance = database.instance;
    let wrong = format!("not-{PASSWORD}");
    let start = Instant::now();
    refused(at(&instance.address("postgres", &wrong, &database.name)), &["password authentication failed"]);
    refused(at(&instance.address("postgres", PASSWORD, "nowhere")), &["database \"nowhere\" does not exist"]);
    refused(at(&format!("{}?sslmode=on", database.address())), &["sslmode", "verify-full"]);
    refused(at(&format!("postgres:{PASSWORD}@localhost/chat")), &["expected postgres://"]);
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    let help = launch(&database).arguments(&["--help"]).run();
    assert!(help.stdout.contains("STORE") && !help.stdout.contains(PASSWORD), "{}", help.stdout);
}

#[test]
fn no_level_of_the_log_shows_the_password_or_what_people_write() {
    let database = Instance::shared().database();
    let mut server = launch(&database).set("RUST_LOG", "trace").start();
    Guest::enter(&server).0.posts("nobody's business");
    database.cut();
    comes_to(&server, "realtime_chat_store_up", 1.0);
    server.log_line(|line| line.contains("event=store_recovered"));
    server.signal("TERM");
    server.wait_exit(PATIENCE);
    let log = server.log();
    let telling: Vec<&str> =
        log.lines().filter(|line| line.contains(PASSWORD) || line.contains("business")).collect();
    assert!(telling.is_empty(), "{telling:#?}");
}

#[test]
fn a_database_that_is_not_there_yet_is_waited_for_and_the_log_says_so() {
    let instance = Instance::new();
    let database = instance.database();
    instance.crash();
    thread::scope(|scope| {
        let server = scope.spawn(|| start(&database));
        instance.start();
        let server = server.join().unwrap();
        assert_eq!(Guest::enter(&server).0.posts("first")["id"], 1);
    });
}

#[test]
fn tls_is_as_strict_as_the_address_says() {
    let instance = Instance::new();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    instance.write("server.crt", &cert.pem());
    instance.write("server.key", &signing_key.serialize_pem());
    instance.sql("postgres", "ALTER SYSTEM SET ssl = on");
    instance.crash();
    instance.start();
    let (database, folder) = (instance.database(), Folder::new());
    folder.write("ca.pem", &cert.pem());
    let by_name = database.address().replace("127.0.0.1", "localhost");
    let roots = format!("sslmode=verify-full&sslrootcert={}", folder.path().join("ca.pem").display());
    let used = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                WHERE application_name = 'realtime-chat'";
    for (address, is_encrypted) in [
        (format!("{}?sslmode=disable", database.address()), "f"),
        (database.address(), "t"),
        (format!("{}?sslmode=require", database.address()), "t"),
        (format!("{by_name}?{roots}"), "t"),
    ] {
        let server = at(&address).start();
        assert_eq!(instance.sql("postgres", used), is_encrypted, "{address}");
        Guest::enter(&server).0.posts("x");
        drop(server);
    }
    refused(at(&format!("{}?{roots}", database.address())), &["certificate"]);
    refused(at(&format!("{by_name}?sslmode=verify-full")), &["certificate"]);
}

/// As `docs/OPERATIONS.md` says it.
#[test]
fn a_dump_of_a_running_server_is_restored_as_another_life_of_its_messages() {
    let instance = Instance::shared();
    let [from, to] = [(); 2].map(|()| instance.database());
    let server = start(&from);
    let (mut ann, _) = Guest::enter(&server);
    for n in 1..=50 {
        ann.posts(&n.to_string());
    }
    let history = ann.history();
    let file = env::temp_dir().join(format!("{}-{}.dump", from.name, std::process::id()));
    let dump = instance.client("pg_dump", &from.name).args(["-Fc", "-f"]).arg(&file).status().unwrap();
    assert!(dump.success());
    ann.posts("after the dump");
    let restore =
        instance.client("pg_restore", &to.name).arg(&file).stderr(Stdio::inherit()).status().unwrap();
    fs::remove_file(&file).unwrap();
    assert!(restore.success());
    to.sql(NEW_EPOCH);
    assert!(
        include_str!("../../docs/OPERATIONS.md").contains(&format!("psql \"$STORE\" -c \"{NEW_EPOCH}\""))
    );
    let epochs =
        [&from, &to].map(|database| database.sql("SELECT epoch FROM topics").parse::<u64>().unwrap());
    assert!(epochs[0] != epochs[1] && (1..1 << 53).contains(&epochs[1]), "{epochs:?}");
    let other = start(&to);
    let (mut bob, restored) = Guest::enter(&other);
    assert_eq!(restored, history);
    assert_eq!(bob.posts("goes on")["id"], 51);
    assert_eq!(ann.posts("here too")["id"], 52);
}
