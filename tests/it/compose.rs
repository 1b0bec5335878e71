//! `deploy/compose.yaml`: three nodes, PostgreSQL, Redis, and nginx in front. Docker is not needed: the file is checked
//! against the program, its image and nginx's configuration, and its nodes are started with its settings.

use std::{
    io::Write,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    PATIENCE,
    deploy::{default, entry, is_setting, line, variables},
    guest::Guest,
    instance::{Database, Instance},
    metrics::comes_to,
    nginx::{self, Nginx},
    redis_instance,
    server::{Launch, Server, VARIABLES},
};

const COMPOSE: &str = include_str!("../../deploy/compose.yaml");
const PASSWORDS: &str = include_str!("../../deploy/.env.example");

const POLL: Duration = Duration::from_millis(5);

/// The file, with what its services have in common in each of them.
fn compose() -> Value {
    let mut file: serde_yaml_ng::Value = serde_yaml_ng::from_str(COMPOSE).unwrap();
    file.apply_merge().unwrap();
    serde_json::to_value(file).unwrap()
}

fn services(compose: &Value) -> impl Iterator<Item = (&str, &Value)> {
    compose["services"].as_object().unwrap().iter().map(|(name, service)| (&**name, service))
}

/// The services that are built from the Dockerfile.
fn nodes(compose: &Value) -> Vec<(&str, &Value)> {
    services(compose).filter(|(_, service)| service["build"].is_string()).collect()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|text| text.as_str().unwrap()).collect()
}

fn address(service: &Value) -> &str {
    service["networks"]["chat"]["ipv4_address"].as_str().unwrap()
}

