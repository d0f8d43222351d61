use proptest::prelude::*;

use super::*;

fn request(text: &str) -> Result<Request, Refused> {
    let mut request = Request::default();
    assert!(request.read(text.as_bytes(), Limits::default())?.is_some());
    Ok(request)
}

fn response(text: &str) -> Result<Response, Refused> {
    let mut response = Response::default();
    assert!(response.read(text.as_bytes(), Limits::default())?.is_some());
    Ok(response)
}

fn written(request: &Request, octets: &[u8]) -> String {
    let mut out = Vec::new();
    request.write(octets, &mut out);
    String::from_utf8(out).unwrap()
}

/// A request with these lines after the first.
fn with(lines: &str) -> Result<Request, Refused> {
    request(&format!("POST / HTTP/1.1\r\n{lines}\r\n\r\n"))
}

#[test]
fn the_parts_of_a_request_are_found_where_they_are() {
    let text = "\r\n\nGET /a/b?c=d HTTP/1.1\r\nHost: example.com\r\nX-List:  a, \"b,c\",,d \r\n\r\nbody";
    let mut head = Request::default();
    let end = head.read(text.as_bytes(), Limits::default()).unwrap().unwrap();
    assert_eq!(&text[end..], "body");
    let octets = text.as_bytes();
    assert_eq!(head.original(octets), &octets[3..end]);
    assert_eq!((head.method(octets), head.url(octets)), ("GET", "/a/b?c=d"));
    let target = head.target(octets);
    assert_eq!(
        (target.authority, target.path, target.query),
        (None, "/a/b", Some("c=d"))
    );
    assert_eq!(head.host(octets), Some(&b"example.com"[..]));
    let fields = head.fields(octets);
    assert_eq!(
        (fields.len(), fields.get("x-list")),
        (2, Some(&b"a, \"b,c\",,d"[..]))
    );
    let members: Vec<_> = list(fields.get("x-list").unwrap()).collect();
    assert_eq!(members, [&b"a"[..], b"\"b,c\"", b"d"]);
    assert!(!head.irregular() && head.persistent() && head.length() == Length::None);
}

#[test]
fn targets_come_in_four_forms_and_go_with_their_method() {
    let parts = |line: &str| {
        let text = format!("{line} HTTP/1.1\r\n\r\n");
        let head = request(&text)?;
        let target = head.target(text.as_bytes());
        Ok((
            target.authority.map(str::to_owned),
            target.path.to_owned(),
            target.query.map(str::to_owned),
        ))
    };
    let is = |authority: Option<&str>, path: &str, query: Option<&str>| {
        Ok((
            authority.map(str::to_owned),
            path.to_owned(),
            query.map(str::to_owned),
        ))
    };
    assert_eq!(parts("GET http://a:1/p?q"), is(Some("a:1"), "/p", Some("q")));
    assert_eq!(parts("GET http://a?q"), is(Some("a"), "/", Some("q")));
    assert_eq!(parts("GET /p?u=http://b/"), is(None, "/p", Some("u=http://b/")));
    assert_eq!(parts("OPTIONS *"), is(None, "*", None));
    assert_eq!(parts("CONNECT a:443"), is(Some("a:443"), "", None));
    for line in [
        "GET foo",
        "CONNECT /",
        "GET /#part",
        "GET *a",
        "GET http:///p",
        "GET /\u{e9}",
    ] {
        assert_eq!(parts(line), Err(Refused::Target), "{line}");
    }
}

#[test]
fn one_request_has_one_host() {
    let same = with("Host: a\r\nHost: a").unwrap();
    assert!(same.irregular() && same.fields.len() == 1);
    assert_eq!(with("Host: a\r\nHost: b").unwrap_err(), Refused::Hosts);
    let absolute = |target: &str, host: &str| {
        request(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).map(|_| ())
    };
    assert_eq!(absolute("http://b/x", "a"), Err(Refused::Hosts));
    assert_eq!(absolute("http://A/x", "a:80"), Ok(()));
    assert_eq!(absolute("https://a:443/x", "a"), Ok(()));
    assert_eq!(absolute("http://a:81/x", "a"), Err(Refused::Hosts));
    let connect = |host: &str| request(&format!("CONNECT a:81 HTTP/1.1\r\nHost: {host}\r\n\r\n")).map(|_| ());
    assert_eq!(connect("a"), Ok(()));
    assert_eq!(connect("a:81"), Ok(()));
    assert_eq!(connect("b:81"), Err(Refused::Hosts));
    // A proxy need not insist on one.
    assert!(with("X: y").is_ok());
}

