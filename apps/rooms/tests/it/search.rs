//! The search: it finds words, and nothing in rooms of others.

use rooms::failure::Failure;
use serde_json::{Value, json};

use crate::kit::{Client, both, refused};

async fn texts(client: &mut Client, query: Value) -> Vec<String> {
    let found = client.ask("search", query).await.unwrap();
    let text = |hit: &Value| hit["message"]["text"].as_str().unwrap().to_owned();
    found["hits"].as_array().unwrap().iter().map(text).collect()
}

#[actix_web::test]
async fn it_finds_beginnings_of_words_in_any_script_newest_first() {
    for node in both().await {
        let (mut ann, room_id) = node.lobby().await;
        let other = ann.create("other", true).await;
        ann.enter(&other).await;
        for text in
            ["Deploy on **Friday**", "never deploy", "東京都に行く", "Ärger mit Döner", "O'Neill's \"quote\""]
        {
            ann.post(&room_id, text).await;
        }
        ann.post(&other, "deployed").await;
        for (query, found) in [
            ("deploy", &["deployed", "never deploy", "Deploy on **Friday**"][..]),
            ("FRI dep", &["Deploy on **Friday**"]),
            ("京都", &["東京都に行く"]),
            ("都", &["東京都に行く"]),
            ("ärg", &["Ärger mit Döner"]),
            ("neill", &["O'Neill's \"quote\""]),
            ("friday never", &[]),
            ("eploy", &[]),
        ] {
            assert_eq!(texts(&mut ann, json!({ "text": query })).await, found, "{query}");
        }
        let in_room = json!({ "text": "deploy", "room_id": other });
        assert_eq!(texts(&mut ann, in_room).await, ["deployed"]);
        let edited = ann.post(&room_id, "unwanted").await;
        ann.tell(&room_id, "edit", json!({ "id": edited, "text": "wanted" })).await.unwrap();
        assert_eq!(texts(&mut ann, json!({ "text": "unwanted" })).await, [""; 0]);
        assert_eq!(texts(&mut ann, json!({ "text": "wanted" })).await, ["wanted"]);
    }
}

#[actix_web::test]
async fn twenty_hits_come_at_a_time() {
    for node in both().await {
        let (mut ann, room_id) = node.lobby().await;
        for n in 0..25 {
            ann.post(&room_id, &format!("word {n}")).await;
        }
        let page = ann.ask("search", json!({ "text": "word" })).await.unwrap();
        let hits = page["hits"].as_array().unwrap();
        assert_eq!((hits.len(), &page["more"], &hits[0]["room_id"]), (20, &json!(true), &json!(room_id)));
        let before = &hits[19]["message"]["id"];
        let page = ann.ask("search", json!({ "text": "word", "before": before })).await.unwrap();
        assert_eq!((page["hits"].as_array().unwrap().len(), &page["more"]), (5, &json!(false)));
    }
}

#[actix_web::test]
async fn it_finds_nothing_in_rooms_of_others_and_no_query_breaks_it() {
    for node in both().await {
        let (mut one, mut two) = (node.welcome("Ann").await, node.welcome("Ben").await);
        let room_id = one.create("secret", true).await;
        one.enter(&room_id).await;
        one.post(&room_id, "classified").await;
        assert_eq!(texts(&mut two, json!({ "text": "classified" })).await, [""; 0]);
        let in_room = json!({ "text": "classified", "room_id": room_id });
        assert_eq!(two.ask("search", in_room).await, refused(&Failure::NotFound));
        // whoever was removed finds nothing any more
        one.invite(&room_id, &two.id).await;
        assert_eq!(texts(&mut two, json!({ "text": "classified" })).await, ["classified"]);
        one.ask("remove_member", json!({ "room_id": room_id, "user_id": two.id })).await.unwrap();
        assert_eq!(texts(&mut two, json!({ "text": "classified" })).await, [""; 0]);

        for query in [
            "classified\"",
            "\"classified",
            "classified*",
            "classified OR x",
            "NEAR(classified, 2)",
            "terms:classified",
            "-classified",
            "^classified",
            "classified'; DROP TABLE messages; --",
            "classified & !x | (y)",
            "classified:*",
            "classified <-> x",
            "$1",
            "?1",
            "%",
            "_",
            "\\",
            "''",
            "a\u{0301}",
            "\u{202e}",
            "🎉",
            "classified\u{7f}",
        ] {
            let found = two.ask("search", json!({ "text": query })).await;
            match found {
                Ok(found) => assert_eq!(found["hits"], json!([]), "{query}"),
                Err(error) => assert_eq!(error, Failure::Invalid("text").reason(), "{query}"),
            }
        }
        let long = "word ".repeat(5_000);
        assert!(two.ask("search", json!({ "text": long })).await.is_ok());
    }
}
