//! What a callback can learn about its client's connection.

use std::{fmt, time::Instant};

use super::Line;

/// A client's connection, within one of its callbacks: [`Context::connection`](crate::Context::connection). Its
/// `Display` is the `conn` of the library's log, so an application can log lines that match the library's.
///
/// ```
/// # use hinotori::{Channel, ConnectInfo, Context, Join, Params, Payload, Refused, Reply, Routes, SocketHandler};
/// # struct UserSocket;
/// # impl SocketHandler for UserSocket {
/// #     async fn connect(_: &Params, _: &ConnectInfo<'_>) -> Result<Self, Refused> { Ok(Self) }
/// #     fn channels(routes: &mut Routes<Self>) { routes.channel::<Upload>("upload"); }
/// # }
/// # struct Upload;
/// # impl Channel for Upload {
/// #     type Socket = UserSocket;
/// #     type Info = ();
/// #     async fn join(_: &str, _: Payload, _: &mut Context<Self>) -> hinotori::Result<Join<Self>> { Join::ok(Self) }
/// async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> hinotori::Result {
///     log::info!("event=upload conn={} bytes={}", cx.connection(), payload.len());
///     assert!(cx.connection().last_heard() <= std::time::Instant::now());
///     Reply::ok(serde_json::json!({ "connection": cx.connection().id() }))
/// }
/// # }
/// # #[cfg(feature = "testing")]
/// # actix_web::rt::System::new().block_on(async {
/// # let endpoint = hinotori::Endpoint::new();
/// # let mut client = hinotori::testing::ChannelTest::new(&endpoint).connect::<UserSocket>().await.unwrap();
/// # client.subscribe_and_join("upload", serde_json::json!({})).await.unwrap();
/// # let push = client.push("upload", "chunk", Payload::binary(vec![1])).unwrap();
/// # assert!(client.reply(push).await.1["connection"].is_u64());
/// # });
/// ```
#[derive(Clone, Copy)]
pub struct ConnectionRef<'a>(&'a Line);

impl<'a> ConnectionRef<'a> {
    pub(crate) fn new(line: &'a Line) -> Self {
        Self(line)
    }

    /// A number that is unique to this connection within the process and is never reused.
    #[must_use]
    pub fn id(self) -> u64 {
        self.0.conn().number.into()
    }

    /// When the client was last heard from. Any message counts, including heartbeats and pings, and so does each
    /// long-poll request. By default, a live client sends a heartbeat every 30 s.
    #[must_use]
    pub fn last_heard(self) -> Instant {
        self.0.last_heard()
    }
}

impl fmt::Display for ConnectionRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.conn().number.fmt(f)
    }
}

impl fmt::Debug for ConnectionRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionRef({self})")
    }
}
