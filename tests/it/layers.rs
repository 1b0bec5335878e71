//! The layers of `docs/ARCHITECTURE.md`: a module may name those of its own layer and of the layers below it in that
//! page's table, never one of a layer that is built on it.

use std::{fs, path::Path};

/// From the ground up. `socket/session.rs` is of the rules, whatever the rest of its folder is.
const LAYERS: [(&str, &[&str]); 6] = [
    ("wire", &["wire/"]),
    ("rules", &["socket/session.rs", "socket/session/", "socket/rate.rs", "presence/state.rs"]),
    ("runtime", &["pubsub/", "channel/", "socket/", "presence/", "telemetry/", "supervise.rs", "token.rs"]),
    ("edge", &["transport/", "endpoint.rs", "serve.rs", "drainer.rs", "ops.rs", "tls.rs", "testing.rs"]),
    ("application", &["chat/"]),
    ("program", &["main.rs", "health_check.rs", "server.rs", "settings.rs", "lib.rs"]),
];

/// Crates that a layer must not name, as it does no I/O.
const FOREIGN: [(&str, &[&str]); 2] = [
    ("wire", &["actix", "tokio", "std::time", "std::env", "std::net", "std::fs", "futures"]),
    ("rules", &["actix", "tokio", "std::time", "std::env", "std::net", "std::fs", "futures"]),
];

fn layer_of(path: &str) -> usize {
    let found =
        LAYERS.iter().position(|(_, paths)| paths.iter().any(|of| path == *of || path.starts_with(of)));
    found.unwrap_or_else(|| panic!("src/{path} is in no layer: add it to LAYERS"))
}

/// All Rust files of the product below `src`, as paths from there.
fn sources(folder: &Path, root: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            sources(&path, root, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        }
    }
}

/// The text of the product: without comments and unit tests.
fn product(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Modules named after `crate::`, alone or in a braced list.
fn named(code: &str) -> Vec<String> {
    let mut names = vec![];
    for rest in code.split("crate::").skip(1) {
        let list = match rest.strip_prefix('{') {
            Some(list) => top_level(list),
            None => vec![rest],
        };
        names.extend(list.iter().map(|item| {
            item.trim().split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap().to_owned()
        }));
    }
    names
}

/// The items of a braced list up to its end, without splitting lists within.
fn top_level(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0, 0, vec![]);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&list[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items
}

/// The layer of a module at the crate's root; none for items, which are re-exports of the public API.
fn layer_of_name(name: &str, from: &str) -> Option<usize> {
    let is_module = name.chars().next().is_some_and(char::is_lowercase);
    (is_module && name != "tests").then(|| {
        let (folder, file) = (format!("{name}/"), format!("{name}.rs"));
        LAYERS
            .iter()
            .position(|(_, paths)| paths.contains(&&*folder) || paths.contains(&&*file))
            .unwrap_or_else(|| panic!("{from} names crate::{name}, which is in no layer"))
    })
}

fn upward_edges(path: &str, code: &str) -> Vec<String> {
    let own = layer_of(path);
    let mut edges = vec![];
    for name in named(code) {
        if let Some(layer) = layer_of_name(&name, path).filter(|layer| *layer > own) {
            edges.push(format!("src/{path} ({}) names crate::{name} ({})", LAYERS[own].0, LAYERS[layer].0));
        }
    }
    for (layer, crates) in FOREIGN {
        let foreign = crates.iter().filter(|foreign| LAYERS[own].0 == layer && code.contains(*foreign));
        edges.extend(foreign.map(|foreign| format!("src/{path} ({layer}) names {foreign}")));
    }
    if LAYERS[own].0 == "rules" && code.contains("super::") {
        edges.push(format!("src/{path} (rules) names its folder's runtime by super::"));
    }
    edges
}

#[test]
fn no_module_names_one_of_a_layer_above_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = vec![];
    sources(&root, &root, &mut paths);
    assert!(paths.len() > 20, "found only {paths:?}");
    let edges: Vec<String> = paths
        .iter()
        .flat_map(|path| upward_edges(path, &product(&fs::read_to_string(root.join(path)).unwrap())))
        .collect();
    assert!(edges.is_empty(), "{}", edges.join("\n"));
}

#[test]
fn the_chat_names_the_public_api_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = vec![];
    sources(&root.join("chat"), &root, &mut paths);
    for path in paths {
        let code = product(&fs::read_to_string(root.join(&path)).unwrap());
        let private = named(&code).into_iter().find(|name| {
            ["wire", "socket", "channel", "pubsub", "transport", "endpoint", "presence", "telemetry", "token"]
                .contains(&&**name)
        });
        assert_eq!(private, None, "src/{path}");
    }
}

#[test]
fn an_upward_use_is_found_in_any_form() {
    assert_eq!(upward_edges("wire/v2.rs", "use crate::socket::Connection;").len(), 1);
    assert_eq!(upward_edges("pubsub/mod.rs", "use crate::{wire::{A, B}, transport::Mount};").len(), 1);
    assert_eq!(upward_edges("socket/session.rs", "use tokio::time;").len(), 1);
    assert_eq!(upward_edges("socket/session.rs", "use crate::socket::Connection;").len(), 1);
    assert_eq!(upward_edges("presence/state.rs", "use super::Tracker;").len(), 1);
    assert_eq!(upward_edges("channel/actor.rs", "fn f() { crate::chat::x() }").len(), 1);
    assert!(upward_edges("endpoint.rs", "use crate::{pubsub::PubSub, wire::Payload, Channel};").is_empty());
}
