//! The chat's page and its assets, as npm built them.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use actix_files::{Files, NamedFile};
use actix_web::{
    HttpRequest, HttpResponse, Responder,
    http::header::{self, CACHE_CONTROL},
    middleware::DefaultHeaders,
    web::{self, ServiceConfig},
};

/// The files that the page needs, in the folder that the build writes to.
const BUILT: [&str; 4] = ["index.html", "assets/app.js", "assets/page.js", "assets/app.css"];

/// Only the page's own files may run or be loaded. The hash is that of the template's `onsubmit="return false;"`.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self' 'unsafe-hashes' \
    'sha256-2rvfFrggTCtyF5WOiTri1gDS8Boibj4Njn0e+VCBmDI='; style-src 'self'; img-src 'self' data:; \
    font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The built page.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    folder: PathBuf,
}

/// A file that the page needs is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotBuilt {
    missing: PathBuf,
}

impl fmt::Display for NotBuilt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is missing: build the page with `make build` (or `npm ci && npm run build`), or say where it is with \
             --static-dir",
            self.missing.display()
        )
    }
}

impl std::error::Error for NotBuilt {}

impl Page {
    /// Loads the page from `folder`.
    ///
    /// # Errors
    /// [`NotBuilt`] with the first file that is missing.
    pub(crate) fn open(folder: &Path) -> Result<Self, NotBuilt> {
        match BUILT.map(|file| folder.join(file)).into_iter().find(|file| !file.is_file()) {
            Some(missing) => Err(NotBuilt { missing }),
            None => Ok(Self { folder: folder.to_owned() }),
        }
    }

    /// Serves `/` and `/assets/`, and 404 for any path without another route. Files have an ETag, and browsers check
    /// each time whether they have changed.
    pub(crate) fn configure(&self, config: &mut ServiceConfig) {
        let index = self.folder.join("index.html");
        let page = move |request: HttpRequest| serve_file(index.clone(), request);
        let root = web::resource("/").route(web::get().to(page.clone())).route(web::head().to(page));
        let assets = Files::new("/assets", self.folder.join("assets"));
        let nothing = web::to(async || HttpResponse::NotFound().body("Not Found"));
        config.service(web::scope("").wrap(headers()).service(root).service(assets).default_service(nothing));
    }
}

async fn serve_file(file: PathBuf, request: HttpRequest) -> HttpResponse {
    match NamedFile::open(&file) {
        Ok(file) => file.respond_to(&request),
        Err(error) => {
            log::error!("event=unreadable file={file:?} why={:?}", error.to_string());
            HttpResponse::InternalServerError().finish()
        }
    }
}

fn headers() -> DefaultHeaders {
    DefaultHeaders::new()
        .add((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .add((header::REFERRER_POLICY, "no-referrer"))
        .add((header::X_FRAME_OPTIONS, "DENY"))
        .add(("cross-origin-opener-policy", "same-origin"))
        .add(("permissions-policy", "camera=(), geolocation=(), microphone=()"))
        .add((CACHE_CONTROL, "no-cache"))
}
