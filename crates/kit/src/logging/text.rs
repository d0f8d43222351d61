//! Fields of a record as text. A record is one line, whatever a client put into a name or a text that is logged: what could begin
//! another line, or speak to the terminal of who reads it, is written as `\n` and `\u{1b}`.

use std::fmt::{self, Debug, Write};

use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

/// `became active vrid=51`, with names that stand out where there are colours.
pub(super) fn fields() -> impl for<'writer> FormatFields<'writer> + Send + Sync + 'static {
    debug_fn(|writer: &mut Writer<'_>, field: &Field, value: &dyn Debug| {
        match (field.name(), writer.has_ansi_escapes()) {
            ("message", _) => {}
            (name, true) => write!(writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m")?,
            (name, false) => {
                writer.write_str(name)?;
                writer.write_char('=')?;
            }
        }
        write!(InALine(writer), "{value:?}")
    })
    .delimited(" ")
}

struct InALine<'a, 'writer>(&'a mut Writer<'writer>);

impl Write for InALine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Mostly there is nothing of the kind, and octets are faster to look at than letters.
        if text.bytes().all(|octet| matches!(octet, b' '..=b'~')) {
            return self.0.write_str(text);
        }
        for part in text.split_inclusive(char::is_control) {
            let mut letters = part.chars();
            match letters.next_back() {
                Some(last) if last.is_control() => {
                    write!(self.0, "{}{}", letters.as_str(), last.escape_default())?;
                }
                _ => self.0.write_str(part)?,
            }
        }
        Ok(())
    }
}