/// A setting of a node, which may be a number.
fn setting(node: &Value, name: &str) -> String {
    let value = &node["environment"][name];
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[test]
fn no_service_of_compose_runs_as_root_or_may_do_more_than_it_needs() {
    let compose = compose();
    for (name, service) in services(&compose) {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(texts(&service["security_opt"]), ["no-new-privileges"], "{name}");
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        match service["user"].as_str() {
            Some(user) => assert!(!user.starts_with('0') && user != "root", "{name}"),
            // the image is of another user
            None => assert!(service["build"].is_string() && line("FROM gcr.io/").ends_with(":nonroot")),
        }
    }
}

#[test]
fn compose_names_only_what_there_is() {
    let (compose, folder) = (compose(), Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy")));
    for (name, service) in services(&compose) {
        for (needed, how) in service["depends_on"].as_object().into_iter().flatten() {
            assert_eq!(how["condition"], "service_healthy", "{name}");
            assert!(compose["services"][needed]["healthcheck"]["test"].is_array(), "{name}: {needed}");
        }
        for mount in texts(&service["volumes"]) {
            let (source, _) = mount.split_once(':').unwrap();
            let is_there = if source.starts_with('.') {
                folder.join(source).exists()
            } else {
                compose["volumes"].as_object().unwrap().contains_key(source)
            };
            assert!(is_there, "{name}: {mount}");
        }
        if let Some(context) = service["build"].as_str() {
            assert!(folder.join(context).join("Dockerfile").exists());
        }
    }
    for variable in COMPOSE.split("${").skip(1).map(|rest| rest.split(':').next().unwrap()) {
        assert!(PASSWORDS.contains(&format!("\n{variable}=\n")), "{variable} is not in .env.example");
    }
    assert!(include_str!("../../.gitignore").contains("deploy/.env\n"));
}

#[test]
fn the_nodes_of_compose_have_settings_that_the_program_knows_and_names_of_their_own() {
    let (compose, help) = (compose(), Launch::chat().arguments(&["--help"]).run().stdout);
    let nodes = nodes(&compose);
    assert_eq!(nodes.len(), 3);
    for (name, node) in &nodes {
        for setting in node["environment"].as_object().unwrap().keys() {
            assert!(is_setting(&help, setting), "{setting} is no setting");
        }
        assert_eq!(setting(node, "NODE_NAME"), *name);
        // the hosts of their addresses are services, at the ports where they listen by themselves
        let host = |setting_name| setting(node, setting_name).rsplit_once('@').unwrap().1.to_owned();
        assert_eq!((&*host("STORE"), &*host("CLUSTER")), ("postgres/chat", "redis:6379"));
        let needs = node["depends_on"].as_object().unwrap();
        assert!(needs.contains_key("postgres") && needs.contains_key("redis"));
        let grace = node["stop_grace_period"].as_str().unwrap().trim_end_matches('s').parse::<u64>().unwrap();
        assert!(1_000 * grace > default(&help, "DRAIN_GRACE") + default(&help, "DRAIN_DEADLINE") + 10_000);
    }
    let postgres = &compose["services"]["postgres"];
    assert_eq!(
        (&postgres["environment"]["POSTGRES_DB"], &postgres["environment"]["POSTGRES_USER"]),
        (&Value::from("chat"), &Value::from("chat"))
    );
    let password = |text: &str| text.split("${").nth(1).unwrap().split('}').next().unwrap().to_owned();
    let store = setting(nodes[0].1, "STORE");
    assert!(store.starts_with("postgres://chat:${"));
    assert_eq!(password(&store), password(&setting(postgres, "POSTGRES_PASSWORD")));
    let cluster = setting(nodes[0].1, "CLUSTER");
    assert_eq!(password(&cluster), password(&setting(&compose["services"]["redis"], "REDIS_PASSWORD")));
}

#[test]
fn nginx_of_compose_reaches_its_nodes_and_the_nodes_trust_it_alone() {
    let (compose, nginx) = (compose(), &compose()["services"]["nginx"]);
    let port = variables().into_iter().find(|(name, _)| *name == "PORT").unwrap().1;
    let nodes = nodes(&compose);
    let upstream: Vec<String> = nodes.iter().map(|(name, _)| format!("{name}:{port}")).collect();
    assert_eq!(upstream, nginx::NODES);
    let hosts: Vec<String> = nodes.iter().map(|(name, node)| format!("{name}:{}", address(node))).collect();
    assert_eq!(texts(&nginx["extra_hosts"]), hosts);
    let needed: Vec<&String> = nginx["depends_on"].as_object().unwrap().keys().collect();
    assert_eq!(needed, nodes.iter().map(|(name, _)| name).collect::<Vec<_>>());
    assert!(nodes.iter().all(|(_, node)| setting(node, "TRUSTED_PROXIES") == address(nginx)));
    let subnet = compose["networks"]["chat"]["ipam"]["config"][0]["subnet"].as_str().unwrap();
    let within = |address: &str| address.parse::<Ipv4Addr>().unwrap().octets()[..3].to_vec();
    let subnet = subnet.strip_suffix("/24").unwrap();
    assert!(nodes.iter().all(|(_, node)| within(address(node)) == within(subnet)));
    assert_eq!(within(address(nginx)), within(subnet));
    // the port that is published, and the file, are those of the configuration
    let (_, inside) = texts(&nginx["ports"])[0].split_once(':').unwrap();
    assert!(nginx::CONFIG.contains(&format!("listen {inside};")));
    assert!(texts(&nginx["volumes"]).contains(&"./nginx.conf:/etc/nginx/nginx.conf:ro"));
    // it can write where the configuration says
    let writable: Vec<&str> = texts(&nginx["tmpfs"]);
    for path in ["/run/nginx.pid", "/var/lib/nginx/body"] {
        assert!(nginx::CONFIG.contains(path) && writable.iter().any(|folder| path.starts_with(folder)));
    }
}

#[test]
fn the_health_check_of_a_node_tells_whether_it_is_ready() {
    let compose = compose();
    let check = texts(&nodes(&compose)[0].1["healthcheck"]["test"]);
    assert_eq!((check[0], check[1]), ("CMD", &*entry()));
    let is_ready = |port: u16| {
        let check = Launch::chat().set("OPS_LISTEN", format!("0.0.0.0:{port}")).arguments(&check[2..]).run();
        (check.status.code(), check.stderr)
    };
    let server = Launch::chat().start();
    assert_eq!(is_ready(server.ops), (Some(0), String::new()));
    let draining = Launch::chat().set("OPS_LISTEN", "127.0.0.1:0").set("DRAIN_GRACE", 600_000).start();
    assert_eq!(is_ready(draining.ops).0, Some(0));
    draining.signal("TERM");
    draining.log_line(|line| line.contains("event=drain step=grace"));
    let (code, said) = is_ready(draining.ops);
    assert!(code == Some(1) && said.contains("503"), "{code:?}: {said}");
}

/// A Redis that was started by the command of the file, at a free port.
struct Redis(Child, u16);

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_redis_of_compose_wants_its_password_and_keeps_nothing() {
    let compose = compose();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let command = texts(&compose["services"]["redis"]["command"]);
    let script = command[2].replace("$$", "$").replace("\nEND", &format!("\nport {port}\nEND"));
    let redis = Command::new(command[0])
        .args([command[1], &script])
        .env("REDIS_PASSWORD", "a-password")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let redis = Redis(redis, port);
    let until = Instant::now() + PATIENCE;
    let says = |commands: &str| loop {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", redis.1)) {
            write!(stream, "{commands}\r\nQUIT\r\n").unwrap();
            return std::io::read_to_string(stream).unwrap();
        }
        assert!(Instant::now() < until, "Redis does not start");
        thread::sleep(POLL);
    };
    assert!(says("PING").starts_with("-NOAUTH"));
    assert!(says("AUTH a-password\r\nPING").contains("+PONG"));
    assert!(says("AUTH a-password\r\nCONFIG GET save").contains("save\r\n$0\r\n"));
    // it is the process that Docker stops, not a shell around it
    assert!(std::fs::read_to_string(format!("/proc/{}/comm", redis.0.id())).unwrap().starts_with("redis"));
}

/// A node with the settings of the file, but for where its services are here.
fn start(node: &Value, database: &Database, redis: &str) -> Server {
    let here = |name: &str| match name {
        "STORE" => database.address(),
        "CLUSTER" => redis.to_owned(),
        "TRUSTED_PROXIES" => "127.0.0.1".to_owned(),
        _ => setting(node, name),
    };
    let names = node["environment"].as_object().unwrap().keys();
    let names = names.map(|name| *VARIABLES.iter().find(|known| *known == name).unwrap());
    names.fold(Launch::chat(), |launch, name| launch.set(name, here(name))).start()
}

#[test]
fn the_three_nodes_of_compose_behind_its_nginx_are_one_chat_of_which_two_may_die() {
    let (compose, redis) = (compose(), redis_instance::Instance::new());
    let database = Instance::shared().database();
    let engine = redis.address(redis_instance::PASSWORD);
    let mut servers: Vec<_> =
        nodes(&compose).into_iter().map(|(_, node)| start(node, &database, &engine)).collect();
    for server in &servers {
        comes_to(server, "hinotori_cluster_nodes", 3.0);
    }
    let ports: Vec<u16> = servers.iter().map(|server| server.port).collect();
    let nginx = Nginx::start(&ports, None);
    let mut guests: Vec<Guest> = (0..3).map(|_| Guest::enter_by(nginx.port).0).collect();
    // the least connections: one on each
    for server in &servers {
        comes_to(server, "hinotori_connections{transport=\"websocket\"}", 1.0);
    }
    let message = guests[0].posts("hello");
    assert!(guests[1..].iter().all(|guest| guest.hears("new_message") == message));
    for (killed, text) in [(0, "one is gone"), (1, "two are gone")] {
        servers[killed].signal("KILL");
        servers[killed].wait_exit(PATIENCE);
        // as phoenix.js does, by nginx, at once
        let (mut guest, history) = Guest::enter_by(nginx.port);
        assert_eq!(history.len(), killed + 1);
        guest.posts(text);
    }
}
