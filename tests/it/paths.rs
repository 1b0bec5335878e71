//! Where the sockets are found, and which upgrades are taken.

use serde_json::json;

use crate::{
    client::{Client, Upgrade},
    poller::Poller,
    server::Launch,
};

#[test]
fn empty_segments_of_a_path_make_no_difference() {
    Launch::on_both(|launch| {
        let server = launch.start();
        for path in
            ["/socket//websocket", "//socket/websocket", "/socket/websocket/", "//socket///websocket//"]
        {
            let mut client = Client::open(server.port, &format!("{path}?vsn=2.0.0"));
            client.join("1", "ref:room");
        }
        for mount in ["/socket/", "//socket", "//socket//"] {
            let mut poller = Poller::open(server.port, mount);
            poller.posts(&[json!(["1", "1", "ref:room", "phx_join", {}])], 200);
            assert_eq!(poller.messages()[0][3], "phx_reply", "{mount}");
        }
        let missing = Upgrade::request(server.port, "/socket/web/socket?vsn=2.0.0", &[]).unwrap();
        assert_eq!(missing.status, 404);
    });
}

#[test]
fn an_upgrade_is_taken_whatever_else_stands_in_the_header_connection() {
    Launch::on_both(|launch| {
        let server = launch.start();
        let connections: [&[&str]; 5] = [
            &["close, Upgrade"],
            &["Upgrade, close"],
            &["keep-alive, Upgrade"],
            &["close", "upgrade"],
            &["keep-alive,UPGRADE,x"],
        ];
        for connection in connections {
            let path = "/socket/websocket?vsn=2.0.0";
            let upgrade = Upgrade::request(server.port, path, &[("Connection", connection)]).unwrap();
            assert_eq!(upgrade.status, 101, "{connection:?}");
            assert_eq!(upgrade.header("connection"), Some("upgrade"), "{connection:?}");
            let mut client = Client::over(upgrade);
            client.join("1", "ref:room");
            client.beat();
        }
        for connection in [&["close"][..], &["upgraded"], &[]] {
            let path = "/socket/websocket?vsn=2.0.0";
            let refused = Upgrade::request(server.port, path, &[("Connection", connection)]).unwrap();
            assert_eq!(refused.status, 400, "{connection:?}");
        }
    });
}

#[test]
fn what_is_beyond_ascii_is_escaped_in_a_query_or_the_request_is_refused() {
    let server = Launch::reference().start();
    for (path, status) in [
        ("/socket/websocket?vsn=2.0.0&name=%C3%A9", 101),
        ("/socket/websocket?vsn=2.0.0&name=\u{e9}", 400),
        ("/socket/websocket?vsn=2.0.0&name=%ff", 400),
    ] {
        assert_eq!(Upgrade::request(server.port, path, &[]).unwrap().status, status, "{path}");
    }
}
