//! What is done to a sample before it is used: `%[path,lower]`, `%[req.hdr(host),map(/etc/haproxy/hosts.map,web)]`.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::map::Map;

/// One of them, compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Converter {
    Lower,
    Upper,
    /// `field(2,:)`: parts between delimiters, of which any may be empty.
    Field(i64, Vec<u8>),
    /// `word(2,:)`: the same without empty ones.
    Word(i64, Vec<u8>),
    Length,
    UrlDecode,
    Base64,
    FromBase64,
    Hexadecimal,
    /// The same of a number, which has eight octets.
    HexadecimalNumber,
    /// `regsub(regex,replacement,flags)`
    Substitute(Expression, String, bool),
    /// `map(FILE,DEFAULT)`
    Map(Arc<Map>, Option<String>),
}

/// A regular expression that is equal to another one if it is written the same way.
#[derive(Clone, Debug)]
pub(crate) struct Expression(pub(crate) regex::bytes::Regex);

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Expression {}

/// Every name, for messages.
pub(crate) const NAMES: [&str; 19] = [
    "lower", "upper", "field", "word", "length", "url_dec", "base64", "b64dec", "hex", "regsub", "map",
    "map_str", "map_beg", "map_end", "map_sub", "map_dir", "map_dom", "map_reg", "map_ip",
];

impl Converter {
    /// From its name and what stands in its parentheses, or what is wrong with it.
    pub(super) fn named(name: &str, argument: Option<&str>) -> Result<Self, String> {
        let unknown = || {
            let known = NAMES.join(", ");
            Err(format!(
                "there is no converter \"{name}\" to be used here: there are {known}"
            ))
        };
        let plain = match name {
            "lower" => Self::Lower,
            "upper" => Self::Upper,
            "length" => Self::Length,
            "url_dec" => Self::UrlDecode,
            "base64" => Self::Base64,
            "b64dec" => Self::FromBase64,
            "hex" => Self::Hexadecimal,
            _ => {
                let Some(argument) = argument else {
                    return unknown();
                };
                return Self::with_argument(name, argument).unwrap_or_else(unknown);
            }
        };
        match argument {
            None | Some("") => Ok(plain),
            Some("1") if plain == Self::UrlDecode => Ok(plain),
            Some(argument) => Err(format!("the converter \"{name}\" takes no \"{argument}\"")),
        }
    }

    fn with_argument(name: &str, argument: &str) -> Option<Result<Self, String>> {
        Some(match name {
            "field" | "word" => {
                let (number, delimiters) = argument.split_once(',').unwrap_or((argument, ""));
                let delimiters = unquoted(delimiters);
                match number.trim().parse::<i64>() {
                    Ok(number) if !delimiters.is_empty() => {
                        let delimiters = delimiters.into_bytes();
                        Ok(if name == "field" {
                            Self::Field(number, delimiters)
                        } else {
                            Self::Word(number, delimiters)
                        })
                    }
                    _ => Err(format!("\"{name}\" needs a number and delimiters: {name}(1,:)")),
                }
            }
            "regsub" => substitution(argument),
            _ => {
                let how = name.strip_prefix("map")?;
                let (file, default) = match argument.split_once(',') {
                    Some((file, default)) => (file, Some(unquoted(default))),
                    None => (argument, None),
                };
                let map = match Map::read(std::path::Path::new(&unquoted(file)), how)? {
                    Ok(map) => map,
                    Err(error) => return Some(Err(error)),
                };
                Ok(Self::Map(Arc::new(map), default))
            }
        })
    }

    /// What it does to a sample that is a number by nature.
    pub(super) fn of_a_number(&mut self) {
        if *self == Self::Hexadecimal {
            *self = Self::HexadecimalNumber;
        }
    }

