//! Broadcasts by HTTP: what a client sends before it has joined, and what servers send.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `POST /api/broadcast` | `{"messages":[{"topic","event","payload","private"?,"id"?}]}` | 202 |
//! | `POST /api/broadcast/<topic>/events/<event>`, with `?private=true` for a private channel | JSON or bytes | 202 |
//!
//! Both also below `/realtime/v1`. A topic is the name of a channel, without `realtime:`. Pages of any origin may ask.

mod batch;
mod caller;
mod problem;
mod publish;
mod single;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderValue},
    middleware::DefaultHeaders,
    web::{self, PayloadConfig, ServiceConfig},
};

/// The two addresses, each with and without the gateway's prefix.
const PREFIXES: [&str; 2] = ["", "/realtime/v1"];

/// Adds the routes. Bodies have at most so many bytes.
pub(super) fn configure(config: &mut ServiceConfig, max_body: usize) {
    for prefix in PREFIXES {
        let resource = |path: &str| {
            let resource = web::resource(format!("{prefix}{path}")).app_data(PayloadConfig::new(max_body));
            resource.route(web::method(actix_web::http::Method::OPTIONS).to(preflight))
        };
        let any_origin = || DefaultHeaders::new().add((header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"));
        config
            .service(resource("/api/broadcast").route(web::post().to(batch::broadcast)).wrap(any_origin()))
            .service(
                resource("/api/broadcast/{topic}/events/{event}")
                    .route(web::post().to(single::broadcast))
                    .wrap(any_origin()),
            );
    }
}

/// Lets a page send what it asks for: its key is in headers that need a permission.
async fn preflight(request: HttpRequest) -> HttpResponse {
    let wanted = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let allowed = wanted.cloned().unwrap_or(HeaderValue::from_static("authorization, apikey, content-type"));
    HttpResponse::NoContent()
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "POST, OPTIONS"))
        .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, allowed))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, "86400"))
        .finish()
}
