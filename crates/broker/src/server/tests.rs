use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use warren_kit::proxy_header::{Facts, ProxyVersion, encode};

use super::introduction::hear;
use super::*;
use crate::node::Settings;
use crate::testing::eventually;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn header(version: ProxyVersion, client: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let addresses = (address(client), address("127.0.0.1:5672"));
    encode(version, Some(addresses), &Facts::default(), &mut octets);
    octets
}

/// What is known of a client who sends these pieces, and what is left for AMQP.
async fn heard(pieces: &[&[u8]]) -> (Result<Arrival, String>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.set_nodelay(true).unwrap();
    let (mut stream, peer) = listener.accept().await.unwrap();
    let listening = tokio::spawn(async move {
        let mut arrival = Arrival::direct(peer, stream.local_addr().unwrap());
        let done = hear(&mut stream, &mut arrival).await;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        (done.map(|()| arrival).map_err(|error| error.to_string()), rest)
    });
    for piece in pieces {
        client.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    client.shutdown().await.unwrap();
    listening.await.unwrap()
}

#[tokio::test]
async fn a_header_of_either_version_names_the_client_and_takes_nothing_behind_it() {
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let header = header(version, "192.0.2.7:4000");
        let (arrival, rest) = heard(&[&header, b"AMQP"]).await;
        let arrival = arrival.unwrap();
        assert_eq!(arrival.peer, address("192.0.2.7:4000"));
        assert_eq!(arrival.local, address("127.0.0.1:5672"));
        assert!(!arrival.from_loopback);
        assert_eq!(rest, b"AMQP");
        let octets: Vec<&[u8]> = header.chunks(1).collect();
        assert_eq!(heard(&octets).await.0.unwrap().peer, arrival.peer);
    }
}

#[tokio::test]
async fn who_comes_from_a_proxy_is_of_this_host_only_if_it_says_so() {
    let (arrival, _) = heard(&[&header(ProxyVersion::V2, "127.0.0.1:4000")]).await;
    assert!(arrival.unwrap().from_loopback);
    let (arrival, rest) = heard(&[b"AMQP\0\0\x09\x01"]).await;
    assert!(!arrival.unwrap().from_loopback);
    assert_eq!(rest, b"AMQP\0\0\x09\x01");
    let (arrival, _) = heard(&[b"PROXY UNKNOWN\r\n"]).await;
    assert!(!arrival.unwrap().from_loopback);
}

#[tokio::test]
async fn what_begins_like_a_header_and_is_none_is_refused() {
    let (arrival, _) = heard(&[b"PROXY TCP4 nonsense\r\n"]).await;
    assert!(arrival.unwrap_err().contains("PROXY line is malformed"));
}

#[tokio::test]
async fn a_listed_proxy_and_a_client_of_his_own_share_a_port() {
    let node = Node::new("rabbit@test".to_owned(), Settings::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let door = Door::default();
    door.proxies
        .store(Arc::new(vec![Network::parse("127.0.0.1").unwrap()]));
    tokio::spawn(serve_door(Arc::clone(&node), listener, Arc::new(door)));
    let mut introduced = TcpStream::connect(to).await.unwrap();
    introduced
        .write_all(&header(ProxyVersion::V2, "127.0.0.1:4000"))
        .await
        .unwrap();
    let mut client = crate::testing::Client::over(introduced).await;
    let names = || -> Vec<String> {
        let connections = node.registry.connections();
        connections
            .iter()
            .map(|entry| entry.facts.peer.to_string())
            .collect()
    };
    eventually("the client is known by its own address", || {
        names() == ["127.0.0.1:4000"]
    })
    .await;
    client.declare("q").await;
}

#[tokio::test]
async fn of_a_crowd_few_come_in_before_others_have_their_turn() {
    /// As many as may wait to be let in.
    const MANY: usize = 100;
    let node = Node::new("rabbit@test".to_owned(), Settings::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let crowd: Vec<_> = (0..MANY)
        .map(|_| std::net::TcpStream::connect(to).unwrap())
        .collect();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    tokio::spawn(serve_door(node, listener, Arc::default()));
    let mut before = tasks();
    while before < MANY {
        tokio::task::yield_now().await;
        let came = tasks() - before;
        // Besides clients there are some clocks of the node's.
        assert!(came < 4 * CROWD as usize, "{came} came in at once");
        before += came;
    }
    drop(crowd);
}