    /// Changes the value that begins at `start`. False: there is none any more.
    pub(super) fn apply(&self, out: &mut Vec<u8>, start: usize) -> bool {
        let value = out.get_mut(start..).unwrap_or_default();
        let made: Vec<u8> = match self {
            Self::Lower => {
                value.make_ascii_lowercase();
                return true;
            }
            Self::Upper => {
                value.make_ascii_uppercase();
                return true;
            }
            Self::Field(number, delimiters) => {
                let parts = value.split(|octet| delimiters.contains(octet)).collect();
                let Some(part) = nth(parts, *number) else {
                    return gone(out, start);
                };
                part.to_vec()
            }
            Self::Word(number, delimiters) => {
                let parts = value.split(|octet| delimiters.contains(octet));
                let parts = parts.filter(|part| !part.is_empty()).collect();
                let Some(part) = nth(parts, *number) else {
                    return gone(out, start);
                };
                part.to_vec()
            }
            Self::Length => value.len().to_string().into_bytes(),
            Self::UrlDecode => url_decoded(value),
            Self::Base64 => STANDARD.encode(value).into_bytes(),
            Self::FromBase64 => match STANDARD.decode(value) {
                Ok(decoded) => decoded,
                Err(_) => return gone(out, start),
            },
            Self::Hexadecimal => {
                let digits = value.iter().map(|octet| format!("{octet:02X}"));
                digits.collect::<String>().into_bytes()
            }
            Self::HexadecimalNumber => {
                let text = std::str::from_utf8(value).unwrap_or_default();
                format!("{:016X}", text.parse::<i64>().unwrap_or_default()).into_bytes()
            }
            Self::Substitute(Expression(regex), with, all) => {
                let times = if *all { 0 } else { 1 };
                let with = |found: &regex::bytes::Captures<'_>| {
                    references(with.as_bytes(), |number| {
                        found.get(number).map(|group| group.as_bytes())
                    })
                };
                regex.replacen(value, times, with).into_owned()
            }
            Self::Map(map, default) => match (map.find(value), default) {
                (Some(found), _) | (None, Some(found)) => found.clone().into_bytes(),
                (None, None) => return gone(out, start),
            },
        };
        out.truncate(start);
        out.extend_from_slice(&made);
        true
    }
}

fn gone(out: &mut Vec<u8>, start: usize) -> bool {
    out.truncate(start);
    false
}

/// From 1 at the front, from -1 at the back; 0 is none.
fn nth(parts: Vec<&[u8]>, number: i64) -> Option<&[u8]> {
    let place = match number {
        1.. => usize::try_from(number).ok()?.checked_sub(1)?,
        _ => parts
            .len()
            .checked_sub(usize::try_from(number.checked_neg()?).ok()?)?,
    };
    parts.get(place).copied()
}

/// `regex,replacement[,flags]`; a comma in the expression needs quotes.
fn substitution(argument: &str) -> Result<Converter, String> {
    let help = || "\"regsub\" needs an expression and what to put in its place: regsub(/+,/,g)".to_owned();
    let (regex, rest) = match argument.strip_prefix(['"', '\'']) {
        Some(rest) => {
            let end = rest.find(['"', '\'']).ok_or_else(help)?;
            (&rest[..end], rest[end + 1..].strip_prefix(',').ok_or_else(help)?)
        }
        None => argument.split_once(',').ok_or_else(help)?,
    };
    let (with, flags) = match rest.rsplit_once(',') {
        Some((with, flags)) if flags.chars().all(|flag| "gi".contains(flag)) => (with, flags),
        _ => (rest, ""),
    };
    let insensitive = if flags.contains('i') { "(?i)" } else { "" };
    let regex = regex::bytes::Regex::new(&format!("{insensitive}{regex}"))
        .map_err(|error| format!("\"{regex}\" is no regular expression: {error}"))?;
    Ok(Converter::Substitute(
        Expression(regex),
        unquoted(with),
        flags.contains('g'),
    ))
}

