//! HAProxy's log-format, from text to a list of parts. What a variable becomes is in [`super::render`].
//!
//! `%name`, `%{+Q,-X}name`, `%[sample(argument),converter]`, `%%`. `%o` changes the flags of what follows.

use super::convert::Converter;
use super::fetch::{Fetch, NAMES};

/// A compiled format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    text: String,
    pub(super) parts: Vec<Part>,
    pub(super) purpose: Purpose,
}

/// What a format is for: a log line says `-` where nothing is known and merges spaces, a header's value does neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Line,
    Template,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    /// One space, unless one was just written.
    Space,
    Variable(Variable, Flags),
    Sample(Fetch, Vec<Converter>, Flags),
}

/// `Q`, `X`, `E`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) quoted: bool,
    pub(super) hexadecimal: bool,
    pub(super) escaped: bool,
}

/// Why a format is none, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault} (at character {at} of the format)")]
pub struct FormatError {
    /// Octets before the offending part.
    pub at: usize,
    /// What is wrong.
    pub fault: FormatFault,
}

/// What is wrong with a format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatFault {
    /// No such variable.
    #[error("there is no variable %{name}{hint}; a percent sign is written %%")]
    Variable {
        /// As written.
        name: String,
        /// What may have been meant.
        hint: String,
    },
    /// `%` before something that is no name.
    #[error("nothing follows the percent sign that could be a variable; a percent sign is written %%")]
    NoName,
    /// A flag that is not one.
    #[error("\"{flag}\" is no flag: there are +Q (quote), +X (hexadecimal) and +E (escape), and each with -")]
    Flag {
        /// As written.
        flag: String,
    },
    /// `%{` or `%[` without its end.
    #[error("\"{0}\" is missing")]
    Unclosed(char),
    /// No such sample.
    #[error("there is no sample \"{name}\" to be used here{hint}")]
    Sample {
        /// As written.
        name: String,
        /// What may have been meant.
        hint: String,
    },
    /// No such converter.
    #[error("{0}")]
    Converter(String),
}

macro_rules! variables {
    ($($variable:ident $name:literal,)*) => {
        /// A variable of HAProxy's manual, section 8.2.6.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Variable {
            $($variable,)*
        }

        impl Variable {
            const ALL: &'static [(&'static str, Self)] = &[$(($name, Self::$variable),)*];
        }
    };
}

variables! {
    BytesOut "B", RequestCookie "CC", ResponseCookie "CS", Hostname "H", Method "HM", PathWithHost "HP",
    Path "HPO", Query "HQ", Uri "HU", Version "HV", UniqueId "ID", Status "ST", AcceptedGmt "T", ActiveTime "Ta",
    ConnectTime "Tc", DataTime "Td", AcceptedLocal "Tl", HandshakeTime "Th", IdleTime "Ti",
    HeadTime "Tq", RequestTime "TR", ResponseTime "Tr", Timestamp "Ts", TotalTime "Tt",
    UserTime "Tu", QueueTime "Tw", BytesIn "U", ProcessConnections "ac", Backend "b",
    BackendConnections "bc", SourceIp "bi", SourcePort "bp", BackendQueue "bq", ClientIp "ci",
    ClientPort "cp", Frontend "f", FrontendConnections "fc", LocalIp "fi", LocalPort "fp",
    FrontendTransport "ft", RequestHeaders "hr", RequestHeadersClf "hrl", ResponseHeaders "hs",
    ResponseHeadersClf "hsl", Milliseconds "ms", Pid "pid", Request "r", Retries "rc",
    Counter "rt", Server "s", ServerConnections "sc", ServerIp "si", ServerPort "sp", ServerQueue "sq",
    Cipher "sslc", TlsVersion "sslv", Accepted "t", Requested "tr", RequestedGmt "trg",
    RequestedLocal "trl", Termination "ts", TerminationCookie "tsc",
}

/// `option tcplog`.
pub(super) const TCP: &str = "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq";

/// `option httplog`.
pub(super) const HTTP: &str = "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r";

/// `option httpslog`.
pub(crate) const HTTPS: &str = "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r \
    %[fc_err]/%[ssl_fc_err,hex]/%[ssl_c_err]/%[ssl_c_ca_err]/%[ssl_fc_is_resumed] %[ssl_fc_sni]/%sslv/%sslc";

impl Format {
    /// A log line's format (`log-format`).
    pub fn compile(text: &str) -> Result<Self, FormatError> {
        Self::compile_for(text, Purpose::Line)
    }

    /// What a header's value or a redirection's target is made from.
    pub fn compile_template(text: &str) -> Result<Self, FormatError> {
        Self::compile_for(text, Purpose::Template)
    }

