//! The pages for operators: whether the server is alive, whether it accepts clients, and its metrics.

#[cfg(feature = "metrics")]
mod metrics;

use std::sync::Arc;

use actix_web::{
    Handler, HttpResponse, HttpResponseBuilder, Resource,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    web::{self, ServiceConfig},
};

use crate::node::Node;

const TEXT: &str = "text/plain; charset=utf-8";

/// Mounts `/healthz`, `/readyz` and, if there are metrics, `/metrics`.
pub(crate) fn configure(node: &Arc<Node>, config: &mut ServiceConfig) {
    let alive = async || answer(&mut HttpResponse::Ok(), TEXT, "ok\n".to_owned());
    let of = node.clone();
    let ready = move || std::future::ready(ready(&of));
    config.service(at("/healthz", alive)).service(at("/readyz", ready));
    #[cfg(feature = "metrics")]
    metrics::configure(node, config);
}

fn at(path: &str, answer: impl Handler<(), Output = HttpResponse>) -> Resource {
    web::resource(path).route(web::get().to(answer.clone())).route(web::head().to(answer))
}

fn ready(node: &Node) -> HttpResponse {
    // without the engine that all nodes share, each still serves its own clients: all of them stay ready
    let cluster = node.cluster.as_ref().map(|cluster| cluster.status() + "\n").unwrap_or_default();
    if node.connections.is_ready() {
        answer(&mut HttpResponse::Ok(), TEXT, format!("ready\n{cluster}"))
    } else {
        answer(&mut HttpResponse::ServiceUnavailable(), TEXT, format!("draining\n{cluster}"))
    }
}

fn answer(response: &mut HttpResponseBuilder, content_type: &str, body: String) -> HttpResponse {
    response.insert_header((CONTENT_TYPE, content_type)).insert_header((CACHE_CONTROL, "no-store")).body(body)
}
