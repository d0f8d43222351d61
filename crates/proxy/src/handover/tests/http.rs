//! Requests that are under way while another process takes over.

use super::*;

/// A process in mode http in front of this server, which takes so many connections at once.
fn plan(server: SocketAddr, maxconn: Option<u32>) -> Plan {
    let mut plan = with_workers(server, 1);
    Arc::get_mut(&mut plan.frontends[0]).unwrap().mode = Mode::Http;
    let backend = Arc::get_mut(&mut plan.backends[0]).unwrap();
    backend.mode = Mode::Http;
    let maxconn = maxconn.map(|maxconn| maxconn.try_into().unwrap());
    Arc::get_mut(&mut backend.servers[0]).unwrap().maxconn = maxconn;
    plan
}

/// A server in the hands of the test, a process before it, and a client.
struct Scene {
    server: TcpListener,
    process: Process,
    client: TcpStream,
}

impl Scene {
    fn new() -> Self {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let process = Process::first(plan(server.local_addr().unwrap(), None));
        let client = TcpStream::connect(process.address()).unwrap();
        Self {
            server,
            process,
            client,
        }
    }

    /// The server's end, once this much of the request has come.
    fn asked(&mut self, request: &[u8]) -> TcpStream {
        self.client.write_all(request).unwrap();
        let (mut server, _) = self.server.accept().unwrap();
        hear(&mut server, request);
        server
    }

    /// Another process takes over, with everything.
    fn moves(&mut self) {
        let (next, given, adopted) = self
            .process
            .succeed(plan(self.server.local_addr().unwrap(), None));
        assert_eq!((given.left, adopted.refused), (0, 0), "{given:?} {adopted:?}");
        self.process = next;
    }

    fn requests(&self) -> u64 {
        let frontend = Arc::clone(&self.process.live.snapshot().frontends[0]);
        frontend.tally.totals().requests
    }
}

fn hear(stream: &mut TcpStream, octets: &[u8]) {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut heard = vec![0; octets.len()];
    stream.read_exact(&mut heard).unwrap();
    assert!(heard == octets, "{:?}", String::from_utf8_lossy(&heard));
}

fn body(size: usize) -> Vec<u8> {
    (0..size).map(|place| octet(7, place)).collect()
}

const ASKED: &[u8] = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn a_request_moves_at_every_octet_of_itself_and_of_its_answer() {
    let mut scene = Scene::new();
    // A request's head, its body, the answer's head, its chunks: cut in the middle of each.
    let request: &[u8] = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 6\r\n\r\nabcdef";
    let answer: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
        b;x=y\r\nhello world\r\n1\r\n!\r\n0\r\ntrailer: t\r\n\r\n";
    let (head, rest) = request.split_at(20);
    scene.client.write_all(head).unwrap();
    eventually(|| scene.process.live.connections.now() == 1);
    scene.moves();
    let (more, last) = rest.split_at(rest.len() - 3);
    scene.client.write_all(more).unwrap();
    let (mut server, _) = scene.server.accept().unwrap();
    hear(&mut server, &request[..request.len() - 3]);
    scene.moves();
    scene.client.write_all(last).unwrap();
    hear(&mut server, last);
    scene.moves();
    let mut sent = 0;
    for piece in answer.chunks(7) {
        server.write_all(piece).unwrap();
        sent += piece.len();
        // The head goes on when it is whole.
        if sent >= 50 {
            let before = if sent - piece.len() >= 50 {
                sent - piece.len()
            } else {
                0
            };
            hear(&mut scene.client, &answer[before..sent]);
        }
        scene.moves();
    }
    // And the next one on the same connection, which both sides have kept.
    scene.client.write_all(ASKED).unwrap();
    let (mut server, _) = scene.server.accept().unwrap();
    hear(&mut server, ASKED);
    server.write_all(ANSWER).unwrap();
    hear(&mut scene.client, ANSWER);
    assert_eq!(scene.requests(), 2);
}

