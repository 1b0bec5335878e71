//! `/healthz` and `/readyz`.

use crate::{
    http::{exchange, get},
    server::Launch,
};

#[test]
fn a_server_that_takes_clients_is_alive_and_ready() {
    let server = Launch::chat().start();
    for path in ["/healthz", "/readyz"] {
        for method in ["GET", "HEAD"] {
            let reply = exchange(server.port, method, path, &[], None).unwrap();
            assert_eq!(reply.status, 200, "{method} {path}");
            assert_eq!(reply.header("cache-control"), Some("no-store"), "{method} {path}");
        }
        assert_eq!(exchange(server.port, "POST", path, &[], None).unwrap().status, 405, "{path}");
    }
    assert_eq!(get(server.port, "/healthz", &[]).text(), "ok\n");
    assert_eq!(get(server.port, "/readyz", &[]).text(), "ready\nstore up\n");
}
