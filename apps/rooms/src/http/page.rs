//! The page, as Vite built it.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use actix_files::NamedFile;
use actix_web::{
    HttpRequest, HttpResponse, Responder,
    http::header::{self, CACHE_CONTROL, ContentEncoding, HeaderValue},
    middleware::DefaultHeaders,
    web::{self, ServiceConfig},
};

/// Only the page's own files may run or be loaded, and pictures that are about to be uploaded be shown.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The built page.
#[derive(Debug, Clone)]
pub struct Page {
    folder: PathBuf,
}

/// The page is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotBuilt(PathBuf);

impl fmt::Display for NotBuilt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing = self.0.display();
        write!(
            f,
            "{missing} is missing: build the page with `make rooms`, or say where it is with --static-dir"
        )
    }
}

impl std::error::Error for NotBuilt {}

impl Page {
    /// The page of a folder.
    ///
    /// # Errors
    /// [`NotBuilt`] if there is no `index.html` in it.
    pub fn open(folder: &Path) -> Result<Self, NotBuilt> {
        let index = folder.join("index.html");
        let folder = index.canonicalize().ok().and_then(|index| Some(index.parent()?.to_owned()));
        Ok(Self { folder: folder.ok_or(NotBuilt(index))? })
    }

    /// Serves the folder: `index.html` for `/`, and 404 for what is not there.
    pub fn configure(&self, config: &mut ServiceConfig) {
        let page = self.clone();
        let file = move |request: HttpRequest| {
            let page = page.clone();
            async move { page.serve(&request) }
        };
        let all = web::resource("/{file:.*}").route(web::get().to(file.clone())).route(web::head().to(file));
        config.service(web::scope("").wrap(headers()).service(all));
    }

    fn serve(&self, request: &HttpRequest) -> HttpResponse {
        let name = match request.match_info().query("file") {
            "" => "index.html",
            name => name,
        };
        let Some(path) = self.path(name) else { return HttpResponse::NotFound().body("Not Found") };
        let (path, encoding) = compressed(&path, request);
        // by the name without the ending of its compression
        let content_type = actix_files::file_extension_to_mime(
            Path::new(name).extension().and_then(|extension| extension.to_str()).unwrap_or_default(),
        );
        let Ok(file) = NamedFile::open(path) else {
            return HttpResponse::NotFound().body("Not Found");
        };
        let mut file = file.set_content_type(content_type);
        if let Some(encoding) = encoding {
            file = file.set_content_encoding(encoding);
        }
        let mut response = file.respond_to(request);
        let headers = response.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        // Vite names these by their content
        let kept =
            if name.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(kept));
        response
    }

    /// The path of a file in the folder; none for what leads out of it.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let path = self.folder.join(name).canonicalize().ok()?;
        Some(path).filter(|path| path.starts_with(&self.folder) && path.is_file())
    }
}

/// The compressed file beside one, if there is such a file and the client takes it.
fn compressed(path: &Path, request: &HttpRequest) -> (PathBuf, Option<ContentEncoding>) {
    let accepted = request.headers().get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let accepts = |name| accepted.is_some_and(|list| list.split(',').any(|part| part.trim() == name));
    for (name, ending, encoding) in
        [("br", "br", ContentEncoding::Brotli), ("gzip", "gz", ContentEncoding::Gzip)]
    {
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{ending}"));
        let beside = PathBuf::from(beside);
        if accepts(name) && beside.is_file() {
            return (beside, Some(encoding));
        }
    }
    (path.to_owned(), None)
}

fn headers() -> DefaultHeaders {
    DefaultHeaders::new()
        .add((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .add((header::REFERRER_POLICY, "no-referrer"))
        .add((header::X_FRAME_OPTIONS, "DENY"))
        .add(("cross-origin-opener-policy", "same-origin"))
        .add(("cross-origin-resource-policy", "same-origin"))
        .add(("permissions-policy", "camera=(), geolocation=(), microphone=()"))
}
