//! What a check is: `option httpchk`, `http-check`, `option tcp-check`, `tcp-check` and their like.

use toml::Spanned;

use super::keyword::Arguments;
use super::proxy::Draft;
use crate::config::file::CheckTable;
use crate::config::words;

fn check<'d>(draft: &'d mut Draft, arguments: &Arguments<'_, '_>) -> &'d mut CheckTable {
    let spot = arguments.whole();
    let table = draft
        .check
        .get_or_insert_with(|| Spanned::new(spot, CheckTable::default()));
    table.as_mut()
}

/// An option that says it all by its name.
pub(super) fn kind(draft: &mut Draft, arguments: &Arguments<'_, '_>, kind: &str) {
    let table = CheckTable {
        kind: Some(Spanned::new(arguments.whole(), kind.to_owned())),
        ..CheckTable::default()
    };
    draft.check = Some(Spanned::new(arguments.whole(), table));
}

/// `option httpchk`, `option httpchk URI`, `option httpchk METHOD URI [VERSION]`
pub(super) fn httpchk(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let words = arguments.rest_words();
    let spot = arguments.whole();
    let at = |word: &words::Word| Spanned::new(word.span.clone(), word.text.clone());
    let given = |text: &str| Some(Spanned::new(spot.clone(), text.to_owned()));
    let table = check(draft, arguments);
    let again = table.kind.as_ref().is_some_and(|kind| kind.get_ref() == "http");
    table.kind = given("http");
    let (mut method, mut uri, mut version) = (given("OPTIONS"), given("/"), given("HTTP/1.0"));
    match words {
        [] => {
            if again {
                return;
            }
            // `http-check send` may stand above.
            method = table.method.take().or(method);
            uri = table.uri.take().or(uri);
            version = table.version.take().or(version);
        }
        [only] => uri = Some(at(only)),
        [first, second] => (method, uri) = (Some(at(first)), Some(at(second))),
        [first, second, rest @ ..] => {
            (method, uri) = (Some(at(first)), Some(at(second)));
            version = rest.first().map(at);
            // Of old, headers were smuggled in behind the version: `HTTP/1.1\r\nHost:\ example.org`.
            let text: Vec<&str> = rest.iter().map(|word| word.text.as_str()).collect();
            let text = text.join(" ");
            let mut lines = text.split("\r\n");
            version =
                version.map(|first| Spanned::new(first.span(), lines.next().unwrap_or_default().to_owned()));
            table.headers = lines
                .filter(|line| !line.is_empty())
                .map(|line| Spanned::new(spot.clone(), line.to_owned()))
                .collect();
        }
    }
    (table.method, table.uri, table.version) = (method, uri, version);
}

/// `http-check send [meth M] [uri U] [ver V] [hdr NAME VALUE]* [body B]`
pub(super) fn http_send(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    while let Some(word) = arguments.optional() {
        match word.text.as_str() {
            "meth" => {
                let method = arguments.text("a method");
                check(draft, arguments).method = method;
            }
            "uri" => {
                let uri = arguments.text("a path");
                check(draft, arguments).uri = uri;
            }
            "ver" => {
                let version = arguments.text("a version");
                check(draft, arguments).version = version;
            }
            "hdr" => {
                if let (Some(name), Some(value)) = (arguments.text("a name"), arguments.plain("a value")) {
                    let header = Spanned::new(name.span(), format!("{}: {value}", name.get_ref()));
                    check(draft, arguments).headers.push(header);
                }
            }
            "body" => {
                let body = arguments.plain("a body");
                check(draft, arguments).body = body;
            }
            other => {
                arguments.report.error(
                    word.span.clone(),
                    format!("`http-check send {other}` is not supported"),
                    "known are meth, uri, ver, hdr and body",
                );
                arguments.rest_words();
            }
        }
    }
}

/// `http-check expect ...`: `build` takes it apart.
pub(super) fn http_expect(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let Some(expected) = arguments.rest() else {
        arguments.required("what is expected");
        return;
    };
    let table = check(draft, arguments);
    if let Some(first) = &table.expect {
        let first = first.span();
        arguments.report.conflict(
            expected.span(),
            "a check expects one thing",
            first,
            "expected first",
            "keep one of them",
        );
        return;
    }
    table.expect = Some(expected);
}

/// `option tcp-check`: the steps may stand above or below it.
pub(super) fn tcp_check(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let kind = Spanned::new(arguments.whole(), "script".to_owned());
    check(draft, arguments).kind = Some(kind);
}

/// A step of it.
pub(super) fn tcp_step(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let spot = arguments.whole();
    let alone = || {
        let word = arguments.statement.words.get(1);
        Spanned::new(
            spot.clone(),
            word.map(|word| word.text.clone()).unwrap_or_default(),
        )
    };
    let alone = alone();
    let step = arguments.rest_with_second().unwrap_or(alone);
    check(draft, arguments).steps.push(step);
}

/// A script that is the whole check.
pub(super) fn script(draft: &mut Draft, arguments: &Arguments<'_, '_>, steps: &[String]) {
    let spot = arguments.whole();
    let step = |text: &String| Spanned::new(spot.clone(), text.clone());
    let table = CheckTable {
        kind: Some(Spanned::new(spot.clone(), "script".to_owned())),
        steps: steps.iter().map(step).collect(),
        ..CheckTable::default()
    };
    draft.check = Some(Spanned::new(spot.clone(), table));
}

/// `option redis-check`
pub(super) fn redis(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let steps = [r#"send "*1\r\n$4\r\nPING\r\n""#, "expect string +PONG"];
    let steps = steps.map(|step| step.replace('$', r"\$"));
    script(draft, arguments, &steps);
}

/// `option smtpchk [HELLO DOMAIN]`
pub(super) fn smtp(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let words = arguments.rest_words();
    let text = |index: usize| words.get(index).map(|word| word.text.as_str());
    let hello = match (text(0), text(1)) {
        (Some(hello @ ("EHLO" | "HELO")), Some(domain)) => format!("{hello} {domain}\r\n"),
        _ => "HELO localhost\r\n".to_owned(),
    };
    let send = words::join(["send", &hello]);
    let steps = [
        "expect rstring ^220".to_owned(),
        send,
        "expect rstring 2[0-9][0-9]".to_owned(),
    ];
    script(draft, arguments, &steps);
}