#[test]
fn large_bodies_of_which_the_kernel_holds_some_move_whole() {
    const SIZE: usize = 8 << 20;
    let mut scene = Scene::new();
    let large = body(SIZE);
    let head = format!("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: {SIZE}\r\n\r\n");
    let mut server = scene.asked(head.as_bytes());
    // Nobody reads: everything on the way is full, the pipe in between as well.
    let fills = |writer: &TcpStream| {
        let (mut writer, large) = (writer.try_clone().unwrap(), large.clone());
        std::thread::spawn(move || writer.write_all(&large).unwrap())
    };
    let spliced = |scene: &Scene| scene.process.live.spliced();
    let before = spliced(&scene);
    let writing = fills(&scene.client);
    eventually(|| spliced(&scene) > before + (256 << 10));
    scene.moves();
    hear(&mut server, &large[..1 << 20]);
    scene.moves();
    hear(&mut server, &large[1 << 20..]);
    writing.join().unwrap();

    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n");
    server.write_all(head.as_bytes()).unwrap();
    let before = spliced(&scene);
    let writing = fills(&server);
    eventually(|| spliced(&scene) > before + (256 << 10));
    scene.moves();
    hear(&mut scene.client, head.as_bytes());
    hear(&mut scene.client, &large[..1 << 20]);
    scene.moves();
    hear(&mut scene.client, &large[1 << 20..]);
    writing.join().unwrap();
    assert_eq!(scene.requests(), 1);
}

#[test]
fn a_websocket_goes_on_and_so_does_who_has_asked_for_two_things_at_once() {
    let mut scene = Scene::new();
    let request: &[u8] =
        b"GET /chat HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let answer: &[u8] = b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let mut server = scene.asked(request);
    scene.moves();
    server.write_all(answer).unwrap();
    hear(&mut scene.client, answer);
    for round in 0..5 {
        let said = body(1000 * round + 1);
        scene.client.write_all(&said).unwrap();
        hear(&mut server, &said);
        server.write_all(&said).unwrap();
        scene.moves();
        hear(&mut scene.client, &said);
    }
    drop(server);
    assert_eq!(scene.client.read(&mut [0]).unwrap(), 0);

    scene.client = TcpStream::connect(scene.process.address()).unwrap();
    scene.client.write_all(&[ASKED, ASKED].concat()).unwrap();
    let (mut server, _) = scene.server.accept().unwrap();
    hear(&mut server, ASKED);
    scene.moves();
    server.write_all(ANSWER).unwrap();
    hear(&mut scene.client, ANSWER);
    hear(&mut server, ASKED);
    server.write_all(ANSWER).unwrap();
    hear(&mut scene.client, ANSWER);
}

#[test]
fn requests_wait_on_in_their_order_and_a_server_never_has_more_than_it_takes() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let address = server.local_addr().unwrap();
    let process = Process::first(plan(address, Some(1)));
    let ask = |number: usize| {
        let mut client = TcpStream::connect(process.address()).unwrap();
        write!(
            client,
            "GET /{number} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        eventually(|| process.live.snapshot().frontends[0].tally.totals().requests == number as u64 + 1);
        client
    };
    let clients: Vec<TcpStream> = (0..5).map(ask).collect();
    let mut accepted = None;
    let mut next = None;
    for (number, mut client) in clients.into_iter().enumerate() {
        let mut stream = loop {
            if let Some(stream) = accepted.take() {
                break stream;
            }
            accepted = server.accept().ok().map(|(stream, _)| stream);
        };
        let stream: &mut TcpStream = &mut stream;
        stream.set_nonblocking(false).unwrap();
        hear(stream, format!("GET /{number} ").as_bytes());
        if number == 1 {
            let (successor, given, _) = process.succeed(plan(address, Some(1)));
            assert_eq!((given.sessions, given.left), (4, 0));
            let backend = Arc::clone(&successor.live.snapshot().backends[0]);
            eventually(|| backend.servers()[0].queued.now() + backend.queued.now() == 3);
            next = Some(successor);
        }
        assert!(server.accept().is_err(), "one connection at a time");
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
            .unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"),
            "{answer}"
        );
    }
    drop(next);
}
