//! A socket over TLS: what is no plain TCP stream is served through whatever bears it.

#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod support;

use std::{sync::Arc, time::Duration};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, ServerName},
};
use support::{Client, Node, Pipe};
use tokio::{
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};
use weltenwind_core::{Actor, ChannelId, accounts::SessionGrant, chat::Draft};

const SECOND: Duration = Duration::from_secs(1);

/// Serves one end of a connection over TLS, and answers the other.
async fn over_tls<S: Pipe>(node: &Node, client: S, server: S) -> TlsStream<S> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["wind.test".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into());
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(vec![cert.der().clone()], key).unwrap()));
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into());
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let connector = TlsConnector::from(Arc::new(config.with_no_client_auth()));
    let name = ServerName::try_from("wind.test").unwrap();
    let (client, server) = tokio::join!(connector.connect(name, client), acceptor.accept(server));
    node.serve(None, server.unwrap());
    client.unwrap()
}

async fn member<S: Pipe>(
    node: &Node,
    tls: TlsStream<S>,
    grant: &SessionGrant,
    lobby: ChannelId,
) -> Client<TlsStream<S>> {
    let mut client = node.connect_over(tls, grant).await;
    client.join(lobby, None).await;
    client.expect("live").await;
    client
}

/// Posts so many messages while nobody reads.
async fn post(node: &Node, lobby: ChannelId, count: usize) {
    for n in 0..count {
        let body = format!("{n} {}", "x".repeat(1_000));
        node.town.services.chat.post(&Actor::player("Lu"), Draft::new(lobby, body)).await.unwrap();
    }
}

async fn expect_posts<S: Pipe>(client: &mut Client<S>, count: usize) {
    for n in 0..count {
        let msg = client.expect("msg").await;
        assert!(msg["message"]["body"].as_str().unwrap().starts_with(&format!("{n} ")), "{msg}");
    }
}

#[tokio::test]
async fn a_conversation_over_tls_is_whole_and_in_order() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let grant = node.guest("Mira").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let tls = over_tls(&node, client, listener.accept().await.unwrap().0).await;
    let mut mira = member(&node, tls, &grant, lobby).await;

    // More than the sockets of the system hold, so the reader lags.
    post(&node, lobby, 8_000).await;
    expect_posts(&mut mira, 8_000).await;
    mira.post(1, lobby, "well met").await;
    assert_eq!(mira.expect("ok").await["message"]["body"], "well met");
    mira.expect("msg").await;

    node.town.services.accounts.sign_out(&node.actor(&grant).await).await.unwrap();
    mira.expect_bye(4201).await;
    drop(mira);
    node.all_gone().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_of_what_is_written_stays_behind_in_tls() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    // The network takes less than TLS does, up to the last message.
    let (client, server) = tokio::io::duplex(2 * 1024);
    let tls = over_tls(&node, client, server).await;
    let mut mira = member(&node, tls, &node.guest("Mira").await, lobby).await;
    let start = Instant::now();

    for count in [1, 5, 40, 200] {
        post(&node, lobby, count).await;
        expect_posts(&mut mira, count).await;
    }

    assert!(start.elapsed() < SECOND, "nothing else made it move: {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_vanishes_behind_tls_is_lost() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let (client, server) = tokio::io::duplex(64 * 1024);
    let tls = over_tls(&node, client, server).await;
    let mira = member(&node, tls, &node.guest("Mira").await, lobby).await;

    drop(mira);
    node.all_gone().await;

    assert_eq!(node.metric_of("weltenwind_ws_closed_total", Some("lost")), 1);
}
