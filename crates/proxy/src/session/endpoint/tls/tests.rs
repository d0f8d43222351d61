use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::pki_types::ServerName;

use super::*;
use crate::plan::{ClientCertificates, TlsVersion, Verify};
use crate::session::endpoint::{Endpoint, Transport};
use crate::tls::{Authority, Files, server_tls};
use crate::worker::reactor::Ready;

const PATIENCE: Duration = Duration::from_secs(10);

/// An endpoint with a loop of its own.
struct Side {
    endpoint: Endpoint,
}

impl Side {
    fn accept(stream: TcpStream, acceptor: &Acceptor) -> Self {
        Self::new(stream, Tls::accept(acceptor).unwrap())
    }

    fn new(stream: TcpStream, tls: Tls) -> Self {
        stream.set_nonblocking(true).unwrap();
        let mut endpoint = Endpoint::accepted(stream.into());
        endpoint.speak(Transport::Tls(Box::new(tls)));
        Self { endpoint }
    }

    /// Waits for an event that would come from an edge-triggered poller, and notes it.
    fn wait(&mut self, write: bool) {
        let flags = if write { PollFlags::OUT } else { PollFlags::IN };
        let mut fds = [PollFd::new(&self.endpoint, flags | PollFlags::RDHUP)];
        let timeout = Timespec::try_from(PATIENCE).unwrap();
        assert_eq!(poll(&mut fds, Some(&timeout)), Ok(1), "nothing came");
        let events = fds[0].revents();
        let gone = PollFlags::HUP | PollFlags::ERR;
        self.endpoint.note(Ready {
            read: events.intersects(PollFlags::IN | PollFlags::RDHUP | gone),
            write: events.intersects(PollFlags::OUT | gone),
            hung_up: events.intersects(PollFlags::RDHUP | gone),
            failed: events.intersects(gone),
        });
    }

    fn handshake(&mut self) -> Result<(), String> {
        loop {
            match self.endpoint.handshake() {
                Handshake::Done => return Ok(()),
                Handshake::Left => return Err("left".into()),
                Handshake::Failed(reason) => return Err(reason),
                Handshake::Wait => self.wait(self.endpoint.wants_flush()),
            }
        }
    }

    /// Until the end; `None` stands for a connection that is gone.
    fn read_to_end(&mut self, buffer: usize) -> Option<Vec<u8>> {
        let mut all = Vec::new();
        let mut buffer = vec![0; buffer];
        loop {
            if !self.endpoint.readable && !self.endpoint.ended {
                self.wait(false);
            }
            match self.endpoint.recv(&mut buffer) {
                Received::Data(count) => all.extend_from_slice(&buffer[..count]),
                Received::Wait => {}
                Received::End => return Some(all),
                Received::Failed(_) => return None,
            }
        }
    }

    fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        let mut all = vec![0; count];
        let mut filled = 0;
        while filled < count {
            if !self.endpoint.readable {
                self.wait(false);
            }
            match self.endpoint.recv(&mut all[filled..]) {
                Received::Data(count) => filled += count,
                Received::Wait => {}
                other => panic!("{other:?}"),
            }
        }
        all
    }

    fn write_all(&mut self, octets: &[u8]) {
        let mut sent = 0;
        while sent < octets.len() {
            if !self.endpoint.writable {
                self.wait(true);
            }
            match self.endpoint.send(&octets[sent..]) {
                Sent::Octets(count) => sent += count,
                Sent::Wait => {}
                Sent::Failed(errno) => panic!("{errno}"),
            }
        }
    }
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

