//! What the program is deployed with: the image, the unit of systemd. nginx and the compose file of three nodes have tests of
//! their own.

use std::{env, path::Path, process::Command};

use crate::{
    folder::Folder,
    server::{Launch, Outcome},
};

const IMAGE: &str = include_str!("../../Dockerfile");
const IGNORED: &str = include_str!("../../.dockerignore");
const MAKEFILE: &str = include_str!("../../Makefile");
const COMPOSE: &str = include_str!("../../deploy/compose.single.yaml");
const UNIT: &str = include_str!("../../deploy/realtime-chat.service");

/// What the lines of a file that begin with `keyword` say behind it.
fn lines<'a>(text: &'a str, keyword: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.trim().strip_prefix(keyword)).map(str::trim).collect()
}

/// The one line of the image that begins with `keyword`.
pub(crate) fn line(keyword: &str) -> &'static str {
    let found = lines(IMAGE, keyword);
    assert_eq!(found.len(), 1, "{keyword}: {found:?}");
    found[0]
}

/// What the image sets, and what is done with it.
pub(crate) fn variables() -> Vec<(&'static str, &'static str)> {
    line("ENV ").split(' ').map(|variable| variable.split_once('=').unwrap()).collect()
}

/// The program in the image.
pub(crate) fn entry() -> String {
    let entry: Vec<String> = serde_json::from_str(line("ENTRYPOINT ")).unwrap();
    entry.into_iter().next().unwrap()
}

