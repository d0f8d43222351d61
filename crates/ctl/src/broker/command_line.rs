//! Words into a verb, its arguments and its options. Options may come anywhere, as `--name value`, `--name=value` or by
//! their letters.

use std::collections::BTreeMap;
use std::time::Duration;

use super::failure::{Failure, USAGE};
use super::verbs::Verb;

/// An option.
#[derive(Debug)]
pub(super) struct Opt {
    pub(super) name: &'static str,
    letter: Option<char>,
    /// Something follows it.
    valued: bool,
}

const fn flag(name: &'static str, letter: Option<char>) -> Opt {
    Opt {
        name,
        letter,
        valued: false,
    }
}

const fn valued(name: &'static str, letter: Option<char>) -> Opt {
    Opt {
        name,
        letter,
        valued: true,
    }
}

/// Options that every verb takes.
const GLOBAL: [Opt; 13] = [
    flag("help", Some('?')),
    flag("quiet", Some('q')),
    flag("silent", Some('s')),
    flag("longnames", Some('l')),
    flag("no-table-headers", None),
    flag("table-headers", None),
    flag("dry-run", None),
    valued("node", Some('n')),
    valued("vhost", Some('p')),
    valued("timeout", Some('t')),
    valued("formatter", None),
    valued("erlang-cookie", None),
    valued("runtime-dir", None),
];

/// Options that some verbs take.
const OTHERS: [Opt; 42] = [
    flag("online", None),
    flag("offline", None),
    flag("local", None),
    flag("global", None),
    flag("if-unused", Some('u')),
    flag("if-empty", Some('e')),
    flag("disc", None),
    flag("ram", None),
    flag("wait", None),
    flag("idempotent", None),
    flag("skip-if-unchanged", None),
    flag("enabled", Some('E')),
    flag("implicitly-enabled", None),
    flag("minimal", Some('m')),
    flag("verbose", Some('v')),
    flag("all", None),
    flag("by-source", None),
    flag("only-down", None),
    flag("list-commands", None),
    valued("description", None),
    valued("tags", None),
    valued("default-queue-type", None),
    valued("priority", None),
    valued("apply-to", None),
    valued("limit", None),
    valued("per-connection-delay", None),
    valued("format", None),
    valued("user", None),
    valued("unit", None),
    valued("within", None),
    valued("queue-timeout", None),
    valued("pid", Some('P')),
    valued("number", Some('N')),
    valued("duration", Some('d')),
    valued("pattern", None),
    valued("vhost-pattern", None),
    valued("queue-pattern", None),
    valued("address-family", None),
    valued("sample-interval", None),
    flag("errors-only", None),
    flag("details", None),
    flag("tracking", None),
];

/// What was said.
#[derive(Debug, Default)]
pub(super) struct CommandLine {
    /// The verb and its arguments.
    words: Vec<String>,
    options: BTreeMap<&'static str, String>,
    /// Options that there are not, or that miss their value, as they were said.
    unknown: Vec<(String, String)>,
}

