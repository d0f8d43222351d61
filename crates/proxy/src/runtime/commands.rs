//! What can be said on the runtime socket, who may say it, and what is answered when it is not understood.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Context, add, errors, inside, server, set, show, table};
use crate::plan::SocketLevel::{self, Admin, Operator, User};

/// One command of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) context: &'a Context,
    /// What whoever asks may do.
    pub(super) level: SocketLevel,
    /// The words after the command's own.
    pub(super) arguments: &'a [String],
}

impl Request<'_> {
    /// An argument; there always is one, though it may be empty.
    pub(super) fn argument(&self, place: usize) -> &str {
        self.arguments.get(place).map_or("", String::as_str)
    }
}

/// What follows from a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// This is said.
    Text(String),
    /// The sessions are listed; with a number, only this one and everything about it.
    Sessions(Option<u64>),
    /// This session ends, if there is one.
    EndSession(u64),
    /// Interactive from now on, or no longer.
    Prompt,
    /// The conversation is over.
    Quit,
    /// Less is allowed from now on.
    Lower(SocketLevel),
    /// Silence may last so long from now on.
    Timeout(Duration),
}

impl Answer {
    pub(super) fn nothing() -> Self {
        Self::Text(String::new())
    }

    /// A sentence with its newline.
    pub(super) fn line(text: impl std::fmt::Display) -> Self {
        Self::Text(format!("{text}\n"))
    }
}

impl From<Result<(), String>> for Answer {
    fn from(result: Result<(), String>) -> Self {
        Self::Text(result.err().unwrap_or_default())
    }
}

pub(super) const DENIED: &str = "Permission denied\n";

