//! The thread of the cluster, with the connection to the engine and the periodic work.

use std::{panic::AssertUnwindSafe, sync::Arc, thread, time::Duration};

use futures_util::FutureExt;
use hinotori_protocol::cluster::{Envelope, Kind};
use tokio::time::{sleep, timeout};

use super::{Cluster, Sink, Why, outward::Outward};
use crate::{callback::panic_text, telemetry::Quoted, wire::Payload};

/// How often the other nodes are judged.
const TICK: Duration = Duration::from_millis(250);

/// How long the last frames may take to reach the engine.
const FLUSH: Duration = Duration::from_secs(1);

/// Parts of a slice, of 64 KiB each, that are sent at a time.
const PARTS: usize = 16;

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
                () = answer(&cluster) => {}
                () = cluster.answer_requests() => {}
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

/// Sends slices to the nodes that ask for them, for ever: not more at a time than the queue has room for beside all else.
async fn answer(cluster: &Cluster) {
    loop {
        let (node, name) = cluster.askers.next().await;
        let Some(sliced) = cluster.slices.get(&name) else { continue };
        for parts in sliced.parts().chunks(PARTS) {
            for part in parts {
                let part = Outward::envelope(Kind::Part, &name, Payload::binary(part.encode()));
                cluster.outward.send(cluster.now(), Envelope { to: Some(node), ..part });
            }
            if timeout(FLUSH, cluster.adapter.flush()).await.is_err() {
                // it will ask again
                break;
            }
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