fn noise(count: usize) -> Vec<u8> {
    (0..count as u32)
        .map(|place| (place.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

/// A client of rustls in a thread of its own.
fn client<T: Send + 'static>(
    config: rustls::ClientConfig,
    stream: TcpStream,
    run: impl FnOnce(rustls::StreamOwned<rustls::ClientConnection, TcpStream>) -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    std::thread::spawn(move || {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let name = ServerName::try_from("a.example").unwrap();
        let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        run(rustls::StreamOwned::new(connection, stream))
    })
}

#[test]
fn octets_pass_both_ways_in_both_versions_and_facts_are_known() {
    let files = Files::new();
    for (versions, version, ciphers) in [
        (&rustls::version::TLS13, "TLSv1.3", "TLS_"),
        (&rustls::version::TLS12, "TLSv1.2", "ECDHE-ECDSA-"),
    ] {
        let acceptor = files.acceptor(|bind| bind.alpn = vec!["amqp".into(), "h2".into()]);
        let mut roots = rustls::RootCertStore::empty();
        let pem = files.authority.pem().as_bytes();
        roots
            .add(rustls::pki_types::pem::PemObject::from_pem_slice(pem).unwrap())
            .unwrap();
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::clone(tls::provider()))
            .with_protocol_versions(&[versions])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"amqp".to_vec()];
        let (near, far) = pair();
        let (up, down) = (noise(1_000_000), noise(1_500_000));
        let expected = down.clone();
        let sent = up.clone();
        let client = client(config, near, move |mut stream| {
            stream.write_all(&sent).unwrap();
            stream.conn.send_close_notify();
            stream.flush().unwrap();
            let mut got = Vec::new();
            stream.read_to_end(&mut got).unwrap();
            assert!(got == expected);
        });
        let mut side = Side::accept(far, &acceptor);
        side.handshake().unwrap();
        let tls = side.endpoint.tls().unwrap();
        let facts = tls.facts().unwrap();
        assert_eq!(
            (facts.version, facts.sni, facts.client),
            (version, Some("a.example"), None)
        );
        assert!(facts.cipher.starts_with(ciphers), "{}", facts.cipher);
        assert_eq!(tls.alpn(), Some(b"amqp".as_slice()));
        assert!(side.read_to_end(30_000).unwrap() == up);
        // The other direction stays open.
        side.write_all(&down);
        side.endpoint.shutdown_write();
        client.join().unwrap();
    }
}

#[test]
fn a_reader_with_little_room_gets_everything() {
    let files = Files::new();
    let (near, far) = pair();
    let up = noise(70_000);
    let sent = up.clone();
    let client = client(files.client(), near, move |mut stream| {
        stream.write_all(&sent).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
    });
    let mut side = Side::accept(far, &files.acceptor(|_| {}));
    side.handshake().unwrap();
    assert!(side.read_to_end(7).unwrap() == up);
    side.endpoint.shutdown_write();
    client.join().unwrap();
}

