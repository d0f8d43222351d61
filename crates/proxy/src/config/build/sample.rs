//! What conditions look at, by name, and what it is compared with.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use warren_kit::config::{Report, suggestion};

use super::line::refuse;
use super::{Surroundings, address, check, table};
use crate::config::words::Word;
use crate::logs::{Format, read_lines, split_call};
use crate::plan::{BackendName, Counter, Networks, Pattern, Sample, Test};

/// What a sample is by nature, which decides about its patterns.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nature {
    Truth,
    Number,
    Address,
    Text,
}

/// How text is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Exact,
    Prefix,
    Suffix,
    Substring,
    Directory,
    Domain,
    Regex,
    Number,
    Length,
    Address,
    Found,
    /// Of what is not true or false by nature.
    Truth,
}

/// Names with their argument, if any, and whether they need HTTP; what follows a name after `_` says how to compare.
const SAMPLES: [(&str, Nature, bool); 44] = [
    ("always_false", Nature::Truth, false),
    ("always_true", Nature::Truth, false),
    ("wait_end", Nature::Truth, false),
    ("be_conn", Nature::Number, false),
    ("be_sess_rate", Nature::Number, false),
    ("cook", Nature::Text, true),
    ("dst", Nature::Address, false),
    ("dst_port", Nature::Number, false),
    ("fe_conn", Nature::Number, false),
    ("fe_sess_rate", Nature::Number, false),
    ("hdr", Nature::Text, true),
    ("hdr_cnt", Nature::Number, true),
    ("http_auth", Nature::Truth, true),
    ("method", Nature::Text, true),
    ("nbsrv", Nature::Number, false),
    ("path", Nature::Text, true),
    ("query", Nature::Text, true),
    ("queue", Nature::Number, false),
    ("req.cook", Nature::Text, true),
    ("req.fhdr", Nature::Text, true),
    ("req.hdr", Nature::Text, true),
    ("req.hdr_cnt", Nature::Number, true),
    ("req.method", Nature::Text, true),
    ("req.proto_http", Nature::Truth, true),
    ("req.ssl_hello_type", Nature::Number, false),
    ("req.ssl_sni", Nature::Text, false),
    ("req_proto_http", Nature::Truth, true),
    ("req_ssl_hello_type", Nature::Number, false),
    ("req_ssl_sni", Nature::Text, false),
    ("res.fhdr", Nature::Text, true),
    ("res.hdr", Nature::Text, true),
    ("shdr", Nature::Text, true),
    ("src", Nature::Address, false),
    ("src_port", Nature::Number, false),
    ("ssl_c_used", Nature::Truth, false),
    ("srv_is_up", Nature::Truth, false),
    ("ssl_fc", Nature::Truth, false),
    ("ssl_fc_has_sni", Nature::Truth, false),
    ("ssl_fc_sni", Nature::Text, false),
    ("status", Nature::Number, true),
    ("url", Nature::Text, true),
    ("url_param", Nature::Text, true),
    ("urlp", Nature::Text, true),
    ("res.status", Nature::Number, true),
];

const SUFFIXES: [(&str, Method); 8] = [
    ("_beg", Method::Prefix),
    ("_end", Method::Suffix),
    ("_sub", Method::Substring),
    ("_dir", Method::Directory),
    ("_dom", Method::Domain),
    ("_reg", Method::Regex),
    ("_len", Method::Length),
    ("_ip", Method::Address),
];

const METHODS: [(&str, Method); 12] = [
    ("str", Method::Exact),
    ("beg", Method::Prefix),
    ("end", Method::Suffix),
    ("sub", Method::Substring),
    ("dir", Method::Directory),
    ("dom", Method::Domain),
    ("reg", Method::Regex),
    ("int", Method::Number),
    ("len", Method::Length),
    ("ip", Method::Address),
    ("found", Method::Found),
    ("bool", Method::Truth),
];

/// The most patterns of one test.
const PATTERNS_MAX: usize = 100_000;
/// More than these are not compared one by one.
const FEW: usize = 16;

/// Every name, for the reference.
pub(in crate::config) fn names() -> impl Iterator<Item = &'static str> + Clone {
    SAMPLES.iter().map(|(name, _, _)| *name)
}

