//! Values written in HAProxy's language, whichever file they stand in.

use toml::Spanned;
use warren_kit::config::Report;

use crate::config::words::{self, Word};

/// What is wrong with a word, of which nothing can be made.
pub(super) fn refuse<T>(
    report: &mut Report,
    word: &Word,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Option<T> {
    report.error(word.span.clone(), message, help);
    None
}

/// A text in HAProxy's language as words, with their places in the file as far as these can be told.
pub(super) fn words(report: &mut Report, text: &Spanned<String>) -> Option<Vec<Word>> {
    let span = text.span();
    let plain = text.get_ref();
    // In haproxy.cfg it is the text itself, in warren.toml there are quotes around it; with escapes nobody knows.
    let around = span
        .len()
        .checked_sub(plain.len())
        .filter(|around| [0, 2, 6].contains(around));
    match words::split(plain, 0, &|_| None) {
        Ok(mut words) => {
            for word in &mut words {
                word.span = match around {
                    Some(around) => {
                        let base = span.start + around / 2;
                        base + word.span.start..base + word.span.end
                    }
                    None => span.clone(),
                };
            }
            Some(words)
        }
        Err(wrong) => {
            report.error(span, wrong.message, wrong.help);
            None
        }
    }
}
