//! The client's side of TLS, as a port of its own: what is sent to it in plain comes to the server encrypted, and back.
//! So the clients of the other tests speak to a server with TLS too.

use std::{
    io,
    net::TcpListener as StdListener,
    sync::{Arc, Mutex},
    thread,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    runtime::Builder,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

/// What came of a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Handshake {
    /// The server's certificate, as DER.
    pub(crate) certificate: Vec<u8>,
    /// What both will speak, if they spoke of it.
    pub(crate) protocol: Option<Vec<u8>>,
}

pub(crate) struct Tunnel {
    pub(crate) port: u16,
    handshakes: Arc<Mutex<Vec<Handshake>>>,
}

impl Tunnel {
    /// To a server at `port`, whose certificate must be one of `trusted` (PEM) and for `localhost`. Each connection offers
    /// these protocols.
    pub(crate) fn open(port: u16, trusted: &[&str], protocols: &[&[u8]]) -> Self {
        let connector = TlsConnector::from(Arc::new(config(trusted, protocols)));
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let tunnel =
            Self { port: listener.local_addr().unwrap().port(), handshakes: Arc::new(Mutex::new(vec![])) };
        let handshakes = tunnel.handshakes.clone();
        // it ends with the tests: nothing waits for it
        thread::spawn(move || {
            Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                loop {
                    let (client, _) = listener.accept().await.unwrap();
                    tokio::spawn(carry(client, port, connector.clone(), handshakes.clone()));
                }
            });
        });
        tunnel
    }

    /// What came of the handshakes that succeeded so far.
    pub(crate) fn handshakes(&self) -> Vec<Handshake> {
        self.handshakes.lock().unwrap().clone()
    }
}

fn config(trusted: &[&str], protocols: &[&[u8]]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for pem in trusted {
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut config = builder
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    // each connection shows what certificate the server has now
    config.resumption = tokio_rustls::rustls::client::Resumption::disabled();
    config
}

/// One connection, until either side has ended it. What fails here, the client sees as a connection that ends.
async fn carry(
    mut client: TcpStream,
    port: u16,
    connector: TlsConnector,
    handshakes: Arc<Mutex<Vec<Handshake>>>,
) -> io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", port)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let mut server = connector.connect(ServerName::try_from("localhost").unwrap(), server).await?;
    let session = server.get_ref().1;
    let certificate = session.peer_certificates().and_then(|chain| chain.first()).unwrap().to_vec();
    let protocol = session.alpn_protocol().map(<[u8]>::to_vec);
    handshakes.lock().unwrap().push(Handshake { certificate, protocol });
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}