/// A sample with its flags and patterns: `path_beg -i /api /v1`. The second part says whether it needs HTTP.
pub(super) fn test(
    report: &mut Report,
    words: &[Word],
    surroundings: &Surroundings<'_>,
    here: &Here<'_>,
) -> Option<(Test, bool)> {
    let (first, rest) = words.split_first()?;
    let (sample, nature, method, lower, http) = sample(report, first, surroundings, here)?;
    let mut flags = Flags {
        method,
        ignore_case: lower,
        numeric: nature == Nature::Number || method == Some(Method::Length),
        files: Vec::new(),
    };
    let values = flags.take(report, rest)?;
    let from_files: Vec<Word> = std::mem::take(&mut flags.files);
    let values: Vec<Word> = from_files.into_iter().chain(values.iter().cloned()).collect();
    if matches!(sample, Sample::Expression(_)) && flags.method.is_none() {
        report.error(
            first.span.clone(),
            format!("`{}` may be anything", first.text),
            "say how it is compared: -m str, -m beg, -m int, -m found, ...",
        );
        return None;
    }
    let patterns = match flags.method {
        Some(Method::Found) => Vec::new(),
        Some(Method::Truth) if nature == Nature::Text && values.is_empty() => {
            vec![Pattern::Range(i64::MIN, -1), Pattern::Range(1, i64::MAX)]
        }
        _ => patterns(report, nature, &flags, &values)?,
    };
    let wanted = match (&sample, patterns.as_slice()) {
        // `{ ssl_fc 1 }` asks what `{ ssl_fc }` asks.
        (_, [Pattern::Range(1, 1)]) if nature == Nature::Truth => Vec::new(),
        // The only greeting that is recognised is the client's.
        (Sample::Sni, [Pattern::Range(1, 1)]) => Vec::new(),
        _ => patterns,
    };
    Some((
        Test {
            sample,
            ignore_case: flags.ignore_case,
            patterns: wanted,
        },
        http,
    ))
}

/// What is meant where nothing is named.
pub(super) struct Here<'a> {
    pub(super) backend: Option<BackendName>,
    /// The table of this section.
    pub(super) table: &'a str,
}

type Found = (Sample, Nature, Option<Method>, bool, bool);

/// `hdr_beg(host),lower`
fn sample(
    report: &mut Report,
    word: &Word,
    surroundings: &Surroundings<'_>,
    here: &Here<'_>,
) -> Option<Found> {
    let (head, mut converters) = split_call(&word.text);
    let lower = match (converters.next(), converters.next()) {
        (None, _) => false,
        (Some("lower" | "upper"), None) => true,
        (Some(_), _) => return expression(report, word, &word.text, None),
    };
    let (name, argument) = match head.split_once('(') {
        Some((name, rest)) => (name, Some(rest.trim_end_matches(')'))),
        None => (head, None),
    };
    let argument = argument
        .map(|argument| argument.trim_matches('"'))
        .filter(|argument| !argument.is_empty());
    if let Some(counted) = counted(report, word, name, argument, surroundings, here) {
        return Some((counted?, Nature::Number, None, lower, false));
    }
    let exact = SAMPLES.iter().find(|(known, _, _)| *known == name);
    let suffixed = || {
        SUFFIXES.iter().find_map(|(suffix, method)| {
            let base = name.strip_suffix(suffix)?;
            let entry = SAMPLES
                .iter()
                .find(|(known, nature, _)| *known == base && *nature == Nature::Text)?;
            Some((entry, Some(*method)))
        })
    };
    // One of several values, by its place.
    let placed = argument.is_some_and(|argument| argument.contains(','));
    if (placed && ["hdr", "req.hdr"].contains(&name)) || EXPRESSIONS.contains(&name) {
        return expression(report, word, &word.text, None);
    }
    let based = SUFFIXES
        .iter()
        .find(|(suffix, _)| name.strip_suffix(suffix) == Some("base"));
    if let Some((_, method)) = based {
        return expression(report, word, "base", Some(*method));
    }
    let Some(((base, nature, http), method)) = exact.map(|entry| (entry, None)).or_else(suffixed) else {
        report.error(
            word.span.clone(),
            format!("unknown sample `{name}`"),
            suggestion(name, names()),
        );
        return None;
    };
    let sample = named(report, word, base, argument, surroundings, here)?;
    Some((sample, *nature, method, lower, *http))
}

/// Samples that are found as the log finds them.
const EXPRESSIONS: [&str; 8] = [
    "base",
    "capture.req.hdr",
    "capture.res.hdr",
    "pathq",
    "req.ver",
    "req_ver",
    "unique-id",
    "var",
];

