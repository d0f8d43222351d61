//! `option httpchk`: one request, and what its answer has to be.
//!
//! The head is read as it comes; of a body as much as is needed and never more than [`ANSWER_MAX`]. Absent on purpose:
//! redirects, compression, connections used twice.

use std::fmt::Write as _;

use super::finding::Finding;
use super::link::{ANSWER_MAX, Link};
use crate::plan::{Expect, Expected};

/// What is asked.
pub(super) struct Question<'a> {
    pub(super) method: &'a str,
    pub(super) uri: &'a str,
    pub(super) version: &'a str,
    pub(super) headers: &'a [(String, String)],
    pub(super) body: Option<&'a str>,
}

/// What was answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) reason: String,
    pub(super) body: Vec<u8>,
}

/// Asks and judges.
pub(super) async fn check(
    link: &mut Link,
    question: &Question<'_>,
    expect: &Expect,
) -> Result<Finding, Finding> {
    let with_body = matches!(expect.what, Expected::Body(_) | Expected::BodyRegex(_));
    let answer = ask(link, question, with_body).await?;
    Ok(judge(&answer, expect))
}

/// Asks. Without a body if only the head matters.
pub(super) async fn ask(
    link: &mut Link,
    question: &Question<'_>,
    with_body: bool,
) -> Result<Answer, Finding> {
    link.send(request(question).as_bytes()).await?;
    let mut octets = Vec::new();
    loop {
        let count = link.receive(&mut octets).await?;
        let ended = count == 0 || octets.len() >= ANSWER_MAX;
        match parse(&octets, with_body, ended || question.method == "HEAD") {
            Parsed::Answer(answer) => return Ok(answer),
            Parsed::More if !ended => {}
            Parsed::More | Parsed::Wrong => return Err(Finding::failed("L7RSP", "")),
        }
    }
}

fn request(question: &Question<'_>) -> String {
    let mut text = format!("{} {} {}\r\n", question.method, question.uri, question.version);
    for (name, value) in question.headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    if let Some(body) = question.body {
        let _ = write!(text, "content-length: {}\r\n", body.len());
    }
    if question.version != "HTTP/1.0" {
        text.push_str("connection: close\r\n");
    }
    text + "\r\n" + question.body.unwrap_or_default()
}

#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    Answer(Answer),
    More,
    Wrong,
}

fn parse(mut octets: &[u8], with_body: bool, ended: bool) -> Parsed {
    loop {
        match parse_next(octets, with_body, ended) {
            Ok(parsed) => return parsed,
            Err(rest) => octets = rest,
        }
    }
}

/// The next answer, or what follows a preliminary one.
fn parse_next(octets: &[u8], with_body: bool, ended: bool) -> Result<Parsed, &[u8]> {
    const START: &[u8] = b"HTTP/1.";
    if !octets
        .iter()
        .zip(START)
        .all(|(octet, expected)| octet == expected)
    {
        return Ok(Parsed::Wrong);
    }
    let Some(end) = memchr::memmem::find(octets, b"\r\n\r\n") else {
        return Ok(Parsed::More);
    };
    let (head, rest) = octets.split_at(end);
    let rest = rest.get(4..).unwrap_or_default();
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().splitn(3, ' ');
    let (_, status, reason) = (words.next(), words.next(), words.next());
    let Some(status) = status
        .filter(|status| status.len() == 3)
        .and_then(|status| status.parse().ok())
    else {
        return Ok(Parsed::Wrong);
    };
    if status < 200 && status != 101 {
        return Err(rest);
    }
    let header = |wanted: &str| {
        lines
            .clone()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.trim().to_owned())
    };
    let body = if !with_body {
        Some(Vec::new())
    } else if header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        unchunked(rest, ended)
    } else {
        let length = header("content-length").and_then(|length| length.parse::<usize>().ok());
        match length {
            Some(length) if rest.len() >= length => rest.get(..length).map(<[u8]>::to_vec),
            _ => ended.then(|| rest.to_vec()),
        }
    };
    Ok(match body {
        Some(body) => Parsed::Answer(Answer {
            status,
            reason: reason.unwrap_or_default().to_owned(),
            body,
        }),
        None => Parsed::More,
    })
}

/// What is in the chunks; `None` as long as the last one has not come, unless nothing more will.
fn unchunked(mut octets: &[u8], ended: bool) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(end) = memchr::memmem::find(octets, b"\r\n") {
        let size = octets.get(..end)?;
        let size = size.split(|octet| *octet == b';').next().unwrap_or_default();
        let size = std::str::from_utf8(size).ok()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?.min(ANSWER_MAX);
        if size == 0 {
            return Some(body);
        }
        let Some(chunk) = octets.get(end + 2..end + 2 + size) else {
            break;
        };
        body.extend_from_slice(chunk);
        octets = octets.get(end + 2 + size + 2..).unwrap_or_default();
    }
    ended.then_some(body)
}

