//! `show errors`: the last request and the last response of each proxy that were not understood, octet by octet.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use warren_balance::http::Origin;
use warren_kit::clock;

use super::commands::{Answer, Request};
use super::show::proxy_number;
use crate::live::Capture;
use crate::plan::ProxyId;

/// Characters of a line of octets, with its place in front.
const LINE: usize = 79;

/// `show errors [<proxy>] [request|response]`.
pub(super) fn show(request: &Request<'_>) -> Answer {
    let wanted = match request.argument(0) {
        "" => None,
        name => match proxy_number(request, name) {
            Some(wanted) => wanted,
            None => return Answer::line("No such proxy."),
        },
    };
    let only = match request.argument(1) {
        "request" => Some(Origin::Request),
        "response" => Some(Origin::Response),
        _ => None,
    };
    let live = &request.context.live;
    let events = live.captures();
    let mut text = format!(
        "Total events captured on [{}] : {events}\n",
        written(clock::wall_clock())
    );
    let snapshot = live.snapshot();
    let requests = snapshot.frontends.iter().map(|frontend| {
        let capture = frontend.refused.get();
        (frontend.plan().id, &frontend.name, Origin::Request, capture)
    });
    let responses = snapshot.backends.iter().map(|backend| {
        let capture = backend.refused.get();
        (backend.plan().id, &backend.name, Origin::Response, capture)
    });
    let mut captures: Vec<_> = requests.chain(responses).collect();
    captures.sort_by_key(|(id, _, origin, _)| (*id, *origin == Origin::Response));
    for (id, name, origin, capture) in captures {
        if let Some(capture) = capture
            && wanted.is_none_or(|wanted| wanted == id || capture.is_also_of(wanted))
            && only.is_none_or(|only| only == origin)
        {
            write(
                &mut text,
                (name, id),
                origin,
                &capture,
                snapshot.plan.global.buffer.get(),
            );
        }
    }
    Answer::Text(text)
}

fn written(moment: std::time::SystemTime) -> String {
    let moment = jiff::Timestamp::try_from(moment).unwrap_or_default();
    let local = moment.to_zoned(TimeZone::system());
    local.strftime("%d/%b/%Y:%H:%M:%S%.3f").to_string()
}

fn write(text: &mut String, (name, id): (&str, ProxyId), origin: Origin, capture: &Capture, buffer: usize) {
    let named = |other: &Option<(std::sync::Arc<str>, u32)>| match other {
        Some((name, id)) => format!("{name} (#{id})"),
        None => "<NONE> (#-1)".to_owned(),
    };
    let (own, other, message) = match origin {
        Origin::Request => ("frontend", "backend", "request"),
        Origin::Response => ("backend", "frontend", "response"),
    };
    let client = match capture.client {
        Some(address) => format!("{}:{}", address.ip(), address.port()),
        None => "unix:0".to_owned(),
    };
    let length = capture.octets.len();
    let _ = writeln!(
        text,
        " \n[{}] {own} {name} (#{}): invalid {message}\n  {other} {}, server {}, event #{}, src {client}\n  \
         buffer starts at 0 (including 0 out), {} free,\n  len {length}, wraps at {buffer}, error at position {}\n  \
         H1 connection flags 0x00000000, H1 stream flags 0x00000000\n  \
         H1 msg state {}({}), H1 msg flags 0x00000000\n  H1 chunk len 0 bytes, H1 body len 0 bytes :\n  ",
        written(capture.at),
        id.0,
        named(&capture.other),
        named(&capture.server),
        capture.event,
        buffer.saturating_sub(length),
        capture.fault.position,
        capture.fault.part.name(),
        capture.fault.part as u8,
    );
    write_octets(text, &capture.octets);
}

/// A line of text for each line, and for what does not fit on one.
fn write_octets(text: &mut String, octets: &[u8]) {
    let (mut line, mut goes_on) = (String::new(), false);
    for (place, octet) in octets.iter().enumerate() {
        let written = match octet {
            b'\t' => "\\t".to_owned(),
            b'\n' => "\\n".to_owned(),
            b'\r' => "\\r".to_owned(),
            0x1b => "\\e".to_owned(),
            b'\\' => "\\\\".to_owned(),
            b' '..=b'~' => char::from(*octet).to_string(),
            _ => format!("\\x{octet:02X}"),
        };
        if line.len() + written.len() > LINE {
            let _ = writeln!(text, "{line}");
            line.clear();
            goes_on = true;
        }
        if line.is_empty() {
            let _ = write!(line, "  {place:05}{} ", if goes_on { '+' } else { ' ' });
        }
        line.push_str(&written);
        if *octet == b'\n' {
            let _ = writeln!(text, "{line}");
            line.clear();
            goes_on = false;
        }
    }
    if !line.is_empty() {
        let _ = writeln!(text, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_written_so_that_each_can_be_told() {
        let mut text = String::new();
        let long = [b"a\\\t\x00\x7f\x1b\r\n", &[b'x'; 71][..], b"\xc3\n"].concat();
        write_octets(&mut text, &long);
        let whole = "x".repeat(70);
        assert_eq!(
            text,
            format!("  00000  a\\\\\\t\\x00\\x7F\\e\\r\\n\n  00008  {whole}\n  00078+ x\\xC3\\n\n")
        );
    }
}
