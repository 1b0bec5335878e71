//! Slow means not reading: whoever reads gets all that was sent, however much and however fast that came.

use std::{cell::Cell, thread, time::Duration};

use actix_web::rt::{task::yield_now, time::sleep};
use futures_util::future::{join, join_all};
use serde_json::json;

use super::{
    ALL, SERVER, Settings,
    app::HISTORY,
    client::{Client, TEXT, frame},
};
use crate::Endpoint;

const SOCKET: &str = "/socket/websocket?vsn=2.0.0";

async fn joined(mut client: Client, topic: &str) -> Client {
    client.upgrade(SOCKET).await;
    client.send(frame(TEXT, format!(r#"["1","1","{topic}","phx_join",{{}}]"#).as_bytes())).await;
    let (_, reply) = client.reader.message().await;
    assert!(String::from_utf8_lossy(&reply).contains("phx_reply"));
    client
}

/// Broadcasts from another thread, all at once.
fn burst(endpoint: &Endpoint, count: usize, size: usize) {
    let endpoint = endpoint.clone();
    thread::spawn(move || {
        let payload = json!({ "x": "x".repeat(size) });
        (0..count).for_each(|_| endpoint.broadcast("room:1", "news", &payload).unwrap());
    });
}

#[actix_web::test]
async fn a_burst_of_another_thread_cuts_off_nobody_who_reads_and_a_heartbeat_beside_it_is_answered() {
    const COUNT: usize = 1_500;
    for way in ALL {
        let server = way.start(Settings::default());
        let readers = [(); 4].map(async |()| joined(server.connect().await, "room:1").await);
        let readers = join_all(readers).await;
        let mut beating = joined(server.connect().await, "room:2").await;
        let reading = Cell::new(readers.len());
        let reading = &reading;
        let read = readers.into_iter().map(|mut client| async move {
            for n in 0..COUNT {
                let (opcode, message) = client.reader.message().await;
                assert!(opcode == TEXT && message.len() > 16_000, "{way:?}: message {n}");
            }
            reading.set(reading.get() - 1);
        });
        let beat = async {
            while reading.get() > 0 {
                beating.send(frame(TEXT, br#"[null,"7","phoenix","heartbeat",{}]"#)).await;
                let (_, reply) = beating.reader.message().await;
                assert!(String::from_utf8_lossy(&reply).contains(r#""7","phoenix","phx_reply""#));
                yield_now().await;
            }
        };
        burst(&server.endpoint, COUNT, 16_000);
        join(join_all(read), beat).await;
        server.stop().await;
    }
}

#[actix_web::test]
async fn who_reads_long_histories_little_by_little_gets_them_and_all_that_is_said_meanwhile_and_heartbeats() {
    for way in SERVER {
        let server = way.start(Settings { is_narrow: true, ..Settings::default() });
        let mut client = joined(server.connect().await, "room:history").await;
        client.send(frame(TEXT, br#"[null,"8","phoenix","heartbeat",{}]"#)).await;
        let said = Cell::new(0);
        let is_over = Cell::new(false);
        let speak = async {
            while !is_over.get() {
                server.endpoint.broadcast("room:history", "word", json!({ "n": said.get() })).unwrap();
                said.set(said.get() + 1);
                sleep(Duration::from_millis(1)).await;
            }
        };
        let read = async {
            let (mut histories, mut words, mut beats) = (vec![], 0, vec![]);
            while histories.len() < 2 || beats.is_empty() || words < 10 {
                let (_, message) = client.reader.message().await;
                let text = String::from_utf8_lossy(&message[..message.len().min(100)]);
                if text.contains("\"history\"") {
                    assert!(message.len() > HISTORY * 1_000);
                    histories.push(words);
                } else if text.contains("phx_reply") {
                    beats.push(histories.len());
                } else {
                    assert!(text.contains(&format!(r#"{{"n":{words}}}"#)), "{text} instead of {words}");
                    words += 1;
                }
            }
            is_over.set(true);
            assert!(beats[0] < 2, "a heartbeat waits for what is being written alone");
        };
        join(speak, read).await;
        server.stop().await;
    }
}