impl CommandLine {
    pub(super) fn read(words: &[String]) -> Self {
        let mut line = Self::default();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            if word == "--" {
                line.words.extend(rest.by_ref().cloned());
            } else if let Some(long) = word.strip_prefix("--") {
                let (name, inline) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (long, None),
                };
                let found = options().find(|option| option.name == name);
                line.option(word, found, inline, &mut rest);
            } else if word.len() > 1 && word.starts_with('-') && !is_number(word) {
                let letters = word.strip_prefix('-').unwrap_or_default();
                let mut letters = letters.chars();
                let first = letters.next();
                let found = options().find(|option| option.letter == first);
                let inline = Some(letters.as_str().to_owned()).filter(|rest| !rest.is_empty());
                line.option(word, found, inline, &mut rest);
            } else {
                line.words.push(word.clone());
            }
        }
        line
    }

    fn option<'a>(
        &mut self,
        word: &str,
        found: Option<&'static Opt>,
        inline: Option<String>,
        rest: &mut impl Iterator<Item = &'a String>,
    ) {
        let value = match found {
            Some(option) if !option.valued && inline.is_none() => Some((option, String::new())),
            Some(option) if option.valued => inline
                .or_else(|| rest.next().cloned())
                .map(|value| (option, value)),
            _ => None,
        };
        match value {
            Some((option, value)) => drop(self.options.insert(option.name, value)),
            None => self.unknown.push((word.to_owned(), String::new())),
        }
    }

    /// What is to be done.
    pub(super) fn verb(&self) -> Option<&str> {
        self.words.first().map(String::as_str)
    }

    /// What follows it.
    pub(super) fn arguments(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }

    /// Does the verb take all that was said?
    pub(super) fn check(&self, verb: &Verb) -> Result<(), Failure> {
        let known =
            |name: &str| GLOBAL.iter().any(|option| option.name == name) || verb.options.contains(&name);
        let foreign = self.options.iter().filter(|(name, _)| !known(name));
        let foreign = foreign.map(|(name, value)| (format!("--{name}"), value.clone()));
        let mut wrong: Vec<(String, String)> = self.unknown.iter().cloned().chain(foreign).collect();
        for (name, word) in [
            ("timeout", "-t"),
            ("priority", "--priority"),
            ("limit", "--limit"),
        ] {
            let value = self.options.get(name);
            if let Some(value) = value.filter(|value| value.parse::<f64>().is_err() && *value != "infinity") {
                wrong.push((word.to_owned(), value.clone()));
            }
        }
        if !wrong.is_empty() {
            let wrong = wrong.iter().map(|(name, value)| format!("\n{name} : {value}"));
            let text = format!("Invalid options for this command:{}", wrong.collect::<String>());
            return Err(Failure::argument(USAGE, text));
        }
        let count = self.arguments().len();
        if count < verb.arguments.0 {
            return Err(Failure::argument(USAGE, "not enough arguments."));
        }
        if count > verb.arguments.1 {
            return Err(Failure::argument(USAGE, "too many arguments."));
        }
        Ok(())
    }

    /// An argument by its place. Those that a verb needs are there.
    pub(super) fn argument(&self, place: usize) -> &str {
        self.arguments().get(place).map_or("", String::as_str)
    }

    pub(super) fn is_set(&self, option: &str) -> bool {
        self.options.contains_key(option)
    }

    pub(super) fn value(&self, option: &str) -> Option<&str> {
        self.options.get(option).map(String::as_str)
    }

    /// `-p`, or the first there is.
    pub(super) fn vhost(&self) -> &str {
        self.value("vhost").unwrap_or("/")
    }

    /// `-q` or `-s`
    pub(super) fn is_quiet(&self) -> bool {
        self.is_set("quiet") || self.is_set("silent")
    }

    /// `-t`, seconds.
    pub(super) fn timeout(&self) -> Option<Duration> {
        let seconds = self.value("timeout")?.parse::<f64>().ok()?;
        Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|time| !time.is_zero())
    }
}

fn options() -> impl Iterator<Item = &'static Opt> {
    GLOBAL.iter().chain(&OTHERS)
}

/// `-1` is an argument.
fn is_number(word: &str) -> bool {
    word.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> CommandLine {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        CommandLine::read(&words)
    }

    #[test]
    fn options_may_come_anywhere() {
        for line in [
            "-q -p v1 list_queues name",
            "list_queues --quiet --vhost v1 name",
            "list_queues name --vhost=v1 -q",
            "list_queues -pv1 name -q",
        ] {
            let line = read(line);
            assert_eq!(
                (line.verb(), line.vhost()),
                (Some("list_queues"), "v1"),
                "{line:?}"
            );
            assert_eq!(line.arguments(), ["name"]);
            assert!(line.is_quiet() && line.unknown.is_empty());
        }
    }

    #[test]
    fn numbers_and_what_follows_two_dashes_are_arguments() {
        assert_eq!(read("set_disk_free_limit -1").arguments(), ["-1"]);
        assert_eq!(read("add_user -- -x -y").arguments(), ["-x", "-y"]);
    }

    #[test]
    fn what_is_no_option_is_said_as_it_was() {
        let line = read("list_users --foo -x");
        let unknown: Vec<&str> = line.unknown.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(unknown, ["--foo", "-x"]);
        assert_eq!(read("list_queues -n").unknown.len(), 1);
    }
}
