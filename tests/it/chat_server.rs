//! The chat as a process.

use std::path::PathBuf;

use crate::{folder::Folder, server::Launch};

impl Launch {
    /// The chat, with a page of stub files.
    pub(crate) fn chat() -> Self {
        let page = stub_page();
        let folder = page.path().join("static").display().to_string();
        Self::program(PathBuf::from(env!("CARGO_BIN_EXE_realtime-chat"))).set("STATIC_DIR", folder).with(page)
    }
}

/// Just enough of a page for the server to start; `secret.txt` lies beside it and is nobody's business.
fn stub_page() -> Folder {
    let folder = Folder::new();
    folder.write(
        "static/index.html",
        "<!doctype html><title>stub page</title><script src=\"/assets/app.js\"></script>",
    );
    folder.write("static/assets/app.js", "console.log(\"stub app\");\n");
    folder.write("static/assets/page.js", "console.log(\"stub page\");\n");
    folder.write("static/assets/app.css", "body { color: black }\n");
    folder.write("static/assets/favicon.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>\n");
    folder.write("secret.txt", "not-for-visitors\n");
    folder
}
