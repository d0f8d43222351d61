//! Every wrong request that RabbitMQ was asked and what it said, word for word: level, code, text, class and method.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::broker::Broker;
use super::client::Ended;
use super::rabbitmq::RabbitMq;
use super::wrong::{self, Wrong};

/// What RabbitMQ 3.10.8 answered; a line for each request.
const RECORDED: &str = include_str!("../../recorded/reply-texts.txt");

/// Where we answer otherwise, and what.
const OURS: [(&str, &str); 13] = [
    // It speaks 0-8 as well, in which methods have other numbers. We do not, and say so.
    ("protocol header 0-8", "the connection ended without a word"),
    // It waits for a body of just the right size, and takes offence at what comes then.
    ("body longer than announced", TOO_LONG),
    ("body too long", TOO_LONG),
    ("body too long later", TOO_LONG),
    // Its reader crashes, and the connection is reset without a word.
    (
        "unknown class",
        "connection 503 \"COMMAND_INVALID - unimplemented method\" (99,10)",
    ),
    (
        "unknown method",
        "connection 503 \"COMMAND_INVALID - unimplemented method\" (50,99)",
    ),
    // A method of AMQP 1.0's making, which no client has.
    (
        "credit",
        "connection 503 \"COMMAND_INVALID - unimplemented method\" (60,200)",
    ),
    // Its channel crashes.
    ("header cut flags", CUT),
    ("header one flag octet", CUT),
    ("properties cut", CUT),
    ("property table cut", CUT),
    (
        "properties surplus",
        "connection 502 \"SYNTAX_ERROR - invalid properties: the content header goes on behind its last property: \
         the peer has to set the flags of all it sends\" (60,40)",
    ),
    (
        "property table bad letter",
        "connection 502 \"SYNTAX_ERROR - invalid properties: a value has the type 0x3f, which is none of RabbitMQ's \
         letters: send one of those\" (60,40)",
    ),
];

const CUT: &str = "connection 502 \"SYNTAX_ERROR - invalid properties: the content header ends too early: the peer \
                   has to send all properties that it announces\" (60,40)";
const TOO_LONG: &str =
    "connection 505 \"UNEXPECTED_FRAME - expected end of content body, got 1 octets more\" (60,40)";

fn recorded() -> BTreeMap<&'static str, &'static str> {
    RECORDED
        .lines()
        .filter_map(|line| line.split_once(" -> "))
        .map(|(name, said)| (name, normal(said)))
        .collect()
}

/// What the recording says of connections that ended, or did not, in one way.
fn normal(said: &str) -> &str {
    if said.contains("ConnectionResetError") || said.contains("Connection reset by peer") {
        return "the connection ended without a word";
    }
    match said.ends_with("kept open") {
        true => "nothing within 4 s",
        false => said,
    }
}

/// In the words of the recording.
pub(crate) fn words(ended: Option<&Ended>) -> String {
    match ended {
        None => "nothing within 4 s".to_owned(),
        Some(Ended::Silently) => "the connection ended without a word".to_owned(),
        Some(Ended::Closed {
            channel,
            code,
            text,
            method,
        }) => {
            let level = if *channel == 0 { "connection" } else { "channel" };
            format!("{level} {code} \"{text}\" {method}")
        }
    }
}

/// Makes every wrong request, and tells where the answer was not the one that is expected.
fn differences(at: SocketAddr, expected: &BTreeMap<&str, &str>) -> Vec<String> {
    let mut different = Vec::new();
    for Wrong { name, request } in wrong::all() {
        let got = words(request(at).as_ref());
        let expected = expected.get(name).copied().unwrap_or("not recorded");
        if got != expected {
            different.push(format!("{name}\n  expected {expected}\n  got      {got}"));
        }
    }
    different
}

#[test]
fn every_request_that_was_recorded_is_made() {
    let made: Vec<&str> = wrong::all().into_iter().map(|wrong| wrong.name).collect();
    let recorded = recorded();
    let missing: Vec<_> = recorded.keys().filter(|name| !made.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_wrong_request_gets_the_recorded_answer() {
    let broker = Broker::start();
    let mut expected = recorded();
    expected.extend(OURS);
    let different = differences(broker.at, &expected);
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn rabbitmq_gives_the_recorded_answers() {
    let Some(rabbitmq) = RabbitMq::start() else { return };
    let different = differences(rabbitmq.at, &recorded());
    assert!(different.is_empty(), "{}", different.join("\n"));
}
