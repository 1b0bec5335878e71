//! Settings hold for every clone; endpoints of one process have nothing in common.

use std::time::Duration;

use crate::{Drainer, Endpoint, node::Node};

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