    /// A text that means itself, percent signs and all.
    pub(crate) fn plain(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            parts: vec![Part::Text(text.to_owned())],
            purpose: Purpose::Template,
        }
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The whole, if it is the same for everybody.
    #[must_use]
    pub fn constant(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// A single sample with its converters, as it stands after `set-var(NAME)` and in conditions.
    pub fn compile_expression(text: &str) -> Result<Self, FormatError> {
        let format = Self::compile_template(&format!("%[{text}]"))?;
        Ok(Self {
            text: text.to_owned(),
            ..format
        })
    }

    /// The value of an expression, if there is one.
    pub(crate) fn value(&self, samples: &dyn super::fetch::Samples) -> Option<Vec<u8>> {
        let [Part::Sample(fetch, converters, _)] = self.parts.as_slice() else {
            return None;
        };
        let mut out = Vec::new();
        let there = samples.fetch(fetch, &mut out);
        (there && converters.iter().all(|converter| converter.apply(&mut out, 0))).then_some(out)
    }

    /// Every sample that is asked for.
    pub fn samples(&self) -> impl Iterator<Item = &Fetch> {
        self.parts.iter().filter_map(|part| match part {
            Part::Sample(fetch, ..) => Some(fetch),
            _ => None,
        })
    }

    fn compile_for(text: &str, purpose: Purpose) -> Result<Self, FormatError> {
        let mut compiler = Compiler {
            text,
            at: 0,
            purpose,
            inherited: Flags::default(),
            parts: Vec::new(),
        };
        compiler.run()?;
        Ok(Self {
            text: text.to_owned(),
            parts: compiler.parts,
            purpose,
        })
    }
}

struct Compiler<'a> {
    text: &'a str,
    at: usize,
    purpose: Purpose,
    inherited: Flags,
    parts: Vec<Part>,
}

