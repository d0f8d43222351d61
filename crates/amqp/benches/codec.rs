//! What the wire costs for each message: `cargo bench -p warren-amqp`.
//!
//! Messages come and go as a connection has them, many in one read and one write; each figure is for one message.
#![allow(missing_docs, reason = "a benchmark has no reader but its output")]

use bytes::{Buf, Bytes, BytesMut};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use warren_amqp::content::{
    Accepted, Assembly, DeliveryMode, Header, HeaderEdit, Message, Properties, Property,
};
use warren_amqp::frame::Splitter;
use warren_amqp::hot::{Deliver, Hot, Publish};
use warren_amqp::outbox::Outbox;
use warren_amqp::{FrameMax, Method, ShortString, Table, Value, queue};

fn main() {
    divan::main();
}

/// About as many octets as one read brings.
const READ: usize = 64 * 1024;

const TO: Publish<'_> = Publish {
    exchange: b"",
    routing_key: b"work-queue",
    mandatory: false,
    immediate: false,
};

/// As many publishes as a read brings, at least one.
fn stream(size: usize, properties: &Properties) -> (Vec<u8>, usize) {
    let mut outbox = Outbox::new(FrameMax::DEFAULT);
    let body = Bytes::from(vec![7; size]);
    let mut count = 0;
    while outbox.len() < READ {
        outbox.publish(1, &TO, properties, &body).unwrap();
        count += 1;
    }
    (drain(&mut outbox), count)
}

fn drain(outbox: &mut Outbox) -> Vec<u8> {
    let mut octets = Vec::new();
    while outbox.has_remaining() {
        let length = outbox.chunk().len();
        octets.extend_from_slice(outbox.chunk());
        outbox.advance(length);
    }
    octets
}

fn splitter() -> Splitter {
    let mut splitter = Splitter::of_server();
    splitter.set_frame_max(FrameMax::DEFAULT);
    splitter
}

/// Gives each message of a read to somebody.
fn read(splitter: &mut Splitter, input: &mut BytesMut, mut take: impl FnMut(Message)) {
    let mut assembly = Assembly::default();
    while let Some(mut chunk) = splitter.chunk(input).unwrap() {
        while let Some(place) = chunk.next() {
            if let Accepted::Message(message) = assembly.accept(&mut chunk, place).unwrap() {
                take(message);
            }
        }
    }
}

fn headers() -> Properties {
    Properties {
        content_type: Some(ShortString::from_static("application/json")),
        headers: Some(
            Table::new()
                .with("tenant", Value::text("emea"))
                .with("attempt", Value::I32(3))
                .with("trace", Value::text("4bf92f3577b34da6a3ce929d0e0e4736"))
                .with(
                    "flags",
                    Value::Table(Table::new().with("urgent", Value::Bool(true))),
                ),
        ),
        delivery_mode: Some(2),
        message_id: Some(ShortString::from_static("7b1f0c1e-9a40-4a7e-9d51-0d2c6d3e8c11")),
        timestamp: Some(1_795_190_400),
        ..Properties::default()
    }
}

const SIZES: [usize; 4] = [16, 128, 1024, 16_384];

/// Octets to messages, as far as routing needs them.
#[divan::bench(args = SIZES)]
fn publish_decode(bencher: Bencher<'_, '_>, size: usize) {
    let (octets, count) = stream(size, &Properties::of(DeliveryMode::Transient));
    let mut splitter = splitter();
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(|| BytesMut::from(&octets[..]))
        .bench_local_values(|mut input| {
            read(&mut splitter, &mut input, |message| {
                let publish = message.publish().unwrap();
                black_box((
                    publish.exchange,
                    publish.routing_key,
                    message.header().is_persistent(),
                ));
            });
            input
        });
}

#[divan::bench]
fn publish_decode_with_headers(bencher: Bencher<'_, '_>) {
    let (octets, count) = stream(128, &headers());
    let mut splitter = splitter();
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(|| BytesMut::from(&octets[..]))
        .bench_local_values(|mut input| {
            read(&mut splitter, &mut input, |message| {
                let header = message.header();
                black_box((
                    header.is_persistent(),
                    header.expiration(),
                    header.reply_to(),
                    header.user_id(),
                ));
            });
            input
        });
}