/// Whatever log-format can say.
fn expression(report: &mut Report, word: &Word, text: &str, method: Option<Method>) -> Option<Found> {
    match Format::compile_expression(text) {
        Ok(format) => {
            let sample = Sample::Expression(Arc::new(format));
            // What is text by nature need not be said to be.
            let (head, _) = text.split_once(['(', ',']).unwrap_or((text, ""));
            let usual = (!["var", "src", "dst"].contains(&head)).then_some(Method::Exact);
            Some((sample, Nature::Text, method.or(usual), false, true))
        }
        Err(error) => {
            let said = error.fault.to_string();
            report.error(
                word.span.clone(),
                said,
                "write a sample such as path, or one with converters: path,lower",
            );
            None
        }
    }
}

fn named(
    report: &mut Report,
    word: &Word,
    name: &str,
    argument: Option<&str>,
    surroundings: &Surroundings<'_>,
    here: &Here<'_>,
) -> Option<Sample> {
    let mut required = |what: &str| {
        if argument.is_none() {
            report.error(
                word.span.clone(),
                format!("`{name}` needs {what}"),
                format!("write {name}(...)"),
            );
        }
        // `hdr(name,1)` names one of several values; any of them is compared here.
        argument.map(|argument| argument.split(',').next().unwrap_or_default().to_owned())
    };
    Some(match name {
        "always_true" | "req.proto_http" | "req_proto_http" | "wait_end" => Sample::True,
        "ssl_fc_has_sni" => Sample::Sni,
        "fe_sess_rate" => Sample::FrontendRate,
        "be_sess_rate" => Sample::BackendRate(backend(report, word, argument, surroundings, here)?),
        "queue" => Sample::Queue(backend(report, word, argument, surroundings, here)?),
        "srv_is_up" => {
            let which = required("a backend and a server")?;
            let (of, server) = match which.split_once('/') {
                Some((of, server)) => (Some(of), server),
                None => (None, which.as_str()),
            };
            Sample::ServerUp(backend(report, word, of, surroundings, here)?, server.to_owned())
        }
        "always_false" => Sample::False,
        "src" => Sample::Src,
        "dst" => Sample::Dst,
        "src_port" => Sample::SrcPort,
        "dst_port" => Sample::DstPort,
        "req.ssl_sni" | "req_ssl_sni" | "ssl_fc_sni" | "req.ssl_hello_type" | "req_ssl_hello_type" => {
            Sample::Sni
        }
        "ssl_fc" => Sample::SslFc,
        "ssl_c_used" => Sample::ClientCertificateUsed,
        "method" | "req.method" => Sample::Method,
        "path" => Sample::Path,
        "url" => Sample::Url,
        "query" => Sample::Query,
        "hdr" | "req.hdr" | "req.fhdr" => Sample::RequestHeader(required("the name of a header")?),
        "hdr_cnt" | "req.hdr_cnt" => Sample::RequestHeaderCount(required("the name of a header")?),
        "shdr" | "res.hdr" | "res.fhdr" => Sample::ResponseHeader(required("the name of a header")?),
        "status" | "res.status" => Sample::Status,
        "url_param" | "urlp" => Sample::UrlParam(required("the name of a parameter")?),
        "cook" | "req.cook" => Sample::Cookie(required("the name of a cookie")?),
        "http_auth" => Sample::HttpAuth(users(report, word, argument, surroundings)?),
        "nbsrv" => Sample::NbSrv(backend(report, word, argument, surroundings, here)?),
        "fe_conn" => Sample::FrontendConnections,
        "be_conn" => Sample::BackendConnections(backend(report, word, argument, surroundings, here)?),
        _ => return None,
    })
}

/// `sc_http_req_rate(0,TABLE)`, `sc0_http_req_rate(TABLE)`, `src_http_req_rate(TABLE)`. `None` is something else.
fn counted(
    report: &mut Report,
    word: &Word,
    name: &str,
    argument: Option<&str>,
    surroundings: &Surroundings<'_>,
    here: &Here<'_>,
) -> Option<Option<Sample>> {
    let (who, what) = name.split_once('_')?;
    let what = match what {
        "get_gpc0" => "gpc0",
        "gpc0" => return None,
        what => what,
    };
    let (_, counter) = Counter::ALL.iter().find(|(known, _)| *known == what)?;
    let mut named = |table: &str| {
        let table = Word {
            text: table.trim().to_owned(),
            ..word.clone()
        };
        table::named(report, &table, surroundings)
    };
    if who == "src" {
        let table = named(argument.unwrap_or(here.table));
        return Some(table.map(|table| Sample::Source(*counter, table)));
    }
    let number = who.strip_prefix("sc")?;
    let (slot, table) = match (number, argument) {
        ("", Some(argument)) => match argument.split_once(',') {
            Some((slot, table)) => (slot, Some(table)),
            None => (argument, None),
        },
        (number, argument) => (number, argument),
    };
    let Some(slot) = slot.trim().parse().ok().filter(|slot| *slot < table::SLOTS) else {
        let said = format!("`{}` does not say who is counted", word.text);
        let help = format!("write such as sc_{what}(0): the number behind track-sc, from 0 to 2");
        return Some(refuse(report, word, said, help));
    };
    let table = match table {
        Some(table) => match named(table) {
            Some(table) => Some(table),
            None => return Some(None),
        },
        None => None,
    };
    Some(Some(Sample::Tracked(slot, *counter, table)))
}