impl<'a> Compiler<'a> {
    fn run(&mut self) -> Result<(), FormatError> {
        while let Some(next) = self.rest().chars().next() {
            match next {
                '%' => self.percent()?,
                ' ' if self.purpose == Purpose::Line => {
                    self.at += 1;
                    if !matches!(self.parts.last(), None | Some(Part::Space)) {
                        self.parts.push(Part::Space);
                    }
                }
                _ => {
                    let stop = |c: char| c == '%' || (c == ' ' && self.purpose == Purpose::Line);
                    let length = self.rest().find(stop).unwrap_or_else(|| self.rest().len());
                    let text = &self.rest()[..length];
                    self.push_text(text);
                    self.at += length;
                }
            }
        }
        Ok(())
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn push_text(&mut self, more: &str) {
        match self.parts.last_mut() {
            Some(Part::Text(text)) => text.push_str(more),
            _ => self.parts.push(Part::Text(more.to_owned())),
        }
    }

    fn percent(&mut self) -> Result<(), FormatError> {
        let begin = self.at;
        self.at += 1;
        if self.rest().starts_with('%') {
            self.at += 1;
            self.push_text("%");
            return Ok(());
        }
        let flags = self.flags(begin)?;
        if self.rest().starts_with('[') {
            return self.sample(begin, flags);
        }
        let letters = |c: char| !c.is_ascii_alphabetic();
        let length = self.rest().find(letters).unwrap_or_else(|| self.rest().len());
        let name = &self.rest()[..length];
        self.at += name.len();
        match name {
            "" => Err(error(begin, FormatFault::NoName)),
            "o" => {
                self.inherited = flags;
                Ok(())
            }
            _ => match Variable::ALL.iter().find(|(known, _)| *known == name) {
                Some((_, variable)) => {
                    self.parts.push(Part::Variable(*variable, flags));
                    Ok(())
                }
                None => {
                    let known = Variable::ALL.iter().map(|(name, _)| *name);
                    let hint = hint(name, known, "%");
                    let name = name.to_owned();
                    Err(error(begin, FormatFault::Variable { name, hint }))
                }
            },
        }
    }

    /// `{+Q,-X}`, if it is there.
    fn flags(&mut self, begin: usize) -> Result<Flags, FormatError> {
        let mut flags = self.inherited;
        let Some(rest) = self.rest().strip_prefix('{') else {
            return Ok(flags);
        };
        let end = rest
            .find('}')
            .ok_or_else(|| error(begin, FormatFault::Unclosed('}')))?;
        for flag in rest[..end].split(',') {
            let (on, letter) = match flag.trim().split_at_checked(1) {
                Some(("+", letter)) => (true, letter),
                Some(("-", letter)) => (false, letter),
                _ => (false, ""),
            };
            match letter {
                "Q" => flags.quoted = on,
                "X" => flags.hexadecimal = on,
                "E" => flags.escaped = on,
                _ => return Err(error(begin, FormatFault::Flag { flag: flag.into() })),
            }
        }
        self.at += end + 2;
        Ok(flags)
    }

    /// `[name(argument),converter,...]`. Brackets within parentheses belong to the argument.
    fn sample(&mut self, begin: usize, flags: Flags) -> Result<(), FormatError> {
        let unclosed = || error(begin, FormatFault::Unclosed(']'));
        let rest = &self.rest()[1..];
        let mut depth = 0usize;
        let end = rest
            .find(|c: char| {
                match c {
                    '(' => depth += 1,
                    ')' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                c == ']' && depth == 0
            })
            .ok_or_else(unclosed)?;
        let expression = rest[..end].trim();
        self.at += end + 2;
        let (call, converters) = split_call(expression);
        let (name, argument) = called(call);
        let fetch = Fetch::named(name, argument).ok_or_else(|| {
            let hint = hint(name, NAMES, "");
            let name = call.to_owned();
            error(begin, FormatFault::Sample { name, hint })
        })?;
        let mut converters = converters
            .map(|converter| {
                let (name, argument) = called(converter);
                Converter::named(name, argument).map_err(|wrong| error(begin, FormatFault::Converter(wrong)))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(first) = converters.first_mut().filter(|_| fetch.is_number()) {
            first.of_a_number();
        }
        self.parts.push(Part::Sample(fetch, converters, flags));
        Ok(())
    }
}

/// The call before the first comma that is not within parentheses, and the converters after it.
pub(crate) fn split_call(expression: &str) -> (&str, impl Iterator<Item = &str>) {
    let mut rest = Some(expression);
    let mut parts = std::iter::from_fn(move || {
        let here = rest?;
        let (mut depth, mut quoted) = (0usize, false);
        let comma = here.find(|c: char| {
            match c {
                '"' => quoted = !quoted,
                '(' if !quoted => depth += 1,
                ')' if !quoted => depth = depth.saturating_sub(1),
                _ => {}
            }
            c == ',' && depth == 0 && !quoted
        });
        let (part, after) = match comma.and_then(|comma| here.split_at_checked(comma)) {
            Some((part, after)) => (part, after.get(1..)),
            None => (here, None),
        };
        rest = after;
        Some(part.trim())
    });
    (parts.next().unwrap_or_default(), parts)
}

/// A name and what stands in its parentheses.
fn called(call: &str) -> (&str, Option<&str>) {
    match call.split_once('(') {
        Some((name, argument)) => (name, argument.strip_suffix(')')),
        None => (call, None),
    }
}

fn error(at: usize, fault: FormatFault) -> FormatError {
    FormatError { at, fault }
}

fn hint(name: &str, known: impl IntoIterator<Item = &'static str>, prefix: &str) -> String {
    warren_kit::suggest::did_you_mean(name, known)
        .map(|meant| format!(": did you mean {prefix}{meant}?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> (usize, FormatFault) {
        let error = Format::compile(text).unwrap_err();
        (error.at, error.fault)
    }

    #[test]
    fn the_formats_of_the_manual_are_understood() {
        for text in [TCP, HTTP, HTTPS] {
            let format = Format::compile(text).unwrap();
            assert_eq!(format.text(), text);
        }
    }

    #[test]
    fn an_unknown_variable_is_named_with_its_place() {
        let (at, fault) = fault("%ci %cpx");
        assert_eq!(at, 4);
        assert!(
            matches!(&fault, FormatFault::Variable { name, .. } if name == "cpx"),
            "{fault:?}"
        );
        let message = Format::compile("%ci %cpx").unwrap_err().to_string();
        assert!(message.contains("there is no variable %cpx"), "{message}");
        assert!(message.contains("character 4"), "{message}");
    }

    #[test]
    fn what_is_not_closed_or_no_flag_is_refused() {
        assert_eq!(fault("a %{+Q"), (2, FormatFault::Unclosed('}')));
        assert_eq!(fault("%[src"), (0, FormatFault::Unclosed(']')));
        assert_eq!(fault("%{Q}r"), (0, FormatFault::Flag { flag: "Q".into() }));
        assert_eq!(fault("%{+Z}r"), (0, FormatFault::Flag { flag: "+Z".into() }));
        assert_eq!(fault("100%"), (3, FormatFault::NoName));
        assert_eq!(fault("% ci"), (0, FormatFault::NoName));
        assert!(matches!(fault("%[hrd(x)]").1, FormatFault::Sample { .. }));
        assert!(matches!(fault("%[src,field(x)]").1, FormatFault::Converter(said) if said.contains("field")));
        assert!(matches!(fault("%[req.hdr]").1, FormatFault::Sample { .. }));
        assert!(matches!(fault("%[src,sha1]").1, FormatFault::Converter(said) if said.contains("sha1")));
    }

    #[test]
    fn samples_have_arguments_and_converters() {
        let format = Format::compile_template("%[req.hdr(host),lower]").unwrap();
        let expected = Part::Sample(
            Fetch::RequestHeader("host".into()),
            vec![Converter::Lower],
            Flags::default(),
        );
        assert_eq!(format.parts, [expected]);
        let text = Format::compile_template("%[str(a,b]c)]").unwrap();
        assert_eq!(text.samples().collect::<Vec<_>>(), [&Fetch::Text("a,b]c".into())]);
    }

    #[test]
    fn every_sample_name_offered_is_taken() {
        for name in NAMES {
            let known = [None, Some("cn"), Some("0"), Some("txn.a")]
                .into_iter()
                .any(|argument| Fetch::named(name, argument).is_some());
            assert!(known, "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_compiler_panic(text in "[%{}\\[\\]()+\\-,QXEa-z .é]{0,40}") {
            let _ = Format::compile(&text);
            let _ = Format::compile_template(&text);
        }
    }
}