struct Command {
    words: &'static str,
    level: SocketLevel,
    arguments: &'static str,
    help: &'static str,
    run: fn(&Request<'_>) -> Answer,
}

const fn command(
    words: &'static str,
    level: SocketLevel,
    arguments: &'static str,
    help: &'static str,
    run: fn(&Request<'_>) -> Answer,
) -> Command {
    Command {
        words,
        level,
        arguments,
        help,
        run,
    }
}

/// In the order of their words, which is that of `help`.
#[rustfmt::skip]
const COMMANDS: &[Command] = &[
    command("add server", Admin, "<bk>/<srv> <addr> [opts]*", "makes a server, in maintenance at first", add::add_server),
    command("clear counters", Operator, "[all]", "forgets the greatest values, or all counts", set::clear_counters),
    command("clear table", Operator, "<table> [<filter>]*", "removes entries of a stick table", table::clear),
    command("del server", Admin, "<bk>/<srv>", "removes a server that was added and is in maintenance", add::del_server),
    command("disable agent", Admin, "<bk>/<srv>", "asks the agent no more", |request| server::switch_agent(request, false)),
    command("disable frontend", Admin, "<frontend>", "accepts nothing for now", |request| set::pause_frontend(request, true)),
    command("disable health", Admin, "<bk>/<srv>", "makes no more checks", |request| server::switch_checks(request, false)),
    command("disable server", Admin, "<bk>/<srv>", "takes it out of service: state maint", |request| server::switch(request, false)),
    command("enable agent", Admin, "<bk>/<srv>", "asks the agent again", |request| server::switch_agent(request, true)),
    command("enable frontend", Admin, "<frontend>", "accepts again", |request| set::pause_frontend(request, false)),
    command("enable health", Admin, "<bk>/<srv>", "makes checks again", |request| server::switch_checks(request, true)),
    command("enable server", Admin, "<bk>/<srv>", "puts it back in service: state ready", |request| server::switch(request, true)),
    command("experimental-mode", Admin, "[on|off]", "changes nothing: no command needs it here", |_| Answer::nothing()),
    command("expert-mode", Admin, "[on|off]", "changes nothing: no command needs it here", |_| Answer::nothing()),
    command("get weight", User, "<bk>/<srv>", "says the weight in force", server::get_weight),
    command("operator", User, "", "lowers what this conversation may do to operator", |request| lower(request, Operator)),
    command("set maxconn frontend", Admin, "<frontend> <value>", "limits its sessions", set::maxconn_frontend),
    command("set maxconn global", Admin, "<value>", "limits the connections of the process", set::maxconn_global),
    command("set maxconn server", Admin, "<bk>/<srv> <value>", "limits its sessions", server::set_maxconn),
    command("set rate-limit", Admin, "<what> global <value>", "limits what is new per second", set::rate_limit),
    command("set server", Admin, "<bk>/<srv> [opts]", "changes state, weight, address, health, agent", server::set_server),
    command("set severity-output", User, "[none|number|string]", "changes nothing: answers carry no severity", |_| Answer::nothing()),
    command("set table", Admin, "<table> key <k>", "makes an entry of a stick table", table::set),
    command("set timeout", User, "cli <delay>", "how long silence may last here", set::timeout),
    command("set weight", Admin, "<bk>/<srv> <weight>", "as set server ... weight", server::set_weight),
    command("show activity", User, "", "what the threads did", show::activity),
    command("show backend", User, "", "names of the backends", show::backends),
    command("show cli level", User, "", "what may be done here", show::level),
    command("show cli sockets", User, "", "the sockets for commands", show::sockets),
    command("show env", Operator, "[<name>]", "environment of the process", show::environment),
    command("show errors", Operator, "[<px>] [request|response]", "the last messages that were not understood", errors::show),
    command("show fd", User, "[num]", "files and sockets that are open, or one of them", inside::descriptors),
    command("show info", User, "[desc|json|typed]*", "the process", show::info),
    command("show pools", User, "", "pools of memory, of which there are none here", show::pools),
    command("show resolvers", User, "[id]", "how names of servers were looked up", inside::resolvers),
    command("show schema json", User, "", "schema of the answers in JSON", show::schema),
    command("show servers conn", User, "[<backend>]", "connections to servers", show::server_connections),
    command("show servers state", User, "[<backend>]", "servers, for a state file", show::server_states),
    command("show sess", Operator, "[<id>]", "the sessions, or everything about one", show::sessions),
    command("show ssl cert", User, "[<file>]", "certificates", show::certificates),
    command("show stat", User, "[<px> <type> <sid>] [desc|json|no-maint|typed|up]*", "counters", show::statistics),
    command("show table", User, "[<table> [<filter>]*]", "stick tables, or the entries of one", table::show),
    command("show threads", User, "", "the workers", inside::threads),
    command("show version", User, "", "version of the program", show::version),
    command("shutdown frontend", Admin, "<frontend>", "stops it for good", set::stop_frontend),
    command("shutdown session", Admin, "<id>", "ends a session", set::end_session),
    command("shutdown sessions server", Admin, "<bk>/<srv>", "ends the sessions of a server", server::end_sessions_of),
    command("user", User, "", "lowers what this conversation may do to user", |request| lower(request, User)),
    command("help", User, "[<command>]", "commands that match, or all", help),
    command("prompt", User, "", "interactive, with a prompt, or no longer", |_| Answer::Prompt),
    command("quit", User, "", "ends the conversation", |_| Answer::Quit),
];

/// Shown with everything that was not understood.
const ALWAYS: [&str; 3] = ["help", "prompt", "quit"];

/// Does what a command says.
pub(super) fn run(context: &Context, level: SocketLevel, words: &[String]) -> Answer {
    let Some(command) = COMMANDS.iter().find(|command| command.is(words)) else {
        return Answer::Text(not_understood(words));
    };
    if level < command.level {
        return Answer::Text(DENIED.to_owned());
    }
    if command.level == Admin {
        tracing::info!(command = words.join(" "), "command on the runtime socket");
    }
    let own = command.words.split(' ').count();
    (command.run)(&Request {
        context,
        level,
        arguments: words.get(own..).unwrap_or_default(),
    })
}

impl Command {
    fn is(&self, words: &[String]) -> bool {
        let mut given = words.iter();
        self.words
            .split(' ')
            .all(|word| given.next().is_some_and(|given| given == word))
    }

    /// How many of its words are the first given ones.
    fn matching(&self, words: &[String]) -> usize {
        let pairs = self.words.split(' ').zip(words);
        pairs.take_while(|(own, given)| own == given).count()
    }

    fn usage(&self) -> String {
        format!("{} {}", self.words, self.arguments).trim_end().to_owned()
    }

    fn write(&self, text: &mut String) {
        let _ = writeln!(text, "  {:<40}: {}", self.usage(), self.help);
    }
}

fn lower(request: &Request<'_>, level: SocketLevel) -> Answer {
    if request.level < level {
        return Answer::Text(DENIED.to_owned());
    }
    Answer::Lower(level)
}

fn help(request: &Request<'_>) -> Answer {
    let mut text = "The following commands are valid at this level:\n".to_owned();
    let near = near(request.arguments);
    let some = !request.arguments.is_empty() && !near.is_empty();
    for command in COMMANDS.iter().filter(|command| command.level <= request.level) {
        if !some || near.contains(&command.words) || ALWAYS.contains(&command.words) {
            command.write(&mut text);
        }
    }
    Answer::Text(text)
}

fn not_understood(words: &[String]) -> String {
    let near = near(words);
    let mut text = if near.is_empty() {
        "Unknown command. Please enter one of the following commands only:\n".to_owned()
    } else {
        "Unknown command, but maybe one of the following ones is a better match:\n".to_owned()
    };
    for command in COMMANDS {
        if near.is_empty() || near.contains(&command.words) || ALWAYS.contains(&command.words) {
            command.write(&mut text);
        }
    }
    text
}

/// Commands that begin alike, or else look alike.
fn near(words: &[String]) -> Vec<&'static str> {
    const ALIKE_MAX: usize = 5;
    if words.is_empty() {
        return Vec::new();
    }
    let most = COMMANDS
        .iter()
        .map(|command| command.matching(words))
        .max()
        .unwrap_or(0);
    if most > 0 {
        let same = COMMANDS.iter().filter(|command| command.matching(words) == most);
        return same.map(|command| command.words).collect();
    }
    let wanted = words.join(" ").to_lowercase();
    let mut alike: Vec<_> = COMMANDS
        .iter()
        .map(|command| (distance(&wanted, command.words), command.words))
        .collect();
    alike.sort_unstable();
    alike.truncate(ALIKE_MAX);
    alike.into_iter().map(|(_, words)| words).collect()
}

/// Pairs of letters that only one of them has.
fn distance(one: &str, other: &str) -> usize {
    let pairs = |text: &str| -> Vec<[u8; 2]> {
        text.as_bytes()
            .windows(2)
            .map(|pair| [pair[0], pair[1]])
            .collect()
    };
    let (one, other) = (pairs(one), pairs(other));
    let shared = one.iter().filter(|pair| other.contains(pair)).count();
    (one.len() + other.len()).saturating_sub(2 * shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_command_hides_another() {
        for (place, command) in COMMANDS.iter().enumerate() {
            let words: Vec<String> = command.words.split(' ').map(str::to_owned).collect();
            assert_eq!(
                COMMANDS.iter().position(|other| other.is(&words)),
                Some(place),
                "{}",
                command.words
            );
        }
    }

    #[test]
    fn what_begins_alike_is_suggested_before_what_looks_alike() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            near(&words("show servers")),
            ["show servers conn", "show servers state"]
        );
        assert_eq!(near(&words("@1 show info"))[0], "show info");
        assert_eq!(near(&words("SHOW version"))[0], "show version");
        assert_eq!(near(&[]), Vec::<&str>::new());
    }
}
