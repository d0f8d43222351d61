//! How a verb fails: the text, and the exit status, which are those of sysexits as RabbitMQ uses them.

use std::fmt::Display;
use std::io::Write;

use serde_json::Value;
use warren_api::broker::{Refused, refusal};
use warren_kit::control::ClientError;

use super::verbs::Verb;
use super::{Tool, usage_of};

/// The command line, or the state of what it is about.
pub(super) const USAGE: u8 = 64;
/// What was given cannot be worked with.
pub(super) const DATA: u8 = 65;
/// There is no such user.
pub(super) const NO_USER: u8 = 67;
/// It could not be done.
pub(super) const UNAVAILABLE: u8 = 69;
/// There is one already, and the like.
pub(super) const SOFTWARE: u8 = 70;
/// Not within the time given.
pub(super) const TIMEOUT: u8 = 75;

/// Why a verb ends with another status than 0.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: u8,
    text: String,
    /// The usage is to be shown with it.
    usage: bool,
    /// What who reads JSON is told instead, where RabbitMQ says it so.
    object: Option<Value>,
}

impl Failure {
    /// `Error:` and a text on a line of its own.
    pub(super) fn new(status: u8, text: impl Display) -> Self {
        Self::plain(status, format!("Error:\n{text}"))
    }

    /// A text and nothing else.
    pub(super) fn plain(status: u8, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
            usage: false,
            object: None,
        }
    }

    /// Who reads JSON is told this, and that the result is an error.
    pub(super) fn or_json(mut self, mut object: Value) -> Self {
        object["result"] = "error".into();
        self.object = Some(object);
        self
    }

    /// As who reads JSON is told it, with the status that it has for him then.
    pub(super) fn into_json(self) -> Self {
        match self.object {
            Some(object) => Self::plain(UNAVAILABLE, object.to_string()),
            None => self,
        }
    }

    /// Nothing is said.
    pub(super) fn silent(status: u8) -> Self {
        Self::plain(status, "")
    }

    /// An argument is wrong.
    pub(super) fn argument(status: u8, text: impl Display) -> Self {
        Self {
            status,
            text: format!("Error (argument validation): {text}"),
            usage: true,
            object: None,
        }
    }

    /// Only how it is used.
    pub(super) fn usage(text: String) -> Self {
        Self::plain(USAGE, text)
    }

    /// No verb has this name; one that is nearly so is offered, else all there are.
    pub(super) fn unknown_verb(tool: Tool, name: &str, overview: &str) -> Self {
        let names = super::verbs::of(tool).map(|verb| verb.name);
        let text = match warren_kit::suggest::did_you_mean(name, names) {
            Some(near) => format!("\nCommand '{name}' not found. \nDid you mean '{near}'? \n"),
            None => format!("\nCommand '{name}' not found. \n{overview}"),
        };
        Self::plain(USAGE, text)
    }

    /// The usage belongs below it, if it is about the command line.
    pub(super) fn with_usage(mut self, tool: Tool, verb: &Verb, words: &[String]) -> Self {
        if std::mem::take(&mut self.usage) {
            self.text += &format!(
                "\nArguments given:\n\t{}\n\nUsage\n\n{} [--node <node>] [--longnames] [--quiet] {}",
                words.join(" "),
                tool.program(),
                usage_of(verb)
            );
        }
        self
    }

    /// A broker that cannot be spoken to.
    pub(super) fn unreachable(node: &str, why: impl Display) -> Self {
        Self::plain(
            UNAVAILABLE,
            format!(
                "Error: unable to perform an operation on node '{node}'. Please see diagnostics information and suggestions below.\n\n\
                 DIAGNOSTICS\n===========\n\nattempted to contact: [{node}]\n\n{node}:\n  * {why}\n"
            ),
        )
    }

    pub(super) fn daemon(node: &str, error: &ClientError) -> Self {
        match error {
            ClientError::TimedOut { .. } => Self::plain(
                TIMEOUT,
                format!("Error: operation on node {node} timed out: {error}"),
            ),
            other => Self::unreachable(node, other),
        }
    }

    /// In the broker's words, with the status that its code usually has.
    pub(super) fn refused(refused: &Refused) -> Self {
        let status = match refused.code.as_str() {
            refusal::NO_SUCH_USER => NO_USER,
            refusal::NO_SUCH_VHOST => return Self::plain(DATA, refused.message.clone()),
            refusal::NOT_AUTHENTICATED | refusal::BAD_REQUEST => DATA,
            refusal::EXISTS | refusal::FAILED => SOFTWARE,
            refusal::IN_USE => USAGE,
            _ => UNAVAILABLE,
        };
        Self::new(status, &refused.message)
    }

    /// Says it and gives the status.
    pub(super) fn print(&self, err: &mut dyn Write) -> u8 {
        if !self.text.is_empty() {
            // With a closed standard error there is nobody left to tell.
            drop(writeln!(err, "{}", self.text));
        }
        self.status
    }
}
