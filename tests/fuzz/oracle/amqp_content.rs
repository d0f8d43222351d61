//! What must hold for whatever arrives on channels after the handshake. Shared by the fuzz target and by the test that
//! replays its corpus.
//!
//! Each input is frames of one side, of any channels. They are taken in one read and in many, and what was understood is
//! sent on.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes, BytesMut};
use warren_amqp::content::{Accepted, Assembly, Message};
use warren_amqp::frame::{FrameMax, Splitter};
use warren_amqp::hot::{Deliver, Hot};
use warren_amqp::outbox::Outbox;
use warren_amqp::{Method, MethodId, SHORT_MAX};

/// Small enough that an input can go beyond it.
const BODY_SIZE_MAX: u64 = 2000;

/// Whether a broker would take all of it, up to the last frame.
pub(crate) fn accepted(stream: &[u8]) -> bool {
    let whole = take(stream, stream.len());
    for size in [1, 7] {
        let parts = take(stream, size);
        assert_eq!(parts.told(), whole.told(), "in pieces of {size}");
    }
    for (_, message) in &whole.messages {
        goes_on(message);
        goes_on(&message.detached());
    }
    whole.error.is_none() && whole.left == 0 && whole.unfinished == 0
}

/// What was understood.
struct Taken {
    methods: Vec<(u16, MethodId)>,
    messages: Vec<(u16, Message)>,
    error: Option<String>,
    left: usize,
    unfinished: usize,
}

impl Taken {
    fn told(&self) -> impl PartialEq + std::fmt::Debug {
        let messages: Vec<_> = self
            .messages
            .iter()
            .map(|(channel, message)| (*channel, meaning(message)))
            .collect();
        (
            self.methods.clone(),
            messages,
            self.error.clone(),
            self.unfinished,
        )
    }
}

fn meaning(message: &Message) -> (Vec<u8>, Vec<u8>, Bytes) {
    let header = message.header().payload().to_vec();
    (message.method().to_vec(), header, message.whole_body())
}

fn take(stream: &[u8], size: usize) -> Taken {
    let (mut splitter, mut input) = (Splitter::of_server(), BytesMut::new());
    let mut channels: BTreeMap<u16, Assembly> = BTreeMap::new();
    let mut taken = Taken {
        methods: Vec::new(),
        messages: Vec::new(),
        error: None,
        left: 0,
        unfinished: 0,
    };
    'reads: for octets in stream.chunks(size.max(1)) {
        input.extend_from_slice(octets);
        loop {
            let mut chunk = match splitter.chunk(&mut input) {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => {
                    taken.error = Some(error.to_string());
                    break 'reads;
                }
            };
            while let Some(place) = chunk.next() {
                let assembly = channels
                    .entry(place.channel)
                    .or_insert_with(|| Assembly::new(BODY_SIZE_MAX));
                match assembly.accept(&mut chunk, place) {
                    Ok(Accepted::Method) => {
                        let payload = chunk.payload(place);
                        taken
                            .methods
                            .extend(MethodId::of(payload).map(|id| (place.channel, id)));
                        assert_eq!(
                            chunk.method(place).ok(),
                            Method::decode(&Bytes::copy_from_slice(payload)).ok()
                        );
                        let _ = Hot::read(payload);
                    }
                    Ok(Accepted::Part) => {}
                    Ok(Accepted::Message(message)) => taken.messages.push((place.channel, message)),
                    Err(error) => {
                        let exception = error.exception();
                        assert!(exception.text.len() <= SHORT_MAX);
                        taken.error = Some(exception.text);
                        break 'reads;
                    }
                }
            }
            assert!(
                channels.values().all(|channel| channel.kept() < 3 * 4096),
                "more is kept than the largest message and two frames"
            );
        }
    }
    taken.left = input.len();
    taken.unfinished = channels.values().filter(|channel| channel.kept() > 0).count();
    taken
}

/// A message that was taken can be delivered, and means the same to who takes it.
fn goes_on(message: &Message) {
    let header = message.header();
    assert_eq!(header.body_size(), message.body_size() as u64);
    assert!(message.size() >= message.body_size());
    let deliver = Deliver {
        consumer_tag: b"tag",
        delivery_tag: 1,
        redelivered: true,
        exchange: b"exchange",
        routing_key: b"key",
    };
    let mut outbox = Outbox::new(FrameMax::MIN);
    if outbox.message(9, &deliver, message).is_err() {
        // A header is taken that is eight octets too long, as RabbitMQ does; it is not sent.
        assert!(header.payload().len() > FrameMax::MIN.payload() as usize && outbox.is_empty());
        return;
    }
    let mut octets = Vec::new();
    while outbox.has_remaining() {
        let length = outbox.chunk().len();
        octets.extend_from_slice(outbox.chunk());
        outbox.advance(length);
    }
    let taken = take(&octets, octets.len());
    let [(9, again)] = &taken.messages[..] else {
        panic!("one message: {:?}", taken.error);
    };
    assert_eq!(again.deliver(), Some(deliver));
    assert_eq!(again.header(), header);
    assert_eq!(again.whole_body(), message.whole_body());
}
