//! The page that Prometheus scrapes.

use std::sync::Arc;

use actix_web::{
    HttpResponse,
    web::{self, ServiceConfig},
};
use prometheus::TextEncoder;

use super::{answer, at};
use crate::{node::Node, telemetry::Quoted};

/// The Prometheus text format, in which help texts and labels are UTF-8.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Mounts `/metrics`.
pub(super) fn configure(node: &Arc<Node>, config: &mut ServiceConfig) {
    let of = node.clone();
    config.service(at("/metrics", move || metrics(of.clone())));
}

/// All metrics. They are collected on a thread outside the workers, because those of the process are read from files.
async fn metrics(node: Arc<Node>) -> HttpResponse {
    let gathered = web::block(move || {
        TextEncoder::new().encode_to_string(&node.telemetry.registry().gather()).map_err(|e| e.to_string())
    });
    match gathered.await.map_err(|error| error.to_string()).and_then(|metrics| metrics) {
        Ok(metrics) => answer(&mut HttpResponse::Ok(), FORMAT, metrics),
        Err(why) => {
            log::error!("event=no_metrics why={}", Quoted(&why));
            HttpResponse::InternalServerError().finish()
        }
    }
}