#[test]
fn nonsense_is_refused_with_the_status_that_says_why() {
    let first = |line: &str| request(&format!("{line}\r\nHost: a\r\n\r\n")).unwrap_err();
    assert_eq!(first("GET /"), Refused::RequestLine);
    assert_eq!(first("GET / HTTP/9"), Refused::RequestLine);
    assert_eq!(first("GET /a b HTTP/1.1"), Refused::RequestLine);
    assert_eq!(first("GET  / HTTP/1.1"), Refused::RequestLine);
    assert_eq!(first("\u{16}\u{3}\u{1}"), Refused::RequestLine);
    assert_eq!(first("GET / HTTP/2.0"), Refused::Version);
    assert_eq!(first("PRI * HTTP/2.0"), Refused::Version);
    assert_eq!(with("Host : a").unwrap_err(), Refused::FieldName);
    assert_eq!(with(": a").unwrap_err(), Refused::FieldName);
    assert_eq!(with("X: a\r\n b").unwrap_err(), Refused::FieldName);
    assert_eq!(with("X: a\0b").unwrap_err(), Refused::FieldValue);
    assert_eq!(with("X: a\rb").unwrap_err(), Refused::FieldValue);
    assert_eq!(
        [
            Refused::RequestLine,
            Refused::Version,
            Refused::EncodingUnknown,
            Refused::LengthTooLarge
        ]
        .map(Refused::status),
        [400, 505, 501, 413]
    );
}

#[test]
fn a_length_is_one_number() {
    assert_eq!(with("Content-Length: 5").unwrap().length(), Length::Sized(5));
    assert_eq!(with("Content-Length: 0").unwrap().length(), Length::None);
    for same in ["Content-Length: 5, 5", "Content-Length: 5\r\ncontent-length: 5"] {
        let head = with(same).unwrap();
        assert!(head.irregular() && head.length() == Length::Sized(5));
        let text = written(&head, format!("POST / HTTP/1.1\r\n{same}\r\n\r\n").as_bytes());
        assert_eq!(text, "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n");
    }
    for invalid in ["", "+5", "-1", "5 5", "0x5", "5,", "5;5"] {
        let refused = with(&format!("Content-Length: {invalid}")).unwrap_err();
        assert_eq!(refused, Refused::LengthInvalid, "{invalid:?}");
    }
    for different in ["Content-Length: 5, 6", "Content-Length: 5\r\nContent-Length: 6"] {
        assert_eq!(with(different).unwrap_err(), Refused::LengthsDiffer);
    }
    let most = with(&format!("Content-Length: {}", u64::MAX)).unwrap();
    assert_eq!(most.length(), Length::Sized(u64::MAX));
    let more = with("Content-Length: 18446744073709551616").unwrap_err();
    assert_eq!(more, Refused::LengthTooLarge);
}

