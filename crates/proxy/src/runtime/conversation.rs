//! One client of the runtime socket: lines in, answers out.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::time::timeout;

use super::Context;
use super::commands::{self, Answer};
use super::set::end_sessions;
use super::show::{session_details, session_lines};
use super::socket::Stream;
use super::words;
use crate::plan::SocketLevel;
use crate::worker::Scope;

const PROMPT: &str = "\n> ";
const TOO_LONG: &str = "The line is too long.\n\n";

/// What a client has said about the conversation itself.
#[derive(Clone, Copy, Debug)]
struct Manners {
    level: SocketLevel,
    silence: Duration,
    prompt: bool,
    over: bool,
}

/// Talks until the client has heard everything, is silent for too long, or goes.
pub(super) async fn converse(
    context: &Context,
    stream: Box<dyn Stream>,
    level: SocketLevel,
    silence: Duration,
) -> io::Result<()> {
    let mut stream = BufReader::with_capacity(words::LINE_MAX, stream);
    let mut manners = Manners {
        level,
        silence,
        prompt: false,
        over: false,
    };
    while !manners.over {
        let Some(line) = timeout(manners.silence, read_line(&mut stream)).await?? else {
            return Ok(());
        };
        let Some(line) = line else {
            return say(&mut stream, manners.silence, TOO_LONG).await;
        };
        let payload = line.trim_end().ends_with("<<");
        for words in words::commands(&line) {
            let text = answer(context, &mut manners, &words).await;
            if manners.over {
                break;
            }
            let end = if manners.prompt { PROMPT } else { "\n" };
            say(&mut stream, manners.silence, &(text + end)).await?;
        }
        if payload {
            timeout(manners.silence, skip_payload(&mut stream)).await??;
        }
        // Lines that came with the first are answered too.
        if !manners.prompt && !stream.buffer().contains(&b'\n') {
            manners.over = true;
        }
    }
    stream.get_mut().shutdown().await
}

/// The answers to a line, without a conversation around it.
pub(super) async fn answer_line(context: &Context, level: SocketLevel, line: &str) -> String {
    let mut manners = Manners {
        level,
        silence: Duration::MAX,
        prompt: false,
        over: false,
    };
    let mut text = String::new();
    for words in words::commands(line) {
        text += &answer(context, &mut manners, &words).await;
        if manners.over {
            break;
        }
        text.push('\n');
    }
    text
}

/// A line; `Some(None)` if it is too long, `None` if the client has gone. A last line may lack its newline.
async fn read_line(stream: &mut BufReader<Box<dyn Stream>>) -> io::Result<Option<Option<String>>> {
    let mut line = Vec::new();
    let mut limited = stream.take(words::LINE_MAX as u64);
    let count = limited.read_until(b'\n', &mut line).await?;
    if count == 0 {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') && count >= words::LINE_MAX {
        return Ok(Some(None));
    }
    Ok(Some(Some(String::from_utf8_lossy(&line).into_owned())))
}

/// `<<` at the end of a line announces further ones up to an empty one. No command takes them.
async fn skip_payload(stream: &mut BufReader<Box<dyn Stream>>) -> io::Result<()> {
    while let Some(Some(line)) = read_line(stream).await? {
        if line.trim_end_matches(['\r', '\n']).is_empty() {
            break;
        }
    }
    Ok(())
}

async fn say(stream: &mut BufReader<Box<dyn Stream>>, silence: Duration, text: &str) -> io::Result<()> {
    // A client that does not read is silent too.
    timeout(silence, stream.get_mut().write_all(text.as_bytes())).await?
}

async fn answer(context: &Context, manners: &mut Manners, words: &[String]) -> String {
    match commands::run(context, manners.level, words) {
        Answer::Text(text) => return text,
        Answer::Sessions(None) => return session_lines(context.workers.sessions().await),
        Answer::Sessions(Some(id)) => {
            let sessions = context.workers.sessions().await;
            let found = sessions.iter().find(|session| session.id == id);
            return found.map_or_else(|| "Session not found.\n".to_owned(), session_details);
        }
        Answer::EndSession(id) => {
            let sessions = context.workers.sessions().await;
            if !sessions.iter().any(|session| session.id == id) {
                return "No such session (use 'show sess').\n".to_owned();
            }
            end_sessions(context, Scope::Session(id));
        }
        Answer::Prompt => manners.prompt = !manners.prompt,
        Answer::Quit => manners.over = true,
        Answer::Lower(level) => manners.level = level,
        Answer::Timeout(silence) => manners.silence = silence,
    }
    String::new()
}