/// Messages to octets, for one consumer.
#[divan::bench(args = SIZES)]
fn deliver_encode(bencher: Bencher<'_, '_>, size: usize) {
    let (octets, count) = stream(size, &Properties::of(DeliveryMode::Transient));
    let mut messages = Vec::new();
    read(&mut splitter(), &mut BytesMut::from(&octets[..]), |message| {
        messages.push(message)
    });
    let mut outbox = Outbox::new(FrameMax::DEFAULT);
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        for (message, delivery_tag) in messages.iter().zip(1..) {
            let publish = message.publish().unwrap();
            let deliver = Deliver {
                consumer_tag: b"ctag1.4f0b1c2d",
                delivery_tag,
                redelivered: false,
                exchange: publish.exchange,
                routing_key: publish.routing_key,
            };
            outbox.message(1, &deliver, message).unwrap();
        }
        black_box(outbox.chunk());
        outbox.advance(outbox.len());
    });
}

/// Both, as a broker without queues would have it.
#[divan::bench(args = SIZES)]
fn publish_to_deliver(bencher: Bencher<'_, '_>, size: usize) {
    let (octets, count) = stream(size, &Properties::of(DeliveryMode::Transient));
    let (mut splitter, mut outbox) = (splitter(), Outbox::new(FrameMax::DEFAULT));
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(|| BytesMut::from(&octets[..]))
        .bench_local_values(|mut input| {
            read(&mut splitter, &mut input, |message| {
                let publish = message.publish().unwrap();
                let deliver = Deliver {
                    consumer_tag: b"ctag1.4f0b1c2d",
                    delivery_tag: 1,
                    redelivered: false,
                    exchange: publish.exchange,
                    routing_key: publish.routing_key,
                };
                outbox.message(1, &deliver, &message).unwrap();
            });
            outbox.advance(outbox.len());
            input
        });
}

/// Acknowledgements, one for each message.
#[divan::bench]
fn ack_decode(bencher: Bencher<'_, '_>) {
    let mut outbox = Outbox::new(FrameMax::DEFAULT);
    (0..1000).for_each(|tag| outbox.ack(1, tag, false));
    let octets = drain(&mut outbox);
    let mut splitter = splitter();
    bencher
        .counter(ItemsCount::new(1000_usize))
        .with_inputs(|| BytesMut::from(&octets[..]))
        .bench_local_values(|mut input| {
            let mut sum = 0;
            while let Some(mut chunk) = splitter.chunk(&mut input).unwrap() {
                while let Some(place) = chunk.next() {
                    if let Hot::Ack(ack) = Hot::read(chunk.payload(place)).unwrap() {
                        sum += ack.delivery_tag;
                    }
                }
            }
            (black_box(sum), input)
        });
}

#[divan::bench]
fn ack_encode(bencher: Bencher<'_, '_>) {
    let mut outbox = Outbox::new(FrameMax::DEFAULT);
    bencher.counter(ItemsCount::new(1000_usize)).bench_local(|| {
        (0..1000).for_each(|tag| outbox.ack(1, black_box(tag), false));
        outbox.advance(outbox.len());
    });
}

#[divan::bench]
fn table_decode(bencher: Bencher<'_, '_>) {
    let header = headers().header(0);
    let entries = Header::read(&header).unwrap().headers().unwrap().entries();
    let entries = Bytes::copy_from_slice(entries);
    bencher.bench_local(|| Table::decode_entries(black_box(entries.clone())));
}

#[divan::bench]
fn table_look_up(bencher: Bencher<'_, '_>) {
    let header = headers().header(0);
    let table = Header::read(&header).unwrap().headers().unwrap();
    bencher.bench_local(|| black_box(table).get("trace"));
}

#[divan::bench]
fn table_encode(bencher: Bencher<'_, '_>) {
    let table = headers().headers.unwrap();
    let mut out = BytesMut::new();
    bencher.bench_local(|| {
        out.clear();
        black_box(&table).encode(&mut out);
    });
}

#[divan::bench]
fn header_read(bencher: Bencher<'_, '_>) {
    let header = headers().header(0);
    bencher.bench_local(|| Header::read(black_box(&header)).unwrap().is_persistent());
}

#[divan::bench]
fn header_edit(bencher: Bencher<'_, '_>) {
    let header = headers().header(0);
    let header = Header::read(&header).unwrap();
    bencher.bench_local(|| {
        HeaderEdit::of(black_box(header))
            .without(Property::Expiration)
            .with_header("x-delivery-count", Value::I64(2))
            .finish()
    });
}

#[divan::bench]
fn queue_declare_decode(bencher: Bencher<'_, '_>) {
    let declare = Method::from(queue::Declare {
        queue: ShortString::from_static("work-queue"),
        durable: true,
        arguments: Table::new().with("x-max-length", Value::I32(1000)),
        ..queue::Declare::default()
    });
    let mut out = BytesMut::new();
    declare.encode(1, FrameMax::DEFAULT, &mut out).unwrap();
    let end = out.len() - 1;
    let payload = out.freeze().slice(7..end);
    bencher.bench_local(|| Method::decode(black_box(&payload)));
}