#[test]
fn a_request_with_an_encoding_ends_with_its_last_chunk_or_is_refused() {
    assert_eq!(
        with("Transfer-Encoding: Chunked").unwrap().length(),
        Length::Chunked
    );
    assert_eq!(
        with("Transfer-Encoding: gzip, chunked").unwrap().length(),
        Length::Chunked
    );
    let refused = |lines: &str| with(lines).unwrap_err();
    assert_eq!(refused("Transfer-Encoding: gzip"), Refused::EncodingUnknown);
    assert_eq!(refused("Transfer-Encoding: xchunked"), Refused::EncodingUnknown);
    assert_eq!(refused("Transfer-Encoding:"), Refused::EncodingUnknown);
    assert_eq!(
        refused("Transfer-Encoding: chunked, gzip"),
        Refused::EncodingInvalid
    );
    assert_eq!(
        refused("Transfer-Encoding: chunked, chunked"),
        Refused::EncodingInvalid
    );
    assert_eq!(
        refused("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        Refused::EncodingInvalid
    );
    for both in [
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
    ] {
        assert_eq!(refused(both), Refused::LengthAndEncoding);
    }
    let old = request("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap_err();
    assert_eq!(old, Refused::EncodingUnknown);
}

#[test]
fn lines_that_end_with_lf_alone_go_on_with_crlf() {
    let text = "GET / HTTP/1.1\nHost: a\r\nX: y\n\n";
    let head = request(text).unwrap();
    assert!(head.irregular());
    assert_eq!(
        written(&head, text.as_bytes()),
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"
    );
    for text in [
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\n\r\n",
        "GET / HTTP/1.1\nA: b\r\n\r\n",
    ] {
        assert!(request(text).unwrap().irregular(), "{text:?}");
    }
}

#[test]
fn a_head_beyond_the_limits_says_which() {
    let limits = Limits { head: 100, fields: 3 };
    let read = |text: &str| Request::default().read(text.as_bytes(), limits);
    let long = "a".repeat(100);
    assert_eq!(read(&format!("GET /{long}")), Err(Refused::TargetTooLong(100)));
    assert_eq!(
        read(&format!("GET / HTTP/1.1\r\nX: {long}")),
        Err(Refused::HeadTooLong(100))
    );
    assert_eq!(
        read(&format!("GET / HTTP/1.1\r\nX: {long}\r\n\r\n")),
        Err(Refused::HeadTooLong(100))
    );
    assert_eq!(
        read(&format!("GET /{long} HTTP/1.1\r\n\r\n")),
        Err(Refused::TargetTooLong(100))
    );
    assert_eq!(
        read(&format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(4))),
        Err(Refused::TooManyFields(3))
    );
    let fits = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(3));
    assert_eq!(read(&fits), Ok(Some(fits.len())));
    // A body does not count.
    assert_eq!(read(&format!("{fits}{long}")), Ok(Some(fits.len())));
    assert_eq!(
        Response::default().read(long.as_bytes(), limits),
        Err(Refused::StatusLine)
    );
    assert_eq!(
        Response::default().read(format!("HTTP/1.1 200 {long}").as_bytes(), limits),
        Err(Refused::HeadTooLong(100))
    );
}

#[test]
fn a_connection_goes_on_as_its_version_and_options_say() {
    let goes_on = |version: &str, lines: &str| {
        request(&format!("GET / HTTP/{version}\r\n{lines}\r\n"))
            .unwrap()
            .persistent()
    };
    assert!(goes_on("1.1", ""));
    assert!(goes_on("1.1", "Connection: keep-alive\r\n"));
    assert!(!goes_on("1.1", "Connection: foo, Close\r\n"));
    assert!(!goes_on("1.1", "Connection: keep-alive\r\nConnection: close\r\n"));
    assert!(!goes_on("1.0", ""));
    assert!(goes_on("1.0", "Connection: Keep-Alive\r\n"));
    assert!(!goes_on("1.0", "Proxy-Connection: keep-alive\r\n"));
}

#[test]
fn an_upgrade_needs_both_fields() {
    assert!(
        with("Connection: keep-alive, Upgrade\r\nUpgrade: websocket")
            .unwrap()
            .upgrade()
    );
    assert!(!with("Upgrade: websocket").unwrap().upgrade());
    assert!(!with("Connection: upgrade").unwrap().upgrade());
}

#[test]
fn a_continuation_is_expected_in_1_1_only() {
    assert!(with("Expect: 100-Continue").unwrap().expects_continue());
    let old = request("POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").unwrap();
    assert!(!old.expects_continue());
}

