//! Settings hold for every clone; endpoints of one process have nothing in common.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{Check, Drainer, Endpoint, node::Node};

const DRAINER: Drainer = Drainer {
    grace: Duration::from_millis(1),
    batch_size: 2,
    batch_interval: Duration::from_millis(3),
    shutdown: Duration::from_secs(4),
};

/// How many connections it takes, the seats of which are given back.
fn seats(endpoint: &Endpoint, at_most: usize) -> usize {
    let Node { connections, .. } = &**endpoint.node();
    (0..at_most).map_while(|_| connections.seat()).collect::<Vec<_>>().len()
}

#[test]
fn each_setting_holds_for_every_clone_and_for_no_other_endpoint() {
    let builder = Endpoint::builder();
    let set = builder.clone().max_connections(1).drainer(DRAINER).build();
    let plain = builder.build();
    for endpoint in [&set.clone(), &set] {
        assert_eq!((seats(endpoint, 3), endpoint.drainer()), (1, DRAINER), "{endpoint:?}");
    }
    for endpoint in [&plain.clone(), &plain, &Endpoint::new(), &Endpoint::default()] {
        assert_eq!((seats(endpoint, 3), endpoint.drainer()), (3, Drainer::default()), "{endpoint:?}");
    }
}

#[actix_web::test]
async fn readyz_tells_of_what_the_application_needs_and_is_503_without_what_is_required() {
    use actix_web::{App, test};

    let state = Arc::new([true, true].map(AtomicBool::new));
    let [database, cache] = [0, 1].map(|which| {
        let state = state.clone();
        Check::new(["database", "cache"][which], move || state[which].load(Relaxed))
    });
    let endpoint = Endpoint::builder().check(database.required()).check(cache).build();
    let app = test::init_service(App::new().configure(endpoint.ops())).await;
    for (is_up, status, body) in [
        ([true, true], 200, "ready\ndatabase up\ncache up\n"),
        ([true, false], 200, "ready\ndatabase up\ncache down\n"),
        ([false, true], 503, "not ready\ndatabase down\ncache up\n"),
        ([true, true], 200, "ready\ndatabase up\ncache up\n"),
    ] {
        state.iter().zip(is_up).for_each(|(state, is_up)| state.store(is_up, Relaxed));
        let response = test::call_service(&app, test::TestRequest::get().uri("/readyz").to_request()).await;
        assert_eq!((response.status().as_u16(), test::read_body(response).await), (status, body.into()));
    }
}

#[test]
fn the_connections_of_all_clones_are_counted_together() {
    let endpoint = Endpoint::builder().max_connections(1).build();
    let seat = endpoint.clone().node().connections.seat();
    assert!(seat.is_some() && endpoint.node().connections.seat().is_none());
    drop(seat);
    assert!(endpoint.node().connections.seat().is_some());
}

#[actix_web::test]
async fn an_endpoint_drains_when_a_clone_does() {
    let endpoint = Endpoint::new();
    assert_eq!(endpoint.clone().drain().await, 0);
    assert!(endpoint.node().connections.is_draining() && !endpoint.node().connections.is_ready());
}

#[cfg(feature = "metrics")]
#[actix_web::test]
async fn two_endpoints_of_one_process_count_for_themselves() {
    let (busy, idle) = (Endpoint::new(), Endpoint::new());
    busy.broadcast("t", "e", serde_json::json!({})).unwrap();
    for (endpoint, broadcasts) in [(&busy, 1), (&idle, 0)] {
        let metrics = prometheus::TextEncoder::new().encode_to_string(&endpoint.registry().gather()).unwrap();
        assert!(metrics.contains(&format!("hinotori_broadcasts_total {broadcasts}\n")), "{metrics}");
    }
}
