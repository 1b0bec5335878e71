//! The actor, with each of its logs.

use std::{
    process::Command as Process,
    time::{Duration, Instant},
};

use hinotori::{prometheus::TextEncoder, supervise::Crashed};
use serde_json::{Value, json};

use super::{
    super::message_log::{
        Keep, Kind, Sharing, Synchronous,
        suite::{self, LIMIT},
    },
    *,
};

/// Makes a handler of the real store panic in the middle.
#[derive(Message)]
#[rtype(result = "Result<(), StoreError>")]
struct Crash;

impl Handler<Crash> for MessageStore {
    type Result = Result<(), StoreError>;

    fn handle(&mut self, _: Crash, ctx: &mut Context<Self>) -> Self::Result {
        let Self { guard, history, .. } = self;
        guard.run(ctx, || {
            history.load();
            panic!("told to")
        })?
    }
}

fn post(content: &str) -> Post {
    Post { content: content.to_owned(), reply_to: None, nonce: None }
}

async fn contents(store: &Addr<MessageStore>) -> Vec<String> {
    let history: Value = store.send(Load).await.unwrap().unwrap().parse().unwrap();
    let messages = history["messages"].as_array().unwrap();
    messages.iter().map(|message| message["content"].as_str().unwrap().to_owned()).collect()
}

async fn posts(store: &Addr<MessageStore>, content: &str) -> Result<Option<u64>, StoreError> {
    store.send(post(content)).await.unwrap()?.outcome().await
}

#[actix_web::test]
async fn a_crash_is_an_error_to_its_caller_and_the_address_and_the_messages_stay() {
    for (log, _folder) in suite::each() {
        let store = MessageStore::start(log, LIMIT, &Endpoint::new()).unwrap();
        posts(&store, "before").await.unwrap();
        // queued behind the crash: it must not be lost in it
        let (crashed, posted) = futures_util::future::join(store.send(Crash), posts(&store, "behind")).await;
        assert!(matches!(crashed.unwrap(), Err(StoreError::Crashed(Crashed))));
        posted.unwrap();
        posts(&store, "after").await.unwrap();
        assert_eq!(contents(&store).await, ["before", "behind", "after"]);
        assert!(store.connected());
    }
}

#[actix_web::test]
async fn a_crash_between_a_post_and_its_commit_loses_neither() {
    for (log, _folder) in suite::each() {
        let store = MessageStore::start(log, LIMIT, &Endpoint::new()).unwrap();
        let pending = store.send(post("on its way")).await.unwrap().unwrap();
        store.send(Crash).await.unwrap().unwrap_err();
        assert_eq!(pending.outcome().await.unwrap(), Some(1));
        assert_eq!(contents(&store).await, ["on its way"]);
    }
}

#[actix_web::test]
async fn two_crashes_are_survived_and_counted() {
    for (log, _folder) in suite::each() {
        let endpoint = Endpoint::new();
        let store = MessageStore::start(log, LIMIT, &endpoint).unwrap();
        posts(&store, "kept").await.unwrap();
        for _ in 0..2 {
            assert!(store.send(Crash).await.unwrap().is_err());
        }
        assert_eq!(contents(&store).await, ["kept"]);
        let metrics = TextEncoder::new().encode_to_string(&endpoint.registry().gather()).unwrap();
        assert!(metrics.contains("hinotori_crashes_total{of=\"MessageStore\"} 2\n"), "{metrics}");
        let [(second, _), _] = suite::each();
        assert!(MessageStore::start(second, LIMIT, &endpoint).is_err(), "a second store on one endpoint");
    }
}

/// Not a test of its own: the child process of the next test.
#[actix_web::test]
#[ignore = "ends the process"]
async fn crash_until_the_process_ends() {
    let [(log, _), _] = suite::each();
    let store = MessageStore::start(log, LIMIT, &Endpoint::new()).unwrap();
    for _ in 0..3 {
        let _ = store.send(Crash).await;
    }
}

