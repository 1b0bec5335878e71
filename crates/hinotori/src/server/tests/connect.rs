//! What `connect` sees of a request, and what a client sees of its refusal.

use std::{env, fs, process};

use actix_web::{
    http::StatusCode,
    web::{self, ServiceConfig},
};
use rustls::{pki_types::CertificateDer, server::WebPkiClientVerifier};
use serde_json::{Value, json};

use super::{
    client::{TEXT, frame, get, upgrade},
    *,
};
use crate::{
    Certificate, ConnectInfo, Params, RawContext, RawMessage, RawSocket, Refused, Result, Routes,
    SocketHandler, SocketOptions,
};

/// In the `App` as `web::Data`.
struct Shared(&'static str);

/// Not in the `App`.
struct Forgotten;

/// Refuses everyone, each in the way that is asked for.
struct Gate;

impl SocketHandler for Gate {
    async fn connect(params: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        match params.get("why").ok_or("there is no why")? {
            "because" => Err(Refused::because("told to")),
            "unauthorized" => Err(Refused::because("told to").with_status(StatusCode::UNAUTHORIZED)),
            "busy" => Err(Refused::because("told to").with_status(StatusCode::SERVICE_UNAVAILABLE)),
            "fine" => Err(Refused::because("told to").with_status(StatusCode::OK)),
            "missing" => Err(info.data::<Forgotten>().map(|_| Refused::because("it is there"))?),
            number => Err(number.parse::<u8>().map(|_| Refused::because("it is a number"))?),
        }
    }

    fn channels(_: &mut Routes<Self>) {}
}

/// Says what it saw of its request.
struct Mirror(String);

impl RawSocket for Mirror {
    type Info = ();

    async fn connect(_: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        #[cfg_attr(not(feature = "cookies"), expect(unused_mut, reason = "there is nothing to add"))]
        let mut facts = json!({
            "data": info.data::<Shared>()?.0,
            "direct": info.data::<&str>()?,
            "header": info.header("ACCEPT-language"),
            "headers": info.headers().get_all("accept-language").count(),
            "certificates": info.peer_certificates().len(),
            "certificate": info.peer_certificate().map(|certificate| certificate.to_vec()),
        });
        #[cfg(feature = "cookies")]
        facts["cookies"].clone_from(&json!(
            ["a", "b", "c"].map(|name| { info.cookie(name).map(|cookie| cookie.value().to_owned()) })
        ));
        Ok(Self(facts.to_string()))
    }

    async fn handle_in(&mut self, _: RawMessage, cx: &mut RawContext<Self>) -> Result<()> {
        cx.push(RawMessage::Text(self.0.clone()));
        Ok(())
    }
}

pub(super) fn configure(config: &mut ServiceConfig, endpoint: &Endpoint) {
    config
        .app_data(web::Data::new(Shared("shared")))
        .configure(endpoint.socket::<Gate>("/gate", SocketOptions::default()))
        .configure(endpoint.raw_socket::<Mirror>("/mirror", SocketOptions::default()));
}

/// What a socket saw of a request with these headers.
async fn mirrored(client: &mut Client, headers: &str) -> Value {
    let request = upgrade("/mirror/websocket").replace("Host:", &format!("{headers}Host:"));
    client.send(request).await;
    let answer = client.reader.answer().await;
    assert_eq!(answer.status(), "101", "{answer:?}");
    client.send(frame(TEXT, b"?")).await;
    let (opcode, facts) = client.reader.message().await;
    assert_eq!(opcode, TEXT);
    serde_json::from_slice(&facts).unwrap()
}

#[actix_web::test]
async fn a_refusal_is_403_unless_it_has_a_status_and_the_client_hears_no_reason() {
    let statuses = [
        ("because", "403"),
        ("", "403"),
        ("x", "403"),
        ("7", "403"),
        ("unauthorized", "401"),
        ("busy", "503"),
        ("missing", "500"),
        ("fine", "500"),
    ];
    for way in [Way::Server, Way::HttpServer] {
        let server = way.start(Settings::default());
        for (why, status) in statuses {
            let mut client = server.connect().await;
            client.send(upgrade(&format!("/gate/websocket?vsn=2.0.0&why={why}"))).await;
            let answer = client.reader.answer().await;
            let body = if status == "500" { "Internal Server Error" } else { "" };
            assert_eq!((answer.status(), &*answer.text()), (status, body), "{way:?}: {why}");
            // a long poll has its 403 in the body, as Phoenix's
            let mut client = server.connect().await;
            client.send(get(&format!("/gate/longpoll?vsn=2.0.0&why={why}"))).await;
            let answer = client.reader.answer().await;
            let wanted = if status == "403" { ("200", "{\"status\":403}") } else { (status, body) };
            assert_eq!((answer.status(), &*answer.text()), wanted, "{way:?}: {why}");
        }
        assert_eq!(server.endpoint.node().connections.count(), 0);
        server.stop().await;
    }
}

#[actix_web::test]
async fn connect_sees_headers_cookies_and_the_data_of_the_app_however_it_was_put_there() {
    for way in ALL {
        let server = way.start(Settings::default());
        let mut client = server.connect().await;
        let headers = "Accept-Language: ja\r\nAccept-Language: en\r\nCookie: a=1; b=%20x%3D\r\n";
        let facts = mirrored(&mut client, headers).await;
        let mut wanted = json!({
            "data": "shared",
            "direct": "of the application",
            "header": "ja",
            "headers": 2,
            "certificates": 0,
            "certificate": null,
        });
        if cfg!(feature = "cookies") {
            wanted["cookies"] = json!(["1", " x=", null]);
        }
        assert_eq!(facts, wanted, "{way:?}");
        server.stop().await;
    }
}

#[actix_web::test]
async fn in_mutual_tls_connect_sees_the_clients_certificate_and_who_has_none_comes_without() {
    let [ours, theirs] =
        ["localhost", "client"].map(|name| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap());
    let file = |what| env::temp_dir().join(format!("hinotori-mutual-{}-{what}.pem", process::id()));
    let (chain, key) = (file("chain"), file("key"));
    fs::write(&chain, ours.cert.pem()).unwrap();
    fs::write(&key, ours.signing_key.serialize_pem()).unwrap();
    let certificate = Certificate::load(&chain, &key).unwrap();
    for file in [chain, key] {
        fs::remove_file(file).unwrap();
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots(theirs.cert.der())),
        Arc::new(ring::default_provider()),
    );
    let config = certificate.server_config_verifying(verifier.allow_unauthenticated().build().unwrap());
    let client = || {
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots(ours.cert.der()))
    };
    let proves = |certificate: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        let key = PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der());
        client().with_client_auth_cert(vec![certificate.cert.der().clone()], key.into()).unwrap()
    };
    for way in [Way::ServerTls, Way::HttpServerTls] {
        let mut server = way.start(Settings { tls: Some(config.clone()), ..Settings::default() });
        server.tls = TlsConnector::from(Arc::new(proves(&theirs)));
        let facts = mirrored(&mut server.connect().await, "").await;
        let wanted = json!(theirs.cert.der().to_vec());
        assert_eq!((&facts["certificates"], &facts["certificate"]), (&json!(1), &wanted), "{way:?}");

        server.tls = TlsConnector::from(Arc::new(client().with_no_client_auth()));
        let facts = mirrored(&mut server.connect().await, "").await;
        assert_eq!(facts["certificate"], Value::Null, "{way:?}");

        // one that nobody vouches for does not get as far as HTTP
        server.tls = TlsConnector::from(Arc::new(proves(&ours)));
        let mut stranger = server.connect().await;
        let _ = stranger.writer.try_send(get("/facts")).await;
        assert_eq!(stranger.reader.rest().await, b"", "{way:?}");
        server.stop().await;
    }
}

fn roots(certificate: &CertificateDer<'static>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    roots
}