fn health_check(variables: &[(&'static str, String)]) -> Outcome {
    let arguments: Vec<String> = serde_json::from_str(line("CMD ")).unwrap();
    assert_eq!(entry(), arguments[0], "the health check is another program");
    let arguments: Vec<&str> = arguments[1..].iter().map(String::as_str).collect();
    let launch = Launch::chat().arguments(&arguments);
    variables.iter().fold(launch, |launch, (name, value)| launch.set(name, value)).run()
}

#[test]
fn all_that_the_image_copies_is_there_and_let_in() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let let_in = lines(IGNORED, "!");
    assert!(lines(IGNORED, "*").len() == 1, "the list of what is let in is not the whole list");
    let (from_stages, from_here): (Vec<_>, Vec<_>) =
        lines(IMAGE, "COPY ").into_iter().partition(|copy| copy.starts_with("--from="));
    let mut sources: Vec<&str> =
        from_here.iter().flat_map(|copy| copy.rsplit_once(' ').unwrap().0.split(' ')).collect();
    for source in &sources {
        assert!(root.join(source).exists(), "{source} is not there");
    }
    sources.sort_unstable();
    let mut let_in = let_in;
    let_in.sort_unstable();
    assert_eq!(sources, let_in);
    for copy in from_stages {
        let stage = copy.split_once(' ').unwrap().0.trim_start_matches("--from=");
        assert!(IMAGE.contains(&format!(" AS {stage}\n")), "no stage {stage}");
    }
}

#[test]
fn the_image_is_built_by_the_commands_of_the_makefile() {
    let commands = lines(IMAGE, "RUN ");
    for command in &commands {
        assert!(MAKEFILE.lines().any(|line| line.trim() == *command), "{command} is not in the Makefile");
    }
    assert_eq!(commands.len(), 3);
}

#[test]
fn cargo_finds_all_that_it_needs_in_what_the_image_copies() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let stage =
        IMAGE.split("FROM ").find(|stage| stage.lines().next().unwrap().ends_with(" AS server")).unwrap();
    let folder = Folder::new();
    for copy in lines(stage, "COPY ") {
        let sources = copy.rsplit_once(' ').unwrap().0.split(' ').map(|source| root.join(source));
        let copied = Command::new("cp").arg("-r").args(sources).arg(folder.path()).status().unwrap();
        assert!(copied.success(), "{copy}");
    }
    // it searches for targets whose paths are not given, and refuses the whole package if one is not there
    let tree = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["tree", "--locked", "--offline", "--quiet"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
}

#[test]
fn the_image_is_of_a_rust_that_builds_this_package() {
    let rust = lines(IMAGE, "FROM rust:")[0].split('-').next().unwrap();
    let needed = lines(include_str!("../../Cargo.toml"), "rust-version = ")[0].trim_matches('"');
    let parts = |version: &str| version.split('.').map(|n| n.parse::<u32>().unwrap()).collect::<Vec<_>>();
    assert!(parts(rust) >= parts(needed), "{rust} is older than {needed}");
}

#[test]
fn the_health_check_of_the_image_says_yes_to_its_server_and_no_to_any_other() {
    let [server, other] = [Launch::chat(), Launch::example("echo")].map(Launch::start);
    let at = |port: u16| {
        let set = variables().into_iter().map(|(name, value)| match name {
            "OPS_LISTEN" => (name, format!("0.0.0.0:{port}")),
            _ => (name, value.to_owned()),
        });
        health_check(&set.collect::<Vec<_>>())
    };
    let healthy = at(server.port);
    assert!(healthy.status.success(), "{}", healthy.stderr);
    assert!(healthy.stdout.is_empty() && healthy.stderr.is_empty(), "{}", healthy.stderr);
    // one that has no such path
    let wrong = at(other.port);
    assert!(wrong.status.code() == Some(1) && wrong.stderr.contains("answered"), "{}", wrong.stderr);
    drop(server);
    let gone = at(1);
    assert!(gone.status.code() == Some(1) && gone.stderr.contains("127.0.0.1:1"), "{}", gone.stderr);
}

#[test]
fn a_health_check_asks_where_clients_are_served_unless_that_is_tls() {
    let server = Launch::chat().start();
    let check = |launch: Launch| launch.set("PORT", server.port).arguments(&["--health-check"]).run();
    assert!(check(Launch::chat()).status.success());
    let tls = check(Launch::chat().set("TLS_CERT", "cert.pem").set("TLS_KEY", "key.pem"));
    assert!(tls.status.code() == Some(1) && tls.stderr.contains("--ops-listen"), "{}", tls.stderr);
}

/// Whether the help has a variable, with its value or without, as it may have a password.
pub(crate) fn is_setting(help: &str, name: &str) -> bool {
    ["=", "]"].iter().any(|end| help.contains(&format!("[env: {name}{end}")))
}

#[test]
fn the_image_sets_only_what_the_program_knows() {
    let help = Launch::chat().arguments(&["--help"]).run().stdout;
    for (name, _) in variables() {
        assert!(is_setting(&help, name), "{name} is no setting");
    }
}

/// The default of a setting that is a number.
pub(crate) fn default(help: &str, variable: &str) -> u64 {
    let behind = help.split_once(&format!("[env: {variable}=]")).unwrap().1;
    behind.split_once("[default: ").unwrap().1.split_once(']').unwrap().0.parse().unwrap()
}

/// The unit as systemd would start it here.
fn unit() -> String {
    UNIT.replace("/opt/realtime-chat/realtime-chat\n", concat!(env!("CARGO_BIN_EXE_realtime-chat"), "\n"))
}

/// What `systemd-analyze` says of the unit; it must be content.
fn analyze(arguments: &[&str]) -> String {
    let folder = Folder::new();
    folder.write("realtime-chat.service", &unit());
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .arg(folder.path().join("realtime-chat.service"))
        .output()
        .unwrap_or_else(|error| panic!("cannot run systemd-analyze: {error}; `make test` installs it"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stdout));
    said
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    assert_eq!(analyze(&["verify", "--man=no"]), "");
}

#[test]
fn the_unit_leaves_the_service_little_that_it_could_do_to_the_machine() {
    // of 100; a service without any such setting has 96
    analyze(&["security", "--offline=true", "--no-pager", "--threshold=16"]);
}

#[test]
fn systemd_waits_longer_than_a_drain_may_take() {
    let number = |text: &str| text.trim().parse::<u64>().unwrap();
    let help = Launch::chat().arguments(&["--help"]).run().stdout;
    let drain = default(&help, "DRAIN_GRACE") + default(&help, "DRAIN_DEADLINE");
    assert!(1_000 * number(lines(UNIT, "TimeoutStopSec=")[0]) > drain + 10_000, "{drain} ms");
}

#[test]
fn the_unit_sets_only_what_the_program_knows_and_stores_messages_where_it_may_write() {
    let help = Launch::chat().arguments(&["--help"]).run().stdout;
    let settings: Vec<(&str, &str)> = lines(UNIT, "Environment=")
        .into_iter()
        .flat_map(|line| line.split(' '))
        .map(|setting| setting.split_once('=').unwrap())
        .collect();
    for (name, _) in &settings {
        assert!(is_setting(&help, name), "{name} is no setting");
    }
    let (_, store) = settings.iter().find(|(name, _)| *name == "STORE").unwrap();
    let folder = lines(UNIT, "StateDirectory=")[0];
    assert!(store.starts_with(&format!("sqlite:/var/lib/{folder}/")), "{store} is not in {folder}");
}

#[test]
fn the_image_stores_messages_on_its_volume_and_compose_gives_it_one() {
    let (_, store) = variables().into_iter().find(|(name, _)| *name == "STORE").unwrap();
    let volume = line("VOLUME ");
    assert!(store.starts_with(&format!("sqlite:{volume}/")), "{store} is not in {volume}");
    // the home of the user that it runs as, in an image of that user
    assert!(IMAGE.contains(":nonroot\n") && volume == "/home/nonroot");
    let mounted: Vec<&str> = lines(COMPOSE, "- ")
        .into_iter()
        .filter_map(|mount| mount.split_once(':'))
        .filter(|(_, at)| *at == volume)
        .map(|(name, _)| name)
        .collect();
    assert_eq!(mounted.len(), 1, "{COMPOSE}");
    assert!(COMPOSE.split_once("\nvolumes:\n").unwrap().1.contains(&format!("  {}:", mounted[0])));
    let published = lines(COMPOSE, "- \"")[0];
    let port = variables().into_iter().find(|(name, _)| *name == "PORT").unwrap().1;
    assert_eq!(published, format!("{port}:{port}\""));
}
