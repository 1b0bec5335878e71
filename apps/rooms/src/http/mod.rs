//! What goes over HTTP: sessions, pictures, the page.

mod cookie;
mod guard;
mod page;
mod pictures;
mod session;

use actix_web::{
    middleware::from_fn,
    web::{self, JsonConfig, ServiceConfig},
};

pub use page::{NotBuilt, Page};

use crate::failure::Failure;

/// Bytes of a name and a password as JSON.
const BODY_MAX: usize = 8 * 1024;

/// The routes of the application.
pub fn configure(config: &mut ServiceConfig) {
    let json = JsonConfig::default().limit(BODY_MAX).error_handler(|_, _| Failure::Invalid("body").into());
    let api = web::scope("/api")
        .wrap(from_fn(guard::guard))
        .app_data(json)
        .route("/sign-up", web::post().to(session::sign_up))
        .route("/login", web::post().to(session::login))
        .route("/logout", web::post().to(session::logout))
        .route("/session", web::get().to(session::get))
        .route("/pictures", web::post().to(pictures::upload));
    config.service(api).route("/pictures/{id}", web::get().to(pictures::get));
}