#[test]
fn a_store_that_keeps_crashing_ends_the_process_with_a_message_and_a_code() {
    let name = "chat::message_store::tests::crash_until_the_process_ends";
    let program = std::env::current_exe().unwrap();
    let output = Process::new(program).args([name, "--exact", "--ignored", "--nocapture"]).output().unwrap();
    assert_eq!(output.status.code(), Some(70));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("error: MessageStore crashed 3 times within 5s, giving up"), "{said}");
}

#[actix_web::test]
async fn likes_of_one_message_that_come_at_once_all_count() {
    for (log, _folder) in suite::each() {
        let store = MessageStore::start(log, LIMIT, &Endpoint::new()).unwrap();
        posts(&store, "like me").await.unwrap();
        let like = async || store.send(Like { id: 1 }).await.unwrap().unwrap().outcome().await;
        let likes = futures_util::future::join_all((0..50).map(|_| like())).await;
        assert!(likes.into_iter().all(|like| like.unwrap() == Some(1)));
        let history: Value = store.send(Load).await.unwrap().unwrap().parse().unwrap();
        assert_eq!(history["messages"][0]["likes"], json!(50));
        assert_eq!(store.send(Like { id: 2 }).await.unwrap().unwrap().outcome().await.unwrap(), None);
    }
}

#[actix_web::test]
async fn what_cannot_be_written_is_refused_within_its_time_and_is_not_written_later() {
    let [_, (log, folder)] = suite::each();
    let folder = folder.unwrap();
    let store = MessageStore::start(log, LIMIT, &Endpoint::new()).unwrap();
    posts(&store, "before").await.unwrap();
    let other = rusqlite::Connection::open(folder.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(posts(&store, "too late").await, Err(StoreError::Late)));
    other.execute_batch("ROLLBACK").unwrap();
    posts(&store, "after").await.unwrap();
    assert_eq!(contents(&store).await, ["before", "after"]);
    store.send(Close).await.unwrap();
    assert!(matches!(posts(&store, "closed").await, Err(StoreError::Busy)));
}

async fn older(store: &Addr<MessageStore>, id: u64, messages: usize) -> Vec<u64> {
    let older =
        store.send(LoadBefore { id, limit: Limit { messages, bytes: 100_000 } }).await.unwrap().unwrap();
    let older: Value = older.parse().unwrap();
    older["messages"].as_array().unwrap().iter().map(|message| message["id"].as_u64().unwrap()).collect()
}

#[actix_web::test]
async fn older_messages_come_from_the_history_and_then_from_the_log() {
    for ((log, _folder), has_more) in suite::each().into_iter().zip([false, true]) {
        let store = MessageStore::start(log, LIMIT, &Endpoint::new()).unwrap();
        assert!(older(&store, 1, 5).await.is_empty());
        for n in 1..=25 {
            posts(&store, &n.to_string()).await.unwrap();
        }
        // ten are in the history
        assert_eq!(older(&store, 26, 3).await, [23, 24, 25]);
        assert_eq!(older(&store, 20, 4).await, [16, 17, 18, 19]);
        let (across, beyond) = (older(&store, 18, 4).await, older(&store, 5, 10).await);
        match has_more {
            true => assert_eq!((across, beyond), (vec![14, 15, 16, 17], vec![1, 2, 3, 4])),
            false => assert_eq!((across, beyond), (vec![16, 17], vec![])),
        }
        assert!(older(&store, 1, 5).await.is_empty() && older(&store, 0, 5).await.is_empty());
    }
}

#[actix_web::test]
async fn what_the_log_forgets_the_history_forgets() {
    let folder = suite::Folder::new();
    let log = Kind::Sqlite(folder.file(), Synchronous::Full)
        .log(Sharing::Alone, Keep::Messages(3), suite::meters())
        .unwrap();
    let store = MessageStore::start(log, LIMIT, &Endpoint::new()).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    futures_util::future::join_all((0..300).map(|n| posts(&store, if n % 2 == 0 { "a" } else { "b" }))).await;
    // the history has room for ten
    while contents(&store).await.len() == 10 {
        assert!(Instant::now() < until, "nothing was forgotten");
        posts(&store, "more").await.unwrap();
    }
}
