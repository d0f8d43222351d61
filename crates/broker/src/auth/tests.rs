use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use warren_model::Name;
use warren_model::meta::{Command, PasswordHash};

use super::{Arc, Arrival, LoginRefused, Mechanism, Node, Ordering, SLOW_MAX, mechanisms};
use crate::Settings;
use crate::password::{Hashing, hash_with};
use crate::registry::TlsFacts;

fn from(peer: &str) -> Arrival {
    let peer: SocketAddr = peer.parse().unwrap();
    Arrival::direct(peer, "10.0.0.1:5672".parse().unwrap())
}

fn node() -> Arc<Node> {
    Node::new("rabbit@test".to_owned(), Settings::default())
}

fn put(node: &Node, user: &str, hashing: Hashing, password: &str) {
    let command = Command::PutUser {
        name: Name::try_from(user).unwrap(),
        password: Some(hash_with(hashing, password.as_bytes(), [1, 2, 3, 4])),
        tags: Vec::new(),
    };
    node.apply(command).unwrap();
}

async fn plain(node: &Node, user: &str, password: &str, peer: &str) -> Result<Name, LoginRefused> {
    let response = Bytes::from(format!("\0{user}\0{password}"));
    node.login("PLAIN", &response, &from(peer)).await
}

#[tokio::test(start_paused = true)]
async fn guest_comes_from_this_host_only_and_hears_no_reason() {
    let node = node();
    assert!(plain(&node, "guest", "guest", "127.0.0.1:1").await.is_ok());
    assert!(
        plain(&node, "guest", "guest", "[::ffff:127.0.0.9]:1")
            .await
            .is_ok()
    );
    let refused = plain(&node, "guest", "guest", "10.0.0.9:1").await.unwrap_err();
    assert_eq!(refused.to_string(), "user 'guest' can only connect via localhost");
    let open = Settings {
        loopback_users: Vec::new(),
        ..Settings::default()
    };
    let open = Node::new("rabbit@test".to_owned(), open);
    assert!(plain(&open, "guest", "guest", "10.0.0.9:1").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_name_with_a_line_break_does_not_begin_a_line_of_the_log() {
    let name = "x\n2026-01-01 WARN login refused: user 'root'";
    let refused = plain(&node(), name, "y", "127.0.0.1:1")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.starts_with("user 'x\\n2026") && !refused.contains('\n'),
        "{refused}"
    );
}

#[tokio::test(start_paused = true)]
async fn credentials_are_forgotten_when_anything_about_the_user_changes() {
    let node = node();
    put(&node, "ann", Hashing::Argon2id, "one");
    assert!(plain(&node, "ann", "one", "10.0.0.9:1").await.is_ok());
    assert_eq!(node.auth.known.lock().len(), 1);
    assert!(plain(&node, "ann", "two", "10.0.0.9:1").await.is_err());
    put(&node, "ann", Hashing::Argon2id, "two");
    assert_eq!(node.auth.known.lock().len(), 0);
    assert!(plain(&node, "ann", "one", "10.0.0.9:1").await.is_err());
    assert!(plain(&node, "ann", "two", "10.0.0.9:1").await.is_ok());
    node.apply(Command::PutUser {
        name: Name::try_from("ann").unwrap(),
        password: node.read(|meta| meta.user("ann").unwrap().password.clone()),
        tags: vec![Name::try_from("monitoring").unwrap()],
    })
    .unwrap();
    assert_eq!(node.auth.known.lock().len(), 0, "other tags, the same password");
    assert!(plain(&node, "ann", "two", "10.0.0.9:1").await.is_ok());
    node.apply(Command::DeleteUser {
        name: Name::try_from("ann").unwrap(),
    })
    .unwrap();
    assert_eq!(node.auth.known.lock().len(), 0);
    assert!(plain(&node, "ann", "two", "10.0.0.9:1").await.is_err());
}

/// The clock stands still while a hash is made, so that whoever did not wait for his turn would be done within the hour.
#[tokio::test(start_paused = true)]
async fn slow_hashes_take_turns_and_nobody_else_waits_for_them() {
    let node = node();
    put(&node, "slow", Hashing::Argon2id, "secret");
    put(&node, "quick", Hashing::Sha256, "secret");
    let turns = node
        .auth
        .pool
        .acquire_many(u32::try_from(SLOW_MAX).unwrap())
        .await;
    let slow = tokio::spawn({
        let node = Arc::clone(&node);
        async move { plain(&node, "slow", "secret", "10.0.0.9:1").await }
    });
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(!slow.is_finished());
    assert!(plain(&node, "quick", "secret", "10.0.0.9:1").await.is_ok());
    drop(turns);
    assert!(slow.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn whoever_tries_passwords_waits_and_whoever_is_known_does_not() {
    let node = node();
    put(&node, "ann", Hashing::Sha256, "secret");
    let attacker = "10.0.0.9:1";
    assert!(plain(&node, "ann", "secret", attacker).await.is_ok());
    for number in 0..20 {
        assert!(plain(&node, "bob", &format!("{number}"), attacker).await.is_err());
    }
    let before = Instant::now();
    assert!(plain(&node, "ann", "secret", attacker).await.is_ok());
    assert_eq!(
        before.elapsed(),
        Duration::ZERO,
        "the same address, but known to be right"
    );
    assert!(plain(&node, "ann", "guess", attacker).await.is_err());
    assert!(before.elapsed() >= Duration::from_secs(3));
    let before = Instant::now();
    assert!(plain(&node, "ann", "guess", "10.0.0.10:1").await.is_err());
    assert_eq!(before.elapsed(), Duration::ZERO, "another address");
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let attempts = &node.auth.attempts;
    assert_eq!(
        (
            count(&attempts.total),
            count(&attempts.succeeded),
            count(&attempts.failed)
        ),
        (24, 2, 22)
    );
    assert!(count(&attempts.slowed) >= 10);
}

#[tokio::test(start_paused = true)]
async fn a_user_without_a_password_logs_in_with_a_certificate_or_not_at_all() {
    let node = node();
    node.apply(Command::PutUser {
        name: Name::try_from("CN=ann").unwrap(),
        password: Some(PasswordHash {
            algorithm: PasswordHash::SHA256.to_owned(),
            hash: String::new(),
        }),
        tags: Vec::new(),
    })
    .unwrap();
    assert!(plain(&node, "CN=ann", "", "10.0.0.9:1").await.is_err());
    let mut arrival = from("10.0.0.9:1");
    let external = |arrival: Arrival| {
        let node = Arc::clone(&node);
        async move { node.login("EXTERNAL", &Bytes::new(), &arrival).await }
    };
    let malformed = external(arrival.clone()).await.unwrap_err();
    assert!(matches!(malformed, LoginRefused::Malformed { .. }));
    arrival.tls = shown(Some("CN=ann"));
    assert_eq!(mechanisms(&node, &arrival), "PLAIN AMQPLAIN EXTERNAL");
    assert_eq!(external(arrival.clone()).await.unwrap(), "CN=ann");
    arrival.tls = shown(Some("CN=bob"));
    // Who would be refused is not led into it: he may have a password.
    assert_eq!(mechanisms(&node, &arrival), "PLAIN AMQPLAIN");
    assert!(external(arrival).await.is_err(), "there is no such user");
}

/// What is known of a client whose certificate has this name.
fn shown(user: Option<&str>) -> Option<TlsFacts> {
    Some(TlsFacts {
        user: user.map(str::to_owned),
        ..TlsFacts::default()
    })
}

#[tokio::test(start_paused = true)]
async fn what_the_configuration_lists_is_offered_and_nothing_else_is_taken() {
    let with = |mechanisms: &[Mechanism]| {
        let settings = Settings {
            mechanisms: Some(mechanisms.to_vec()),
            ..Settings::default()
        };
        Node::new("rabbit@test".to_owned(), settings)
    };
    let (guest, here) = (Bytes::from_static(b"\0guest\0guest"), from("127.0.0.1:1"));
    let node = with(&[Mechanism::Amqplain]);
    assert_eq!(mechanisms(&node, &here), "AMQPLAIN");
    let refused = node.login("PLAIN", &guest, &here).await.unwrap_err();
    assert!(matches!(refused, LoginRefused::Malformed { .. }), "{refused}");

    let node = with(&[Mechanism::External, Mechanism::Plain]);
    assert_eq!(
        mechanisms(&node, &here),
        "PLAIN",
        "without TLS there is no certificate"
    );
    assert!(node.login("PLAIN", &guest, &here).await.is_ok());
    let mut arrival = from("10.0.0.9:1");
    for (user, refused) in [
        (None, "the client showed no certificate that names a user"),
        (Some("bob"), "user 'bob' - invalid credentials"),
    ] {
        arrival.tls = shown(user);
        assert_eq!(mechanisms(&node, &arrival), "PLAIN EXTERNAL");
        let error = node.login("EXTERNAL", &Bytes::new(), &arrival).await.unwrap_err();
        assert_eq!(error.to_string(), refused);
    }
    put(&node, "bob", Hashing::Sha256, "secret");
    assert_eq!(
        node.login("EXTERNAL", &Bytes::new(), &arrival).await.unwrap(),
        "bob"
    );
}