#[test]
fn a_slow_reader_gets_everything_once_and_in_order() {
    let files = Files::new();
    let (near, far) = pair();
    let small = 4096;
    nix::sys::socket::setsockopt(&far, nix::sys::socket::sockopt::SndBuf, &small).unwrap();
    nix::sys::socket::setsockopt(&near, nix::sys::socket::sockopt::RcvBuf, &small).unwrap();
    let down = noise(150_000);
    let expected = down.clone();
    let client = client(files.client(), near, move |mut stream| {
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        assert!(got == expected);
    });
    let mut side = Side::accept(far, &files.acceptor(|_| {}));
    side.handshake().unwrap();
    // Writes of odd lengths, single octets among them, while the socket is full most of the time.
    let mut rest = down.as_slice();
    for length in [1, 2, 50_000, 1, 1, 16_385, 1, 65_536].into_iter().cycle() {
        let (now, later) = rest.split_at(length.min(rest.len()));
        side.write_all(now);
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    assert!(
        !side.endpoint.wants_flush(),
        "who was told that all was taken need not flush"
    );
    side.endpoint.shutdown_write();
    client.join().unwrap();
}

#[test]
fn two_of_us_understand_each_other() {
    let files = Files::new();
    let connector = Connector::load(&crate::plan::ServerTls {
        sni: Some("a.example".into()),
        alpn: vec!["amqp".into()],
        ..server_tls(Verify::Required(files.path("ca.pem")))
    })
    .unwrap();
    let acceptor = files.acceptor(|bind| bind.alpn = vec!["amqp".into()]);
    for round in 0..3 {
        let (near, far) = pair();
        let connect = Tls::connect(&connector, Some([127, 0, 0, 1].into())).unwrap();
        let server = std::thread::scope(|scope| {
            let server = scope.spawn(|| {
                let mut server = Side::accept(far, &acceptor);
                server.handshake().unwrap();
                let asked = server.read_exactly(5);
                server.write_all(&asked);
                server
            });
            let mut client = Side::new(near, connect);
            client.handshake().unwrap();
            client.write_all(b"hello");
            assert_eq!(client.read_exactly(5), b"hello");
            let tls = client.endpoint.tls().unwrap();
            assert_eq!(tls.alpn(), Some(b"amqp".as_slice()));
            assert_eq!(tls.facts().unwrap().client, Some("a.example"));
            client.endpoint.shutdown_write();
            server.join().unwrap()
        });
        let mut server = server;
        assert_eq!(server.read_to_end(100), Some(Vec::new()));
        // The first handshake is whole; later ones go on with the same session.
        let resumed = match &server.endpoint.tls().unwrap().connection {
            Connection::Server(connection) => connection.handshake_kind(),
            Connection::Client(_) => None,
        };
        let expected = if round == 0 {
            HandshakeKind::Full
        } else {
            HandshakeKind::Resumed
        };
        assert_eq!(resumed, Some(expected), "round {round}");
    }
}

#[test]
fn client_certificates_are_asked_for_and_named() {
    let files = Files::new();
    files
        .authority
        .write(&files.path("alice.pem"), "alice", &["alice.example"], 90);
    let stranger = Authority::new("stranger");
    stranger.write(&files.path("eve.pem"), "eve", &["eve.example"], 90);
    let handshake = |clients: ClientCertificates, certificate: Option<&str>| {
        let acceptor = files.acceptor(|bind| bind.clients = clients);
        let connector = Connector::load(&crate::plan::ServerTls {
            certificate: certificate.map(|name| files.path(name)),
            ..server_tls(Verify::None)
        })
        .unwrap();
        let (near, far) = pair();
        std::thread::scope(|scope| {
            let server = scope.spawn(|| {
                let mut server = Side::accept(far, &acceptor);
                server.handshake()?;
                let facts = server.endpoint.tls().unwrap().facts().unwrap();
                Ok::<_, String>(facts.client.map(str::to_owned))
            });
            let mut client = Side::new(near, Tls::connect(&connector, None).unwrap());
            if client.handshake().is_ok() {
                let _ = client.read_to_end(100);
            }
            server.join().unwrap()
        })
    };
    let optional = || ClientCertificates::Optional(files.path("ca.pem"));
    let required = || ClientCertificates::Required(files.path("ca.pem"));
    assert_eq!(handshake(ClientCertificates::None, Some("alice.pem")), Ok(None));
    assert_eq!(handshake(optional(), None), Ok(None));
    assert_eq!(handshake(optional(), Some("alice.pem")), Ok(Some("alice".into())));
    assert_eq!(handshake(required(), Some("alice.pem")), Ok(Some("alice".into())));
    assert!(
        handshake(required(), None)
            .unwrap_err()
            .contains("no certificates")
    );
    assert!(
        handshake(required(), Some("eve.pem"))
            .unwrap_err()
            .contains("UnknownIssuer")
    );
    let alice = fs::read_to_string(files.path("alice.pem")).unwrap();
    let (certificate, _) = alice.split_once("-----BEGIN PRIVATE").unwrap();
    fs::write(files.path("crowd.pem"), certificate.repeat(7) + &alice).unwrap();
    assert!(
        handshake(required(), Some("crowd.pem"))
            .unwrap_err()
            .contains("7 certificates came with it")
    );
}

#[test]
fn who_speaks_no_tls_is_told_apart_and_gets_no_tls_back() {
    let files = Files::new();
    let acceptor = files.acceptor(|_| {});
    for (said, reason) in [
        (
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "plain HTTP where TLS is spoken",
        ),
        ("AMQP\0\0\u{9}\u{1}", "plain AMQP where TLS is spoken"),
        ("whatever", "no TLS where TLS is spoken"),
    ] {
        let (mut near, far) = pair();
        near.write_all(said.as_bytes()).unwrap();
        let mut side = Side::accept(far, &acceptor);
        assert_eq!(side.handshake(), Err(reason.into()));
        drop(side);
        let mut answer = Vec::new();
        // A reset would be an error.
        near.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"");
    }
}

#[test]
fn tls_that_is_wrong_gets_an_alert() {
    let files = Files::new();
    let acceptor = files.acceptor(|_| {});
    let mut hello = tls::test_hello("a.example", &[]);
    // The version that is offered in the first place, and the list of better ones.
    hello[43] = 0xff;
    for said in [hello.as_slice(), b"\x16\x03\x01\x00\x05hello"] {
        let (mut near, far) = pair();
        near.write_all(said).unwrap();
        let mut side = Side::accept(far, &acceptor);
        assert!(side.handshake().is_err());
        drop(side);
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).unwrap();
        assert_eq!(answer.first(), Some(&21), "an alert: {answer:?}");
    }
}