fn judge(answer: &Answer, expect: &Expect) -> Finding {
    let matched = match &expect.what {
        Expected::Success => (200..400).contains(&answer.status),
        Expected::Statuses(ranges) => ranges
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&answer.status)),
        Expected::StatusRegex(regex) => regex.is_match(answer.status.to_string().as_bytes()),
        Expected::Body(text) => memchr::memmem::find(&answer.body, text.as_bytes()).is_some(),
        Expected::BodyRegex(regex) => regex.is_match(&answer.body),
    };
    if matched != expect.negated {
        return Finding::answered(true, answer.status, "");
    }
    match (&expect.what, expect.negated) {
        (Expected::Body(_) | Expected::BodyRegex(_), false) => {
            Finding::failed("L7RSP", "HTTP content check did not match")
        }
        (Expected::Body(_) | Expected::BodyRegex(_), true) => {
            Finding::failed("L7RSP", "HTTP check matched unwanted content")
        }
        _ => Finding::answered(false, answer.status, answer.reason.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str, with_body: bool, ended: bool) -> Parsed {
        parse(text.as_bytes(), with_body, ended)
    }

    fn of(status: u16, reason: &str, body: &str) -> Parsed {
        Parsed::Answer(Answer {
            status,
            reason: reason.to_owned(),
            body: body.as_bytes().to_vec(),
        })
    }

    #[test]
    fn a_request_has_a_length_if_it_has_a_body_and_asks_for_one_answer() {
        let question = Question {
            method: "POST",
            uri: "/x",
            version: "HTTP/1.1",
            headers: &[("host".to_owned(), "a.b".to_owned())],
            body: Some("12345"),
        };
        assert_eq!(
            request(&question),
            "POST /x HTTP/1.1\r\nhost: a.b\r\ncontent-length: 5\r\nconnection: close\r\n\r\n12345"
        );
        let question = Question {
            method: "GET",
            uri: "/",
            version: "HTTP/1.0",
            headers: &[],
            body: None,
        };
        assert_eq!(request(&question), "GET / HTTP/1.0\r\n\r\n");
    }

    #[test]
    fn an_answer_is_read_as_far_as_it_is_needed() {
        let whole = "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\n\r\nworld!";
        for cut in 0..35 {
            assert_eq!(
                answer(&whole[..cut], true, false),
                Parsed::More,
                "{:?}",
                &whole[..cut]
            );
        }
        assert_eq!(answer(whole, true, false), of(200, "Fine", "world"));
        assert_eq!(answer(&whole[..40], false, false), of(200, "Fine", ""));
        assert_eq!(answer("HTTP/1.0 204\r\n\r\n", false, false), of(204, "", ""));
        assert_eq!(answer("HTTP/1.0 200 OK\r\n\r\nabc", true, false), Parsed::More);
        assert_eq!(
            answer("HTTP/1.0 200 OK\r\n\r\nabc", true, true),
            of(200, "OK", "abc")
        );
        let preliminary = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\n\r\n";
        assert_eq!(answer(preliminary, false, false), of(404, "No", ""));
    }

    #[test]
    fn chunks_are_put_together() {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunks = "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        assert_eq!(
            answer(&format!("{head}{chunks}"), true, false),
            of(200, "OK", "abcde")
        );
        assert_eq!(
            answer(&format!("{head}{}", &chunks[..10]), true, false),
            Parsed::More
        );
        assert_eq!(
            answer(&format!("{head}{}", &chunks[..10]), true, true),
            of(200, "OK", "abc")
        );
    }

    #[test]
    fn what_is_not_http_is_refused_at_once() {
        for wrong in [
            "SSH-2.0",
            "HTTP/9",
            "H2",
            "HTTP/1.1 2x0 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(answer(wrong, false, false), Parsed::Wrong, "{wrong:?}");
        }
    }

    #[test]
    fn answers_are_judged_as_haproxy_does() {
        let regex = |text| regex::bytes::Regex::new(text).unwrap();
        let found = |negated, what| {
            let Parsed::Answer(answer) = answer("HTTP/1.1 200 Fine\r\n\r\nworld", true, true) else {
                panic!();
            };
            let finding = judge(&answer, &Expect { negated, what });
            (finding.status, finding.code, finding.detail)
        };
        let passed = ("L7OK", Some(200), String::new());
        let status = ("L7STS", Some(200), "Fine".to_owned());
        let body = ("L7RSP", None, "HTTP content check did not match".to_owned());
        let unwanted = ("L7RSP", None, "HTTP check matched unwanted content".to_owned());
        assert_eq!(found(false, Expected::Success), passed);
        assert_eq!(found(false, Expected::Statuses(vec![(200, 299)])), passed);
        assert_eq!(found(true, Expected::Statuses(vec![(200, 200)])), status);
        assert_eq!(found(false, Expected::StatusRegex(regex("^3"))), status);
        assert_eq!(found(false, Expected::Body("hello".to_owned())), body);
        assert_eq!(found(true, Expected::Body("world".to_owned())), unwanted);
        assert_eq!(found(false, Expected::BodyRegex(regex("^w.rld"))), passed);
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_comes_can_break_it(octets in proptest::collection::vec(0..=255_u8, 0..200), ended: bool) {
            parse(&octets, true, ended);
            unchunked(&octets, ended);
            let mut after_head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
            after_head.extend(octets);
            parse(&after_head, true, ended);
        }
    }
}
