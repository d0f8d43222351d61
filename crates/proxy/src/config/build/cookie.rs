//! `cookie NAME ...`: clients that return to their server.

use toml::Spanned;
use warren_kit::config::{Report, suggestion};

use super::line;
use crate::config::haproxy::duration;
use crate::plan::{CookieMode, Mode, StickyCookie};

const WORDS: [&str; 13] = [
    "rewrite", "insert", "prefix", "indirect", "nocache", "postonly", "preserve", "httponly", "secure",
    "domain", "attr", "maxidle", "maxlife",
];

/// `NAME [rewrite|insert|prefix] [indirect] [nocache] [postonly] [preserve] [httponly] [secure] [domain D] [attr A]
/// [maxidle T] [maxlife T]`
pub(super) fn cookie(report: &mut Report, text: &Spanned<String>, mode: Mode) -> Option<StickyCookie> {
    let words = line::words(report, text)?;
    let mut words = words.iter();
    let Some(name) = words.next() else {
        report.error(
            text.span(),
            "a cookie without a name",
            "write one such as SRV insert indirect nocache",
        );
        return None;
    };
    let mut cookie = StickyCookie {
        name: name.text.clone(),
        mode: CookieMode::Passive,
        indirect: false,
        nocache: false,
        postonly: false,
        preserve: false,
        attributes: String::new(),
        max_idle: None,
        max_life: None,
    };
    let (mut domains, mut flags, mut attributes) = (String::new(), String::new(), String::new());
    while let Some(word) = words.next() {
        let mode = match word.text.as_str() {
            "rewrite" => Some(CookieMode::Rewrite),
            "insert" => Some(CookieMode::Insert),
            "prefix" => Some(CookieMode::Prefix),
            _ => None,
        };
        if let Some(mode) = mode {
            if cookie.mode != CookieMode::Passive && cookie.mode != mode {
                report.error(
                    word.span.clone(),
                    "a cookie is made in one way",
                    "write one of rewrite, insert and prefix",
                );
            }
            cookie.mode = mode;
            continue;
        }
        match word.text.as_str() {
            "indirect" => cookie.indirect = true,
            "nocache" => cookie.nocache = true,
            "postonly" => cookie.postonly = true,
            "preserve" => cookie.preserve = true,
            "httponly" => flags.insert_str(0, "; HttpOnly"),
            "secure" => flags.push_str("; Secure"),
            option @ ("domain" | "attr") => match words.next() {
                Some(value) if value.text.contains([';', '\r', '\n']) && option == "domain" => report.error(
                    value.span.clone(),
                    format!("`{}` is no domain", value.text),
                    "write one such as .example.com",
                ),
                Some(value) if option == "domain" => domains += &format!("; domain={}", value.text),
                Some(value) => attributes += &format!("; {}", value.text),
                None => report.error(
                    word.span.clone(),
                    format!("`{option}` needs a value"),
                    "write it behind",
                ),
            },
            option @ ("maxidle" | "maxlife") => {
                let seconds = words.next().and_then(|value| {
                    let time = duration(&value.text, "s").ok()?;
                    u32::try_from(time.get().as_secs()).ok()
                });
                match seconds {
                    None => report.error(
                        word.span.clone(),
                        format!("`{option}` needs a duration"),
                        "write such as 30m behind it",
                    ),
                    Some(_) if option == "maxidle" => cookie.max_idle = seconds,
                    Some(_) => cookie.max_life = seconds,
                }
            }
            "dynamic" => report.error(
                word.span.clone(),
                "`dynamic` is not supported",
                "give every server a `cookie` of its own",
            ),
            other => report.error(
                word.span.clone(),
                format!("unknown word `{other}` after `cookie`"),
                suggestion(other, WORDS.into_iter()),
            ),
        }
    }
    let dated = cookie.max_idle.is_some() || cookie.max_life.is_some();
    if dated && cookie.mode != CookieMode::Insert {
        report.warn(
            text.span(),
            "only cookies that the proxy makes itself have dates",
            "write `insert`, or remove maxidle and maxlife",
        );
    }
    cookie.attributes = format!("{domains}{flags}{attributes}");
    if mode != Mode::Http {
        report.warn(
            text.span(),
            "cookies have no effect here: HTTP is not spoken",
            "write `mode http`",
        );
        return None;
    }
    Some(cookie)
}
