//! What must hold for whatever arrives where HTTP/1 is expected. Shared by the fuzz target and by the test that replays
//! its corpus.
//!
//! Each input is what one side of a connection sends. It is taken for a client's and for a server's, whole and in
//! pieces.

use warren_balance::http::{
    Body, Length, Limits, Persistence, Refused, Request, Response, Taken, Version, list,
};

const LIMITS: Limits = Limits {
    head: 2048,
    fields: 16,
};

/// Whether some side of a connection could have sent this: one whole message and nothing else, or the head of one that
/// ends with its connection.
///
/// Panics if it depends on how the octets came, or if what goes on would be understood in another way.
pub(crate) fn accepted(stream: &[u8]) -> bool {
    [request(stream), response(stream)].contains(&true)
}

fn request(stream: &[u8]) -> bool {
    let mut head = Request::default();
    let read = pieces(stream, |octets| head.read(octets, LIMITS));
    let Some((octets, end)) = head_of(stream, read) else {
        return false;
    };
    assert!(head.original(octets).len() <= end);
    assert!(!head.method(octets).is_empty() && !head.url(octets).is_empty());
    let target = head.target(octets);
    assert!(target.path.len() + target.query.unwrap_or_default().len() <= head.url(octets).len() + 1);
    for (_, value) in head.fields(octets).iter() {
        assert!(list(value).all(|member| !member.is_empty()));
    }

    let (mut again, mut out) = (Request::default(), Vec::new());
    head.write(octets, &mut out);
    assert_eq!(
        again.read(&out, LIMITS_OF_WRITTEN),
        Ok(Some(out.len())),
        "{out:?}"
    );
    assert!(!again.irregular());
    assert_eq!(again.length(), head.length());
    assert_eq!(again.persistent(), head.persistent());
    assert_eq!(
        (again.method(&out), again.url(&out)),
        (head.method(octets), head.url(octets))
    );
    if !head.irregular() {
        assert!(again.fields(&out).iter().eq(head.fields(octets).iter()));
    }

    let mut edited = octets.to_vec();
    head.set_persistence(&mut edited, Persistence::Close);
    head.add_header(&mut edited, "X-Added", stream);
    out.clear();
    head.write(&edited, &mut out);
    let limits = Limits {
        head: out.len(),
        fields: 20,
    };
    if again.read(&out, limits).is_ok() {
        assert!(again.says(Persistence::Close));
        assert_eq!(again.length(), head.length());
        assert_eq!(again.fields(&out).len(), head.fields(&edited).len());
    }

    body(head.length(), &stream[end..])
}

fn response(stream: &[u8]) -> bool {
    let mut head = Response::default();
    let read = pieces(stream, |octets| head.read(octets, LIMITS));
    let Some((octets, end)) = head_of(stream, read) else {
        return false;
    };
    let (mut again, mut out) = (Response::default(), Vec::new());
    head.write(octets, &mut out);
    assert_eq!(
        again.read(&out, LIMITS_OF_WRITTEN),
        Ok(Some(out.len())),
        "{out:?}"
    );
    assert!(!again.irregular());
    assert_eq!(
        (again.status(), again.reason(&out)),
        (head.status(), head.reason(octets))
    );
    for (is_head, is_connect) in [(false, false), (true, false), (false, true)] {
        assert_eq!(
            again.length_for(is_head, is_connect),
            head.length_for(is_head, is_connect)
        );
    }
    let mut edited = octets.to_vec();
    head.set_persistence(&mut edited, Persistence::KeepAlive, Version::Http10);
    out.clear();
    head.write(&edited, &mut out);
    assert_eq!(
        again.read(&out, LIMITS_OF_WRITTEN),
        Ok(Some(out.len())),
        "{out:?}"
    );
    assert!(again.says(Persistence::KeepAlive, Version::Http10));

    body(head.length_for(false, false), &stream[end..])
}

/// What is written may be a little longer than what was read (`a:b` becomes `a: b`).
const LIMITS_OF_WRITTEN: Limits = Limits {
    head: 4096,
    fields: 20,
};

fn head_of(stream: &[u8], read: Result<Option<usize>, Refused>) -> Option<(&[u8], usize)> {
    match read {
        Ok(end) => Some((&stream[..end?], end?)),
        Err(refused) => {
            assert!((400..600).contains(&refused.status()));
            None
        }
    }
}

/// The head is read alike whatever of it had come before, and what was refused once stays so.
fn pieces(
    stream: &[u8],
    mut read: impl FnMut(&[u8]) -> Result<Option<usize>, Refused>,
) -> Result<Option<usize>, Refused> {
    let whole = read(stream);
    let step = (stream.len() / 64).max(1);
    for length in (0..stream.len()).step_by(step) {
        match (read(&stream[..length]), &whole) {
            (Ok(None), _) => {}
            (Ok(Some(end)), whole) => {
                // What follows the head cannot change it.
                assert_eq!(whole, &Ok(Some(end)));
                assert!(end <= length);
            }
            (Err(_), whole) => assert!(
                whole.is_err(),
                "refused after {length} octets and taken as a whole"
            ),
        }
    }
    assert_eq!(read(stream), whole);
    whole
}

fn body(length: Length, octets: &[u8]) -> bool {
    let mut whole = Body::new(length);
    let expected = whole.take(octets);
    for size in [1, 7] {
        let (mut body, mut taken, mut outcome) = (Body::new(length), 0, Ok(()));
        for chunk in octets.chunks(size) {
            // What need not be looked at may be moved without.
            let unseen = usize::try_from(body.unseen()).unwrap_or(usize::MAX);
            if size == 7 && unseen >= chunk.len() {
                body.skip(chunk.len() as u64);
                taken += chunk.len();
                continue;
            }
            match body.take(chunk) {
                Ok(now) => taken += now.octets,
                Err(refused) => {
                    outcome = Err(refused);
                    break;
                }
            }
        }
        let finished = body.is_finished();
        let outcome = outcome.map(|()| Taken {
            octets: taken,
            finished,
        });
        assert_eq!(outcome, expected, "in pieces of {size}");
    }
    match expected {
        Ok(taken) => taken.octets == octets.len() && (taken.finished || whole.is_endless()),
        Err(_) => false,
    }
}