#[test]
fn a_client_that_leaves_during_the_handshake_or_says_it_slowly_harms_nobody() {
    let files = Files::new();
    let acceptor = files.acceptor(|_| {});
    let hello = tls::test_hello("a.example", &[]);
    let (near, far) = pair();
    let mut side = Side::accept(far, &acceptor);
    for octet in &hello[..20] {
        (&near).write_all(&[*octet]).unwrap();
        side.wait(false);
        assert_eq!(side.endpoint.handshake(), Handshake::Wait);
    }
    near.shutdown(Shutdown::Write).unwrap();
    assert_eq!(side.handshake(), Err("left".into()));
}

#[test]
fn a_record_that_was_changed_ends_the_connection() {
    let files = Files::new();
    let acceptor = files.acceptor(|_| {});
    let (near, far) = pair();
    let client = client(files.client(), near, |mut stream| {
        stream.write_all(b"hello").unwrap();
        let mut socket = stream.sock.try_clone().unwrap();
        // A record of the right shape with the wrong content.
        socket
            .write_all(&[&[23, 3, 3, 0, 32], [7; 32].as_slice()].concat())
            .unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got)
    });
    let mut side = Side::accept(far, &acceptor);
    side.handshake().unwrap();
    assert_eq!(side.read_to_end(100), None);
    drop(side);
    assert!(client.join().unwrap().is_err());
}

#[test]
fn an_idle_connection_keeps_no_buffers() {
    let files = Files::new();
    let (near, far) = pair();
    let client = client(files.client(), near, |mut stream| {
        stream.write_all(b"hello").unwrap();
        stream
    });
    let mut side = Side::accept(far, &files.acceptor(|_| {}));
    side.handshake().unwrap();
    assert_eq!(side.read_exactly(5), b"hello");
    side.write_all(b"hello");
    let tls = side.endpoint.tls().unwrap();
    assert_eq!(
        [tls.partial.capacity(), tls.plain.capacity(), tls.out.capacity()],
        [0; 3]
    );
    drop(client.join().unwrap());
}

/// OpenSSL's client, which is what operators try things with.
#[test]
fn openssl_shakes_hands_and_resumes() {
    let files = Files::new();
    let acceptor = files.acceptor(|_| {});
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let ca = files.path("ca.pem");
    let session = files.path("session");
    for (version, resumed) in [
        ("-tls1_3", false),
        ("-tls1_3", true),
        ("-tls1_2", false),
        ("-tls1_2", true),
    ] {
        let mut arguments = vec![
            "s_client",
            "-connect",
            &address,
            "-servername",
            "a.example",
            version,
        ];
        arguments.extend(["-CAfile", ca.to_str().unwrap(), "-verify_return_error", "-quiet"]);
        arguments.extend([
            if resumed { "-sess_in" } else { "-sess_out" },
            session.to_str().unwrap(),
        ]);
        let mut client = Command::new("openssl")
            .args(&arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        client.stdin.as_mut().unwrap().write_all(b"hello").unwrap();
        let mut side = Side::accept(listener.accept().unwrap().0, &acceptor);
        side.handshake().unwrap();
        assert_eq!(side.read_exactly(5), b"hello");
        side.write_all(b"world");
        side.endpoint.shutdown_write();
        let begun = Instant::now();
        drop(client.stdin.take());
        let output = client.wait_with_output().unwrap();
        assert!(begun.elapsed() < PATIENCE);
        assert_eq!(output.stdout, b"world", "{version}");
        let kind = match &side.endpoint.tls().unwrap().connection {
            Connection::Server(connection) => connection.handshake_kind(),
            Connection::Client(_) => None,
        };
        let expected = if resumed {
            HandshakeKind::Resumed
        } else {
            HandshakeKind::Full
        };
        assert_eq!(kind, Some(expected), "{version}");
    }
}

#[test]
fn an_old_version_is_refused_where_it_is_forbidden() {
    let files = Files::new();
    let acceptor = files.acceptor(|bind| bind.min_version = TlsVersion::V1_3);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", &address, "-tls1_2"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut side = Side::accept(listener.accept().unwrap().0, &acceptor);
    assert!(side.handshake().is_err());
    drop(side);
    assert!(!client.wait().unwrap().success());
}
