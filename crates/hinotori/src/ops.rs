//! What an operator asks of a server: whether it lives, whether it takes clients, and its metrics.

use actix_web::{
    Handler, HttpResponse, HttpResponseBuilder, Resource,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    web::{self, ServiceConfig},
};
use prometheus::TextEncoder;

use crate::{pubsub::PubSub, telemetry::Quoted};

/// Prometheus' text format, in which help texts and labels are UTF-8.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

const TEXT: &str = "text/plain; charset=utf-8";

/// Mounts `/healthz`, `/readyz` and `/metrics`.
pub(crate) fn configure(pubsub: &PubSub, config: &mut ServiceConfig) {
    let alive = async || answer(&mut HttpResponse::Ok(), TEXT, "ok\n".to_owned());
    let of = pubsub.clone();
    let ready = move || std::future::ready(ready(&of));
    let of = pubsub.clone();
    let metrics = move || metrics(of.clone());
    config.service(at("/healthz", alive)).service(at("/readyz", ready)).service(at("/metrics", metrics));
}

fn at(path: &str, answer: impl Handler<(), Output = HttpResponse>) -> Resource {
    web::resource(path).route(web::get().to(answer.clone())).route(web::head().to(answer))
}

fn ready(pubsub: &PubSub) -> HttpResponse {
    if pubsub.is_ready() {
        answer(&mut HttpResponse::Ok(), TEXT, "ready\n".to_owned())
    } else {
        answer(&mut HttpResponse::ServiceUnavailable(), TEXT, "draining\n".to_owned())
    }
}

/// All metrics. They are gathered on a thread beside the workers: the process's own are read from files.
async fn metrics(pubsub: PubSub) -> HttpResponse {
    let gathered = web::block(move || {
        TextEncoder::new()
            .encode_to_string(&pubsub.telemetry().registry().gather())
            .map_err(|e| e.to_string())
    });
    match gathered.await.map_err(|error| error.to_string()).and_then(|metrics| metrics) {
        Ok(metrics) => answer(&mut HttpResponse::Ok(), METRICS, metrics),
        Err(why) => {
            log::error!("event=no_metrics why={}", Quoted(&why));
            HttpResponse::InternalServerError().finish()
        }
    }
}

fn answer(response: &mut HttpResponseBuilder, content_type: &str, body: String) -> HttpResponse {
    response.insert_header((CONTENT_TYPE, content_type)).insert_header((CACHE_CONTROL, "no-store")).body(body)
}
