//! The broker: `warren ctl`, and `rabbitmqctl`, `rabbitmq-diagnostics`, `rabbitmq-plugins`, `rabbitmq-queues`.
//!
//! ```text
//!   words ─▶ CommandLine ─▶ Verb ─▶ requests to the broker ─▶ output ─▶ exit status
//! ```
//!
//! Names, arguments, what is printed and how it ends are RabbitMQ 3.10's, because scripts and playbooks depend on them to the
//! letter. What is printed on a terminal for people only (help) is in our own words.

mod command_line;
mod failure;
mod help;
mod output;
pub mod overview;
mod session;
mod verbs;

use std::io::Write;
use std::path::PathBuf;

use warren_api::broker::SOCKET;
use warren_kit::runtime_dir;

use command_line::CommandLine;
use failure::Failure;
use output::Format;
use session::Session;
use verbs::Verb;

/// Under which name the program was called: which verbs there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// `rabbitmqctl`
    Ctl,
    /// `rabbitmq-diagnostics`
    Diagnostics,
    /// `rabbitmq-plugins`
    Plugins,
    /// `rabbitmq-queues`
    Queues,
    /// `rabbitmq-upgrade`
    Upgrade,
    /// `warren ctl`: all of them, but for plugins, which come behind that word.
    Warren,
}

impl Tool {
    /// By the name of a program.
    #[must_use]
    pub fn of_program(name: &str) -> Option<Self> {
        Some(match name {
            "rabbitmqctl" => Self::Ctl,
            "rabbitmq-diagnostics" => Self::Diagnostics,
            "rabbitmq-plugins" => Self::Plugins,
            "rabbitmq-queues" => Self::Queues,
            "rabbitmq-upgrade" => Self::Upgrade,
            _ => return None,
        })
    }

    /// As usage lines call it.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Ctl => "rabbitmqctl",
            Self::Diagnostics => "rabbitmq-diagnostics",
            Self::Plugins => "rabbitmq-plugins",
            Self::Queues => "rabbitmq-queues",
            Self::Upgrade => "rabbitmq-upgrade",
            Self::Warren => "warren ctl",
        }
    }
}

/// Where output goes, and where the broker is.
pub struct Surroundings<'a> {
    pub out: &'a mut dyn Write,
    pub err: &'a mut dyn Write,
    /// Headlines stand out.
    pub colour: bool,
    /// Where its control socket is, if not in the usual place.
    pub runtime_dir: Option<PathBuf>,
}

/// Does what the words say, and gives the exit status: RabbitMQ's, which are those of sysexits.
pub fn run(tool: Tool, words: &[String], around: &mut Surroundings<'_>) -> u8 {
    let (tool, words) = match words.split_first() {
        Some((first, rest)) if tool == Tool::Warren && first == "plugins" => (Tool::Plugins, rest),
        _ => (tool, words),
    };
    match attempt(tool, words, around) {
        Ok(()) => 0,
        Err(failure) => failure.print(around.err),
    }
}

fn attempt(tool: Tool, words: &[String], around: &mut Surroundings<'_>) -> Result<(), Failure> {
    let line = CommandLine::read(words);
    if line.is_set("help") || line.verb() == Some("help") {
        return help::help(tool, &line, around);
    }
    let Some(name) = line.verb().map(str::to_owned) else {
        return Err(Failure::usage(help::overview(tool, around.colour)));
    };
    let Some(verb) = verbs::find(tool, &name) else {
        return Err(Failure::unknown_verb(
            tool,
            &name,
            &help::overview(tool, around.colour),
        ));
    };
    line.check(verb)
        .map_err(|failure| failure.with_usage(tool, verb, words))?;
    let directory = line.value("runtime-dir").map(PathBuf::from);
    let directory = directory.or_else(|| around.runtime_dir.clone());
    let directory = runtime_dir::for_client(directory.as_deref(), SOCKET)
        .map_err(|error| Failure::new(failure::UNAVAILABLE, error))?;
    let mut session = Session::new(line, verb, &directory, around);
    session
        .check_node()
        .and_then(|()| (verb.run)(&mut session))
        .and_then(|()| session.conclude())
        .map_err(|failure| match session.format() {
            Ok(Format::Json) => failure.into_json(),
            _ => failure,
        })
        .map_err(|failure| failure.with_usage(tool, verb, words))
}

/// The exit status of a program whose reader has seen enough.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::silent(0),
            _ => Self::new(failure::SOFTWARE, error),
        }
    }
}

/// One line of `usage`, without the program's name.
fn usage_of(verb: &Verb) -> String {
    match verb.usage.is_empty() {
        true => verb.name.to_owned(),
        false => format!("{} {}", verb.name, verb.usage),
    }
}
