//! A server that has no descriptor left for one more client.

use std::net::TcpStream;

use crate::{guest::Guest, server::Launch};

#[test]
fn without_a_descriptor_left_who_is_in_is_served_and_others_get_in_when_some_leave() {
    let server = Launch::chat().set("WORKERS", 1).descriptors(100).start();
    let (mut ann, _) = Guest::enter(&server);
    let crowd: Vec<TcpStream> =
        (0..150).map(|_| TcpStream::connect(("127.0.0.1", server.port)).unwrap()).collect();
    let line = server.log_line(|line| line.contains("Too many open files"));
    assert!(line.contains("ERROR"), "{line}");
    ann.posts("still here");
    drop(crowd);
    let (mut bob, history) = Guest::enter(&server);
    assert_eq!(history[0]["content"], "still here");
    bob.posts("in");
    assert_eq!(ann.hears("new_message")["content"], "in");
}
