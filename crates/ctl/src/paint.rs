//! Colours, and text of others made safe to print.

use warren_api::vrrp::State;

/// Puts colours on, or does not.
#[derive(Clone, Copy)]
pub(crate) struct Paint(pub(crate) bool);

impl Paint {
    pub(crate) fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.with("1;31", text)
    }

    pub(crate) fn waiting(self, text: &str) -> String {
        self.with("33", text)
    }

    pub(crate) fn strong(self, text: &str) -> String {
        self.with("1", text)
    }

    pub(crate) fn faint(self, text: &str) -> String {
        self.with("2", text)
    }

    pub(crate) fn state(self, state: State) -> String {
        let code = match state {
            State::Active => "1;32",
            State::Backup => "36",
            State::Initialize | State::Unknown => "33",
        };
        self.with(code, state.word())
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.into()
        }
    }
}

/// A warning for a line that is marked as one already.
pub(crate) fn warning(text: &str) -> String {
    clean(text).replacen(": warning: ", ": ", 1)
}

/// Scripts print what they like; what steers a terminal is replaced.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|it| {
            if it.is_control() && it != '\n' {
                '\u{fffd}'
            } else {
                it
            }
        })
        .collect()
}
