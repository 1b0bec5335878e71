//! Each mode against the floor: it must count what it was asked for, and nothing else.

use clap::Parser;
use tokio::task::{LocalSet, spawn_local};

use crate::{Cli, Mode, floor, frame};

/// Runs a mode against a floor of its own.
async fn run<T>(arguments: &str, run: impl AsyncFnOnce(Mode) -> T) -> T {
    LocalSet::new()
        .run_until(async {
            let listener = floor::bind(([127, 0, 0, 1], 0).into()).unwrap();
            let addr = listener.local_addr().unwrap().to_string();
            spawn_local(floor::serve(listener));
            let pid = std::process::id().to_string();
            let arguments = ["phxload"].into_iter().chain(arguments.split(' '));
            run(Cli::parse_from(arguments.chain(["--addr", &addr, "--pid", &pid])).mode).await
        })
        .await
}

#[tokio::test]
async fn every_subscriber_is_counted_once_for_each_message() {
    let report = run("fanout -n 20 --rate 50 --secs 1", async |mode| match mode {
        Mode::Fanout(fanout) => fanout.run().await.unwrap(),
        other => panic!("{other:?}"),
    })
    .await;
    assert_eq!((report.subscribers, report.failed, report.lost), (20, 0, 0));
    assert_eq!(report.delivered, 20 * 50);
}

#[tokio::test]
async fn connections_join_and_heartbeats_are_answered() {
    let report = run("connect -n 20 --hold 0", async |mode| match mode {
        Mode::Connect(connect) => connect.run().await.unwrap(),
        other => panic!("{other:?}"),
    })
    .await;
    assert_eq!((report.joined, report.failed), (20, 0));
    let report = run("rtt -c 2 --secs 1 --pause 10", async |mode| match mode {
        Mode::Rtt(rtt) => rtt.run().await.unwrap(),
        other => panic!("{other:?}"),
    })
    .await;
    assert_eq!(report.failed, 0);
    assert!(report.replies > 10, "{}", report.replies);
}

#[test]
fn what_is_masked_comes_out_of_its_frame_whatever_its_length() {
    for length in [0, 1, 125, 126, 65_535, 65_536] {
        let text = vec![b'x'; length];
        let wire = frame::masked(&text);
        let found = frame::find(&wire).unwrap();
        assert_eq!((found.opcode, found.to), (frame::TEXT, wire.len()));
        assert_eq!(frame::unmask(&wire, &found), text);
        assert_eq!(frame::find(&wire[..wire.len() - 1]), None);
    }
}
