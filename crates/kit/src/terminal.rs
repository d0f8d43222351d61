//! Whether to use colour.

use std::io::IsTerminal;

/// On a terminal, unless the user asked for none (<https://no-color.org>).
pub fn wants_colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_no_colour() {
        assert!(!wants_colour(&tempfile::tempfile().unwrap()));
    }
}
