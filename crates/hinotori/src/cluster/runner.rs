//! The thread of the cluster, with the connection to the engine and the periodic work.

use std::{panic::AssertUnwindSafe, sync::Arc, thread, time::Duration};

use futures_util::FutureExt;
use hinotori_protocol::cluster::Kind;
use tokio::time::{sleep, timeout};

use super::{Cluster, Sink, Why, outward::Outward};
use crate::{callback::panic_text, telemetry::Quoted, wire::Payload};

/// How often the other nodes are judged.
const TICK: Duration = Duration::from_millis(250);

/// How long the last frames may take to reach the engine.
const FLUSH: Duration = Duration::from_secs(1);

/// Until an adapter that has ended is started again.
const AGAIN: Duration = Duration::from_secs(1);

pub(super) fn start(cluster: Arc<Cluster>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap_or_else(|error| panic!("the system has no event queue for the cluster: {error}"));
    let running = move || {
        runtime.block_on(async {
            tokio::select! {
                () = connect(&cluster) => {}
                () = work(&cluster) => {}
                () = end(&cluster) => {}
            }
        });
        cluster.outward.set_up(false);
        cluster.has_ended.send_replace(true);
    };
    thread::Builder::new()
        .name("cluster".to_owned())
        .spawn(running)
        .unwrap_or_else(|error| panic!("the system has no thread for the cluster: {error}"));
}

/// Runs the adapter, for ever.
async fn connect(cluster: &Arc<Cluster>) {
    loop {
        let engine = cluster.adapter.clone().run(cluster.me.clone(), cluster.clone());
        let why = match AssertUnwindSafe(engine).catch_unwind().await {
            Ok(()) => "the adapter has ended".to_owned(),
            Err(panic) => format!("the adapter panicked: {}", panic_text(&*panic)),
        };
        log::error!("event=cluster step=crashed why={}", Quoted(&why));
        cluster.down(Why::Lost(why));
        sleep(AGAIN / cluster.speed).await;
    }
}

/// Does what is due, for ever.
async fn work(cluster: &Cluster) {
    loop {
        let due = cluster.work().saturating_sub(cluster.now()).min(TICK);
        tokio::select! {
            () = sleep(due / cluster.speed) => {}
            () = cluster.sooner.notified() => {}
        }
    }
}

/// Until the server ends. Then tells the others.
async fn end(cluster: &Cluster) {
    let mut is_ending = cluster.is_ending.subscribe();
    // the sender is in the cluster
    let _ = is_ending.wait_for(|is_ending| *is_ending).await;
    let bye = Outward::envelope(Kind::Bye, &cluster.me.name, Payload::binary(bytes::Bytes::new()));
    cluster.outward.send(cluster.now(), bye);
    if timeout(FLUSH, cluster.adapter.flush()).await.is_err() {
        log::warn!("event=cluster step=end why=\"the other nodes could not be told\"");
    }
}