fn unquoted(text: &str) -> String {
    let text = text.trim();
    let quoted = |quote: char| text.len() >= 2 && text.starts_with(quote) && text.ends_with(quote);
    if quoted('"') || quoted('\'') {
        text[1..text.len() - 1].to_owned()
    } else {
        text.to_owned()
    }
}

/// `%41` is `A`; what is no such thing stays.
fn url_decoded(value: &[u8]) -> Vec<u8> {
    let digit = |octet: &u8| {
        char::from(*octet)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((octet, after)) = rest.split_first() {
        rest = after;
        match (octet, after) {
            (b'%', [high, low, more @ ..]) => match (digit(high), digit(low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = more;
                }
                _ => out.push(*octet),
            },
            _ => out.push(*octet),
        }
    }
    out
}

/// `\0` to `\9` become what the expression has found.
pub(crate) fn references<'a>(template: &[u8], group: impl Fn(usize) -> Option<&'a [u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(template.len());
    let mut octets = template.iter();
    while let Some(octet) = octets.next() {
        match octet {
            b'\\' => match octets.next() {
                Some(digit @ b'0'..=b'9') => {
                    out.extend_from_slice(group(usize::from(digit - b'0')).unwrap_or_default());
                }
                Some(other) => out.push(*other),
                None => out.push(b'\\'),
            },
            other => out.push(*other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(name: &str, argument: Option<&str>, value: &str) -> Option<String> {
        let converter = Converter::named(name, argument).unwrap();
        let mut out = format!("before {value}").into_bytes();
        let there = converter.apply(&mut out, 7);
        let out = String::from_utf8(out).unwrap();
        there.then(|| out.strip_prefix("before ").unwrap().to_owned())
    }

    #[test]
    fn values_become_what_the_converter_says() {
        for (name, argument, value, made) in [
            ("lower", None, "AbC", Some("abc")),
            ("upper", None, "AbC", Some("ABC")),
            ("field", Some("1,:"), "a:80", Some("a")),
            ("field", Some("2,:"), "a::80", Some("")),
            ("field", Some("-1,:"), "a::80", Some("80")),
            ("field", Some("4,:"), "a::80", None),
            ("word", Some("2,:"), "a::80", Some("80")),
            ("word", Some("3,:"), "a::80", None),
            ("word", Some("1,\",\""), "x,y", Some("x")),
            ("length", None, "abc", Some("3")),
            ("url_dec", None, "%41+%zz%4", Some("A+%zz%4")),
            ("base64", None, "hi", Some("aGk=")),
            ("b64dec", None, "aGk=", Some("hi")),
            ("b64dec", None, "?", None),
            ("hex", None, "az", Some("617A")),
            ("regsub", Some("/+,/"), "a//b//c", Some("a/b//c")),
            ("regsub", Some("/+,/,g"), "a//b//c", Some("a/b/c")),
            ("regsub", Some("\"(a{1,2})\",<\\1>,gi"), "AAb", Some("<AA>b")),
        ] {
            assert_eq!(
                convert(name, argument, value).as_deref(),
                made,
                "{name} {argument:?} {value}"
            );
        }
    }

    #[test]
    fn what_is_no_converter_is_said_to_be_none() {
        for (name, argument) in [
            ("sha1", None),
            ("field", None),
            ("field", Some("x,:")),
            ("field", Some("1")),
            ("lower", Some("x")),
            ("regsub", Some("(,x")),
            ("map", Some("/nonexistent.map")),
            ("mapx", Some("/etc/hostname")),
        ] {
            assert!(Converter::named(name, argument).is_err(), "{name} {argument:?}");
        }
    }

    #[test]
    fn references_become_what_was_found_and_a_backslash_protects_itself() {
        let group = |number: usize| {
            [Some(&b"all"[..]), Some(b"one"), None]
                .get(number)
                .copied()
                .flatten()
        };
        assert_eq!(references(br"/x\1/\0", group), b"/xone/all");
        assert_eq!(references(br"\\1\2\9\", group), br"\1\");
    }
}
