//! A test that cannot be done here says so: to standard error, and in the list that `scripts/test` shows at its end.

use std::fs::OpenOptions;
use std::io::Write as _;

/// The file for the list.
const LIST: &str = "WARREN_SKIPPED";
/// Set where everything can be had that tests need.
const NOTHING: &str = "WARREN_SKIP_NOTHING";

/// This test cannot go on, since something is not to be had here.
///
/// # Panics
/// Here it is.
pub(crate) fn skip(why: &str) {
    assert!(
        std::env::var_os(NOTHING).is_none(),
        "{why}, but {NOTHING} says that no test is skipped here: install what is missing (scripts/test does), or find out why it fails"
    );
    eprintln!("skipped: {why}");
    if let Some(list) = std::env::var_os(LIST) {
        let mut list = OpenOptions::new().create(true).append(true).open(list).unwrap();
        let thread = std::thread::current();
        let line = format!("{}: {}\n", thread.name().unwrap_or("?"), why.trim_end());
        list.write_all(line.as_bytes()).unwrap();
    }
}
