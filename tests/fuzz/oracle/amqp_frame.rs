//! What must hold for whatever arrives where AMQP is expected. Shared by the fuzz target and by the test that replays
//! its corpus.
//!
//! Each input is what one side of a connection sends. It is taken for a client's and for a server's, whole and in
//! pieces, by everybody who would read it.

use bytes::BytesMut;
use warren_amqp::frame::{Boundary, Frame, FrameError, FrameMax, Item, Passed, Splitter, Tracker};
use warren_amqp::handshake::{Client, Direction, Observer, Progress, Settings};
use warren_amqp::{SHORT_MAX, connection};

/// Whether some side of a connection could have sent this: frames from beginning to end.
///
/// Panics if readers disagree about it, or if something does not mean what was sent.
pub(crate) fn accepted(stream: &[u8]) -> bool {
    let client = Side {
        splitter: Splitter::of_client,
        tracker: Tracker::of_client,
        direction: Direction::FromClient,
    };
    let server = Side {
        splitter: Splitter::of_server,
        tracker: Tracker::of_server,
        direction: Direction::FromServer,
    };
    let accepted = [client.accepts(stream), server.accepts(stream)];
    accepted.contains(&true)
}

struct Side {
    splitter: fn() -> Splitter,
    tracker: fn(FrameMax) -> Tracker,
    direction: Direction,
}

/// What was read, what went wrong, and how many octets are part of neither.
type Outcome<T> = (Vec<T>, Option<FrameError>, usize);

impl Side {
    fn accepts(&self, stream: &[u8]) -> bool {
        let whole = self.split(stream, stream.len());
        let (tracked, wrong, _) = self.track(stream, stream.len());
        for size in [1, 7] {
            let (items, error, _) = self.split(stream, size);
            assert_eq!((&items, &error), (&whole.0, &whole.1), "in pieces of {size}");
            assert_eq!(self.track(stream, size).0, tracked, "in pieces of {size}");
        }
        let (items, error, left) = whole;
        assert!(
            items.iter().map(passed).eq(tracked),
            "splitter and tracker disagree"
        );
        assert_eq!(error.is_some(), wrong.is_some());
        if let Some(exception) = error.as_ref().and_then(FrameError::exception) {
            assert!(exception.text.len() <= SHORT_MAX);
        }
        for item in &items {
            if let Item::Frame(frame) = item {
                self.understand(frame);
            }
        }
        check(&items);
        !items.is_empty() && error.is_none() && left == 0
    }

    fn split(&self, stream: &[u8], size: usize) -> Outcome<Item> {
        let (mut splitter, mut buffer, mut items) = ((self.splitter)(), BytesMut::new(), Vec::new());
        for chunk in stream.chunks(size.max(1)) {
            buffer.extend_from_slice(chunk);
            loop {
                match splitter.next(&mut buffer) {
                    Ok(Some(item)) => items.push(item),
                    Ok(None) => break,
                    Err(error) => return (items, Some(error), buffer.len()),
                }
            }
            assert!(
                buffer.len() < FrameMax::MIN.octets() as usize + 8,
                "more is kept than one frame"
            );
        }
        (items, None, buffer.len())
    }

    fn track(&self, stream: &[u8], size: usize) -> Outcome<Passed> {
        let (mut tracker, mut items) = ((self.tracker)(FrameMax::MIN), Vec::new());
        for chunk in stream.chunks(size.max(1)) {
            let mut rest = chunk;
            loop {
                match tracker.next(&mut rest) {
                    Ok(Some(item)) => items.push(item),
                    Ok(None) => break,
                    Err(error) => return (items, Some(error), rest.len()),
                }
            }
        }
        (items, None, 0)
    }

    /// Saying again what was understood gives what means the same.
    fn understand(&self, frame: &Frame) {
        let _ = Observer.observe(self.direction, frame);
        if frame.method().is_none() {
            return;
        }
        match connection::Method::decode(&frame.payload) {
            Ok(method) => {
                let again = sent(&method);
                // Header and end are not part of the payload; the length is, and says the same.
                assert_eq!(again.len(), frame.payload.len() + 8);
                let payload = again.freeze().slice(7..7 + frame.payload.len());
                let same = connection::Method::decode(&payload).expect("what we send is understood");
                assert_eq!(sent(&same)[7..], [&payload[..], &[0xce]].concat());
            }
            Err(error) => assert!(error.exception().text.len() <= SHORT_MAX),
        }
    }
}

fn sent(method: &connection::Method) -> BytesMut {
    let mut out = BytesMut::new();
    method
        .encode(0, FrameMax::DEFAULT, &mut out)
        .expect("what was taken can be sent");
    out
}

/// What a splitter's item is to a tracker.
fn passed(item: &Item) -> Passed {
    match item {
        Item::Protocol(header) => Passed::Protocol(*header),
        Item::Frame(frame) => Passed::Frame(Boundary {
            kind: frame.kind,
            channel: frame.channel,
            size: u32::try_from(frame.payload.len()).expect("less than a frame"),
            method: frame.method(),
        }),
    }
}

/// A check ends with the first thing it does not like, and with a success only after a goodbye.
fn check(items: &[Item]) {
    let settings = Settings::open("checker", "secret77", "/", "fuzz").expect("short names");
    let mut out = BytesMut::new();
    let mut client = Client::start(settings, &mut out);
    for item in items {
        match client.handle(item, &mut out) {
            Ok(Progress::Going) => {}
            Ok(Progress::Done(_)) => {
                let ids = |item: &Item| match item {
                    Item::Frame(frame) => frame.method(),
                    Item::Protocol(_) => None,
                };
                assert!(
                    items
                        .iter()
                        .any(|item| ids(item) == Some(connection::CloseOk::ID))
                );
                return;
            }
            Err(_) => return,
        }
    }
}