#[test]
fn a_response_ends_where_its_status_and_the_method_say() {
    let length = |method: &str, head: &str| {
        let asked = format!("{method} HTTP/1.1\r\n\r\n");
        let request = request(&asked).unwrap();
        response(&format!("HTTP/1.1 {head}\r\n\r\n"))
            .unwrap()
            .length(&request, asked.as_bytes())
    };
    assert_eq!(length("GET /", "200 OK\r\nContent-Length: 5"), Length::Sized(5));
    assert_eq!(length("GET /", "200 OK\r\nContent-Length: 0"), Length::None);
    assert_eq!(
        length("GET /", "200 OK\r\nTransfer-Encoding: chunked"),
        Length::Chunked
    );
    assert_eq!(
        length("GET /", "200 OK\r\nTransfer-Encoding: gzip"),
        Length::UntilClose
    );
    assert_eq!(length("GET /", "200 OK"), Length::UntilClose);
    assert_eq!(length("HEAD /", "200 OK\r\nContent-Length: 5"), Length::None);
    assert_eq!(
        length("GET /", "204 No Content\r\nContent-Length: 5"),
        Length::None
    );
    assert_eq!(
        length("GET /", "304 Not Modified\r\nContent-Length: 5"),
        Length::None
    );
    assert_eq!(length("GET /", "100 Continue"), Length::None);
    assert_eq!(length("GET /", "101 Switching Protocols"), Length::Tunnel);
    assert_eq!(
        length("CONNECT a:1", "200 OK\r\nContent-Length: 5"),
        Length::Tunnel
    );
    assert_eq!(
        length("CONNECT a:1", "403 No\r\nContent-Length: 5"),
        Length::Sized(5)
    );
}

