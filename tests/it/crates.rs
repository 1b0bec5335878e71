//! The crates and what they depend on: what each may name, and what whoever adds the library has to compile.
//!
//! The compiler keeps the layers of `docs/ARCHITECTURE.md`, as each is a crate that cannot name what it does not depend on.
//! Left to test is what they depend on.

use std::{collections::BTreeSet, env, fs, path::Path, process::Command};

/// What compiles for a package and certain of its features, without its tests.
fn tree(package: &str, features: &[&str]) -> BTreeSet<String> {
    names(&[&["-p", package, "--edges", "normal,build"], features].concat())
}

fn names(arguments: &[&str]) -> BTreeSet<String> {
    let arguments = [&["--locked", "--offline"], arguments].concat();
    listed(Path::new(env!("CARGO_MANIFEST_DIR")), &arguments)
        .unwrap_or_else(|why| panic!("{arguments:?}: {why}"))
}

/// What `cargo tree` says in a folder, or why it says nothing.
fn listed(folder: &Path, arguments: &[&str]) -> Result<BTreeSet<String>, String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(folder)
        .args(["tree", "--prefix", "none", "--format", "{p}"])
        .args(arguments)
        .output()
        .unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let packages = String::from_utf8(output.stdout).unwrap();
    // one line each, such as `bytes v1.12.1` or `serde_derive v1.0.229 (proc-macro)`
    Ok(packages.lines().map(|line| line.split(" (").next().unwrap().to_owned()).collect())
}

/// What compiles for a project that has actix-web with all its default features, and these settings of the library.
/// Everything has the version of this workspace's lock file; what that does not have is taken as cargo finds it here, or
/// downloads it.
fn stranger(settings: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stranger");
    let root = env!("CARGO_MANIFEST_DIR");
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(folder.join("src/lib.rs"), "").unwrap();
    fs::copy(format!("{root}/Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let manifest = format!(
        "[package]\nname = \"stranger\"\nedition = \"2024\"\n[workspace]\n[dependencies]\nactix-web = \"4\"\n\
         hinotori = {{ path = {:?}{settings} }}\n",
        format!("{root}/crates/hinotori")
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    let edges = ["--edges", "normal,build"];
    let offline = listed(&folder, &[&edges[..], &["--offline"]].concat());
    offline.or_else(|_| listed(&folder, &edges)).unwrap_or_else(|why| panic!("{why}"))
}

/// Those of these that are in a tree, whatever their version; a name that ends in `*` stands for all that begin so.
fn among<'a>(tree: &BTreeSet<String>, wanted: &[&'a str]) -> Vec<&'a str> {
    let fits = |wanted: &str, package: &String| match wanted.strip_suffix('*') {
        Some(beginning) => package.starts_with(beginning),
        None => package.split(' ').next() == Some(wanted),
    };
    wanted.iter().copied().filter(|wanted| tree.iter().any(|package| fits(wanted, package))).collect()
}

#[test]
fn the_protocol_depends_on_no_runtime_no_network_and_no_log() {
    let tree = tree("hinotori-protocol", &["--all-features"]);
    let found =
        among(&tree, &["actix*", "tokio*", "futures*", "mio", "socket2", "log", "tracing*", "hinotori"]);
    assert!(found.is_empty(), "{found:?} in {tree:#?}");
    assert_eq!(among(&tree, &["bytes", "serde*"]), ["bytes", "serde*"], "{tree:#?}");
}

#[test]
fn the_programs_reach_the_protocol_through_the_library_alone() {
    for program in ["realtime-chat", "supabase-realtime", "hinotori-app"] {
        let direct = names(&["-p", program, "--edges", "normal,build", "--depth", "1"]);
        assert_eq!(among(&direct, &["hinotori", "hinotori-protocol"]), ["hinotori"], "{direct:#?}");
    }
}

#[test]
fn adding_the_library_compiles_no_more_crates_than_promised_and_nothing_of_the_program() {
    let promised = [(&[][..], 180), (&["--no-default-features"], 165)];
    for (features, most) in promised {
        let tree = tree("hinotori", features);
        assert!(tree.len() <= most, "{} crates, promised are {most}: {tree:#?}", tree.len());
        let found = among(
            &tree,
            &["clap*", "env_logger", "actix-files", "realtime-chat", "supabase-realtime", "jsonwebtoken"],
        );
        assert!(found.is_empty(), "{found:?} in {tree:#?}");
    }
}

#[test]
fn a_project_with_all_of_actix_web_compiles_no_more_crates_than_promised() {
    for (settings, most) in [("", 180), (", default-features = false", 165)] {
        let tree = stranger(settings);
        assert_eq!(
            among(&tree, &["stranger", "hinotori", "h2"]),
            ["stranger", "hinotori", "h2"],
            "{tree:#?}"
        );
        assert!(tree.len() <= most, "{} crates, promised are {most}: {tree:#?}", tree.len());
    }
}

#[test]
fn a_feature_that_is_off_leaves_its_crates_out() {
    let (tls, metrics) = (["actix-tls", "rustls", "ring"], ["prometheus", "thiserror"]);
    let both = tree("hinotori", &[]);
    assert_eq!((among(&both, &tls), among(&both, &metrics)), (tls.to_vec(), metrics.to_vec()));
    let without_metrics = tree("hinotori", &["--no-default-features", "--features", "tls"]);
    assert_eq!((among(&without_metrics, &tls), among(&without_metrics, &metrics)), (tls.to_vec(), vec![]));
    let without_tls = tree("hinotori", &["--no-default-features", "--features", "metrics"]);
    assert_eq!((among(&without_tls, &tls), among(&without_tls, &metrics)), (vec![], metrics.to_vec()));
    let neither = tree("hinotori", &["--no-default-features"]);
    assert_eq!((among(&neither, &tls), among(&neither, &metrics)), (vec![], vec![]));
    let testing = tree("hinotori", &["--no-default-features", "--features", "testing"]);
    assert_eq!(testing, neither, "`testing` adds no dependency");
    let with = |feature: &str| tree("hinotori", &["--no-default-features", "--features", feature]);
    assert_eq!(with("tracing"), neither, "actix-web has `tracing` already");
    for (feature, crates) in [("phoenix-token", &["pbkdf2"][..]), ("cookies", &["cookie"])] {
        assert_eq!((among(&with(feature), crates), among(&neither, crates)), (crates.to_vec(), vec![]));
    }
}
