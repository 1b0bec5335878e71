//! The pages for operators: whether the server is alive, whether it accepts clients, and its metrics.

mod check;
#[cfg(feature = "metrics")]
mod metrics;

use std::sync::Arc;

use actix_web::{
    Handler, HttpResponse, HttpResponseBuilder, Resource,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    web::{self, ServiceConfig},
};

pub use check::Check;

use crate::node::Node;

const TEXT: &str = "text/plain; charset=utf-8";

/// Mounts `/healthz`, `/readyz` and, if there are metrics, `/metrics`.
pub(crate) fn configure(node: &Arc<Node>, checks: &Arc<[Check]>, config: &mut ServiceConfig) {
    let alive = async || answer(&mut HttpResponse::Ok(), TEXT, "ok\n".to_owned());
    let (of, checks) = (node.clone(), checks.clone());
    let ready = move || std::future::ready(ready(&of, &checks));
    config.service(at("/healthz", alive)).service(at("/readyz", ready));
    #[cfg(feature = "metrics")]
    metrics::configure(node, config);
}

fn at(path: &str, answer: impl Handler<(), Output = HttpResponse>) -> Resource {
    web::resource(path).route(web::get().to(answer.clone())).route(web::head().to(answer))
}

fn ready(node: &Node, checks: &[Check]) -> HttpResponse {
    // without the engine that all nodes share, each still serves its own clients: all of them stay ready
    let mut lines = node.cluster.as_ref().map(|cluster| cluster.status() + "\n").unwrap_or_default();
    let mut is_well = true;
    for (line, is_fine) in checks.iter().map(Check::ask) {
        lines += &line;
        is_well &= is_fine;
    }
    let (mut response, state) = match (node.connections.is_ready(), is_well) {
        (true, true) => (HttpResponse::Ok(), "ready"),
        (true, false) => (HttpResponse::ServiceUnavailable(), "not ready"),
        (false, _) => (HttpResponse::ServiceUnavailable(), "draining"),
    };
    answer(&mut response, TEXT, format!("{state}\n{lines}"))
}

fn answer(response: &mut HttpResponseBuilder, content_type: &str, body: String) -> HttpResponse {
    response.insert_header((CONTENT_TYPE, content_type)).insert_header((CACHE_CONTROL, "no-store")).body(body)
}