#[test]
fn a_response_with_length_and_encoding_goes_on_with_the_encoding() {
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
    let head = response(text).unwrap();
    assert!(head.irregular());
    let mut out = Vec::new();
    head.write(text.as_bytes(), &mut out);
    assert_eq!(out, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
}

#[test]
fn a_response_that_is_none_is_refused() {
    for text in [
        "HTTP/2.0 200 OK\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 099 No\r\n\r\n",
    ] {
        assert!(response(text).is_err(), "{text:?}");
    }
    assert_eq!(response("HTTP/1.0 200\r\n\r\n").unwrap().status(), 200);
    let differ = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
    assert_eq!(response(differ).unwrap_err(), Refused::LengthsDiffer);
}

#[test]
fn fields_are_added_set_and_removed_in_place() {
    let text = "GET /a HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nx-one: 2\r\n\r\n";
    let mut head = request(text).unwrap();
    let mut octets = text.as_bytes().to_vec();
    head.set_header(&mut octets, "X-One", b"3");
    head.add_header(&mut octets, "X-Two", b"a\r\nInjected: b");
    head.set_url(&mut octets, b"/b?c");
    assert_eq!(head.fields(&octets).get("x-one"), Some(&b"3"[..]));
    assert_eq!(head.remove_header(&octets, "host"), 1);
    assert_eq!(
        written(&head, &octets),
        "GET /b?c HTTP/1.1\r\nX-One: 3\r\nX-Two: a  Injected: b\r\n\r\n"
    );
}

#[test]
fn only_what_was_said_about_the_connection_is_taken_out_of_it() {
    let rewritten = |version: &str, lines: &str, persistence| {
        let text = format!("GET / HTTP/{version}\r\n{lines}\r\n");
        let mut head = request(&text).unwrap();
        let says = head.says(persistence);
        let mut octets = text.clone().into_bytes();
        head.set_persistence(&mut octets, persistence);
        let after = written(&head, &octets);
        // Rewriting is needed exactly when it makes a difference.
        assert_eq!(says, after == text, "{text:?}");
        after.split_once("\r\n").unwrap().1.trim_end().to_owned()
    };
    use Persistence::{Close, KeepAlive};
    assert_eq!(rewritten("1.1", "", KeepAlive), "");
    assert_eq!(rewritten("1.1", "", Close), "Connection: close");
    assert_eq!(rewritten("1.0", "", KeepAlive), "Connection: keep-alive");
    assert_eq!(rewritten("1.0", "", Close), "");
    assert_eq!(rewritten("1.1", "Connection: keep-alive\r\n", KeepAlive), "");
    assert_eq!(
        rewritten("1.1", "Connection: Keep-Alive, X-A ,TE\r\nA: b\r\n", Close),
        "Connection: X-A, TE\r\nA: b\r\nConnection: close"
    );
    assert_eq!(
        rewritten("1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", KeepAlive),
        "Connection: Upgrade\r\nUpgrade: websocket"
    );
}

#[test]
fn a_client_of_http_1_0_is_told_in_any_case() {
    let text = "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n";
    let told = |persistence, client| {
        let mut head = response(text).unwrap();
        let mut octets = text.as_bytes().to_vec();
        head.set_persistence(&mut octets, persistence, client);
        head.fields(&octets).get("connection").map(<[u8]>::to_vec)
    };
    assert_eq!(told(Persistence::KeepAlive, Version::Http11), None);
    assert_eq!(
        told(Persistence::KeepAlive, Version::Http10),
        Some(b"keep-alive".to_vec())
    );
    assert_eq!(told(Persistence::Close, Version::Http10), Some(b"close".to_vec()));
    assert_eq!(told(Persistence::Close, Version::Http11), Some(b"close".to_vec()));
}

#[test]
fn a_sized_body_ends_after_its_octets() {
    let mut body = Body::new(Length::Sized(5));
    assert_eq!(Body::resume(body.pause()), Some(body));
    for length in [Length::None, Length::Tunnel] {
        assert_eq!(Body::resume(Body::new(length).pause()), Some(Body::new(length)));
    }
    assert_eq!(
        body.take(b"abc"),
        Ok(Taken {
            octets: 3,
            finished: false
        })
    );
    assert_eq!(body.unseen(), 2);
    assert_eq!(
        body.take(b"deGET"),
        Ok(Taken {
            octets: 2,
            finished: true
        })
    );
    assert_eq!(
        body.take(b"GET"),
        Ok(Taken {
            octets: 0,
            finished: true
        })
    );
    let mut tunnel = Body::new(Length::Tunnel);
    assert_eq!(
        tunnel.take(b"abc"),
        Ok(Taken {
            octets: 3,
            finished: false
        })
    );
    assert!(Body::new(Length::None).is_finished());
}

#[test]
fn a_chunked_body_ends_after_its_trailers() {
    let text = b"5\r\nhello\r\n00a ; x=\"y\"\r\n0123456789\r\n0\r\nT: u\r\nV: w\r\n\r\nGET";
    let mut body = Body::new(Length::Chunked);
    assert_eq!(
        body.take(text),
        Ok(Taken {
            octets: text.len() - 3,
            finished: true
        })
    );
    let mut moved = Body::new(Length::Chunked);
    assert_eq!(moved.take(b"64\r\n").unwrap().octets, 4);
    assert_eq!(moved.unseen(), 100);
    moved.skip(40);
    assert_eq!(moved.unseen(), 60);
    moved.skip(60);
    assert!(moved.take(b"\r\n0\r\n\r\n").unwrap().finished);
}

#[test]
fn chunks_that_could_be_read_in_two_ways_are_refused() {
    let refused = |text: &[u8]| Body::new(Length::Chunked).take(text).unwrap_err();
    assert_eq!(refused(b"\r\n"), Refused::ChunkSize);
    assert_eq!(refused(b"-1\r\n"), Refused::ChunkSize);
    assert_eq!(refused(b"0x5\r\n"), Refused::ChunkSize);
    assert_eq!(refused(b"g\r\n"), Refused::ChunkSize);
    assert_eq!(refused(b"10000000000000000\r\n"), Refused::ChunkSize);
    assert_eq!(refused(b"5\nhello"), Refused::ChunkEnd);
    assert_eq!(refused(b"5;a\nhello"), Refused::ChunkEnd);
    assert_eq!(refused(b"5\rhello"), Refused::ChunkEnd);
    assert_eq!(refused(b"5\r\nhelloX"), Refused::ChunkEnd);
    assert_eq!(refused(b"5\r\nhello\n0\r\n"), Refused::ChunkEnd);
    assert_eq!(refused(b"0\r\nT: u\n\r\n"), Refused::ChunkEnd);
    assert_eq!(refused(b"0\r\n\n"), Refused::ChunkEnd);
    assert_eq!(refused(b"0\r\n\rX"), Refused::ChunkEnd);
    let long = [b"5;", &[b'a'; 5000][..]].concat();
    assert_eq!(refused(&long), Refused::ChunkLineTooLong);
    let trailers = [b"0\r\n", b"A: b\r\n".repeat(4000).as_slice()].concat();
    assert_eq!(refused(&trailers), Refused::TrailersTooLong);
}

fn chunked() -> impl Strategy<Value = Vec<u8>> {
    let chunk = (
        prop::collection::vec(any::<u8>(), 1..40),
        "(;[a-z]{0,5}(=[a-z]{1,4})?)?",
    );
    (
        prop::collection::vec(chunk, 0..6),
        "([A-Z]{1,4}: [a-z]{0,6}\r\n){0,3}",
    )
        .prop_map(|(chunks, trailers)| {
            let mut text = Vec::new();
            for (data, extension) in chunks {
                text.extend_from_slice(format!("{:x}{extension}\r\n", data.len()).as_bytes());
                text.extend_from_slice(&data);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
            text
        })
}

proptest! {
    #[test]
    fn the_end_of_a_body_does_not_depend_on_how_it_came(
        text in prop_oneof![chunked(), prop::collection::vec(any::<u8>(), 0..80)],
        cuts in prop::collection::vec(1..20_usize, 1..200),
        after in prop::collection::vec(any::<u8>(), 0..10),
    ) {
        let whole = [&text[..], &after].concat();
        let mut body = Body::new(Length::Chunked);
        let expected = body.take(&whole);
        let (mut body, mut taken, mut rest) = (Body::new(Length::Chunked), 0, &whole[..]);
        let mut outcome = Ok(());
        for cut in cuts.iter().cycle() {
            let part = &rest[..(*cut).min(rest.len())];
            match body.take(part) {
                Ok(now) => taken += now.octets,
                Err(refused) => { outcome = Err(refused); break; }
            }
            rest = &rest[part.len()..];
            if rest.is_empty() || body.is_finished() { break; }
        }
        let outcome = outcome.map(|()| Taken { octets: taken, finished: body.is_finished() });
        prop_assert_eq!(outcome, expected);
    }

    #[test]
    fn a_body_goes_on_elsewhere_wherever_it_was_paused(text in chunked(), place in any::<prop::sample::Index>()) {
        let mut body = Body::new(Length::Chunked);
        let (first, rest) = text.split_at(place.index(text.len()));
        prop_assert_eq!(body.take(first), Ok(Taken { octets: first.len(), finished: false }));
        let resumed = Body::resume(body.pause());
        prop_assert_eq!(resumed, Some(body));
        let finished = Taken { octets: rest.len(), finished: true };
        prop_assert_eq!(resumed.and_then(|mut body| body.take(rest).ok()), Some(finished));
    }

    #[test]
    fn only_what_was_a_body_is_resumed(paused in prop::array::uniform3(0..20_u64)) {
        if let Some(body) = Body::resume(paused) {
            prop_assert_eq!(Body::resume(body.pause()), Some(body));
        }
    }

    #[test]
    fn a_good_chunked_body_ends_at_its_end(text in chunked(), after in prop::collection::vec(any::<u8>(), 0..10)) {
        let whole = [&text[..], &after].concat();
        let taken = Body::new(Length::Chunked).take(&whole);
        prop_assert_eq!(taken, Ok(Taken { octets: text.len(), finished: true }));
    }

    #[test]
    fn a_head_is_read_alike_however_it_came(
        lines in prop::collection::vec("[A-Za-z-]{1,8}: ?[ -~]{0,12}", 0..6),
        end in prop_oneof![Just("\r\n"), Just("\n")],
    ) {
        let text = format!("GET /a HTTP/1.1{end}{}{end}", lines.iter().map(|line| format!("{line}{end}")).collect::<String>());
        let octets = text.as_bytes();
        let (mut head, mut again) = (Request::default(), Request::default());
        for length in 0..octets.len() {
            prop_assert_eq!(head.read(&octets[..length], Limits::default()), Ok(None));
        }
        // The names may be those that mean something.
        if head.read(octets, Limits::default()) == Ok(Some(octets.len())) {
            let mut out = Vec::new();
            head.write(octets, &mut out);
            prop_assert_eq!(again.read(&out, Limits::default()), Ok(Some(out.len())));
            prop_assert!(!again.irregular());
            prop_assert!(head.fields(octets).iter().eq(again.fields(&out).iter()));
        }
    }
}