fn users(
    report: &mut Report,
    word: &Word,
    argument: Option<&str>,
    surroundings: &Surroundings<'_>,
) -> Option<Vec<(String, String)>> {
    let name = argument.unwrap_or_default();
    let Some(list) = surroundings.file.users.get(name) else {
        let names = surroundings.file.users.keys().map(String::as_str);
        report.error(
            word.span.clone(),
            format!("there is no list of users called `{name}`"),
            suggestion(name, names),
        );
        return None;
    };
    let pair = |(user, password): (&String, &Spanned<String>)| (user.clone(), password.get_ref().clone());
    Some(list.iter().map(pair).collect())
}

fn backend(
    report: &mut Report,
    word: &Word,
    argument: Option<&str>,
    surroundings: &Surroundings<'_>,
    here: &Here<'_>,
) -> Option<BackendName> {
    let found = match argument {
        Some(name) => surroundings.backend(name).map(|(name, _)| name),
        None => here.backend.clone(),
    };
    if found.is_none() {
        let name = argument.unwrap_or_default();
        report.error(
            word.span.clone(),
            format!("there is no backend called `{name}`"),
            suggestion(name, surroundings.backend_names()),
        );
    }
    found
}

struct Flags {
    /// Patterns of files, in the place of the flag.
    files: Vec<Word>,
    method: Option<Method>,
    ignore_case: bool,
    numeric: bool,
}

impl Flags {
    /// Takes `-i`, `-m METHOD` and `--`; the patterns are what is left.
    fn take<'w>(&mut self, report: &mut Report, words: &'w [Word]) -> Option<&'w [Word]> {
        let mut rest = words;
        while let Some((word, more)) = rest.split_first() {
            match word.text.as_str() {
                "-i" => rest = more,
                "-n" | "-u" => {
                    rest = more;
                    continue;
                }
                "--" => return Some(more),
                "-m" => {
                    let Some((method, more)) = more.split_first() else {
                        report.error(word.span.clone(), "`-m` needs a method", "write one such as beg");
                        return None;
                    };
                    let names = METHODS.iter().map(|(name, _)| *name);
                    let found = METHODS.iter().find(|(name, _)| *name == method.text);
                    let Some((_, found)) = found else {
                        report.error(
                            method.span.clone(),
                            format!("unknown method `{}`", method.text),
                            suggestion(&method.text, names),
                        );
                        return None;
                    };
                    self.method = Some(*found);
                    rest = more;
                    continue;
                }
                "-f" => {
                    let Some((file, more)) = more.split_first() else {
                        report.error(word.span.clone(), "`-f` needs a file", "write its path behind");
                        return None;
                    };
                    match read_lines(Path::new(&file.text)) {
                        Ok(text) => self.files.extend(lines(&text, file)),
                        Err(error) => {
                            report.error(
                                file.span.clone(),
                                error,
                                "name a file with a pattern on each line",
                            );
                            return None;
                        }
                    }
                    rest = more;
                    continue;
                }
                "-M" => {
                    report.error(
                        word.span.clone(),
                        "files of keys and values (`-M`) are not supported here",
                        "write -f and a file of patterns, or the converter map(FILE)",
                    );
                    return None;
                }
                flag if !self.numeric && flag.starts_with('-') && flag.len() == 2 => {
                    report.error(
                        word.span.clone(),
                        format!("unknown flag `{flag}`"),
                        "known are -i, -m and --, after which patterns begin",
                    );
                    return None;
                }
                _ => return Some(rest),
            }
            self.ignore_case = true;
        }
        Some(rest)
    }
}

/// The patterns of a file: what is neither empty nor a comment.
fn lines<'a>(text: &'a str, file: &'a Word) -> impl Iterator<Item = Word> + 'a {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| Word {
        text: line.to_owned(),
        ..file.clone()
    })
}

