//! Several clusters on one engine: `--cluster-name`.

use crate::{
    guest::Guest,
    instance::{Database, Instance},
    metrics::{comes_to, scrape},
    redis_instance,
    server::{Launch, Server},
};

fn node(database: &Database, engine: &str, cluster: &str) -> Server {
    Launch::chat()
        .set("STORE", database.address())
        .set("CLUSTER", engine)
        .set("CLUSTER_NAME", cluster)
        .start()
}

#[test]
fn nodes_hear_those_of_their_own_name_alone() {
    let (postgres, redis) = (Instance::shared(), redis_instance::Instance::new());
    let engine = postgres.database();
    for engine in [redis.address(redis_instance::PASSWORD), engine.address()] {
        let [ours, theirs] = [postgres.database(), postgres.database()];
        let other = node(&theirs, &engine, "theirs");
        comes_to(&other, "hinotori_cluster_up", 1.0);
        let servers = [(); 2].map(|()| node(&ours, &engine, "ours"));
        for server in &servers {
            comes_to(server, "hinotori_cluster_nodes", 2.0);
        }
        let [(mut ann, _), (bob, _)] = [&servers[0], &servers[1]].map(Guest::enter);
        ann.posts("hello");
        bob.hears("new_message");
        assert_eq!(scrape(other.port)["hinotori_cluster_nodes"], 1.0);
        assert_eq!(scrape(other.port)["realtime_chat_messages"], 0.0);
    }
}