fn patterns(report: &mut Report, nature: Nature, flags: &Flags, words: &[Word]) -> Option<Vec<Pattern>> {
    if words.len() > PATTERNS_MAX {
        let span = words[0].span.clone();
        report.at_most(span, "patterns of one test", words.len(), PATTERNS_MAX);
        return None;
    }
    let method = flags.method.unwrap_or(match nature {
        Nature::Truth | Nature::Number => Method::Number,
        Nature::Address => Method::Address,
        Nature::Text => Method::Exact,
    });
    match method {
        Method::Number | Method::Truth => numbers(report, words),
        Method::Length => {
            let length = |pattern| match pattern {
                Pattern::Range(least, most) => Pattern::Length(least, most),
                other => other,
            };
            Some(numbers(report, words)?.into_iter().map(length).collect())
        }
        Method::Address => networks(report, words),
        Method::Exact if words.len() > FEW => {
            let text = |word: &Word| match flags.ignore_case {
                true => word.text.to_ascii_lowercase().into_bytes(),
                false => word.text.clone().into_bytes(),
            };
            Some(vec![Pattern::OneOf(words.iter().map(text).collect())])
        }
        _ => words
            .iter()
            .map(|word| text(report, method, flags, word))
            .collect(),
    }
}

fn text(report: &mut Report, method: Method, flags: &Flags, word: &Word) -> Option<Pattern> {
    let text = word.text.clone();
    Some(match method {
        Method::Prefix => Pattern::Prefix(text),
        Method::Suffix => Pattern::Suffix(text),
        Method::Substring => Pattern::Substring(text),
        Method::Directory => Pattern::Directory(text),
        Method::Domain => Pattern::Domain(text),
        Method::Regex if flags.ignore_case => {
            let word = Word {
                text: format!("(?i){text}"),
                ..word.clone()
            };
            Pattern::Regex(check::regex(report, &word)?)
        }
        Method::Regex => Pattern::Regex(check::regex(report, word)?),
        Method::Exact | Method::Number | Method::Length | Method::Truth | Method::Address | Method::Found => {
            Pattern::Exact(text)
        }
    })
}

fn networks(report: &mut Report, words: &[Word]) -> Option<Vec<Pattern>> {
    let mut networks = Vec::new();
    for word in words {
        let Some((ip, length)) = address::network(&word.text) else {
            report.error(
                word.span.clone(),
                format!("`{}` is not a network", word.text),
                "write one such as 192.0.2.0/24, or an address",
            );
            return None;
        };
        networks.push((ip, length));
    }
    if networks.len() > FEW {
        return Some(vec![Pattern::Networks(Networks::new(networks))]);
    }
    let each = networks
        .into_iter()
        .map(|(ip, length)| Pattern::Network(ip, length));
    Some(each.collect())
}

/// `[eq|ge|gt|le|lt] NUMBER`, `LEAST:MOST`
fn numbers(report: &mut Report, words: &[Word]) -> Option<Vec<Pattern>> {
    let mut operator = "eq";
    let mut numbers = Vec::new();
    for word in words {
        if let known @ ("eq" | "ge" | "gt" | "le" | "lt") = word.text.as_str() {
            operator = known;
            continue;
        }
        let range = match word.text.split_once(':') {
            Some((least, most)) => {
                let end = |text: &str, open: i64| {
                    if text.is_empty() {
                        Some(open)
                    } else {
                        text.parse().ok()
                    }
                };
                end(least, i64::MIN).zip(end(most, i64::MAX))
            }
            None => word.text.parse::<i64>().ok().map(|number| (number, number)),
        };
        let Some((least, most)) = range else {
            report.error(
                word.span.clone(),
                format!("`{}` is not a number", word.text),
                "write one, a range such as 1:9, or eq, ge, gt, le or lt and one",
            );
            return None;
        };
        numbers.push(match operator {
            "ge" => Pattern::Range(least, i64::MAX),
            "gt" => Pattern::Range(most.saturating_add(1), i64::MAX),
            "le" => Pattern::Range(i64::MIN, most),
            "lt" => Pattern::Range(i64::MIN, least.saturating_sub(1)),
            _ => Pattern::Range(least, most),
        });
    }
    Some(numbers)
}

/// Loopback, as the predefined LOCALHOST has it.
pub(super) fn loopback() -> Vec<Pattern> {
    vec![
        Pattern::Network(IpAddr::from([127, 0, 0, 0]), 8),
        Pattern::Network(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), 128),
    ]
}
