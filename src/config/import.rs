//! Prints the warren.toml that a keepalived.conf means.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::load::{Format, Loaded, load};
use super::{Vrrp, exit};

/// Prints the TOML that `path` means, complaints included; the result is the exit code.
pub fn import(path: &Path, out: &mut dyn Write, color: bool) -> u8 {
    written(out, |out| {
        if Format::of(path) == Format::Toml {
            writeln!(
                out,
                "error: {} is in TOML already; `warren check` reads it",
                path.display()
            )?;
            return Ok(exit::USAGE);
        }
        match load(path, Format::Keepalived, &super::host_name()) {
            Ok(loaded) => {
                out.write_all(translate(&loaded).as_bytes())?;
                Ok(exit::OK)
            }
            Err(error) => {
                out.write_all(error.render(color).as_bytes())?;
                Ok(exit::CONFIG)
            }
        }
    })
}

/// The TOML of a configuration. What was dropped or needs a look stands above it as comments.
#[must_use]
pub fn translate(loaded: &Loaded) -> String {
    #[derive(Serialize)]
    struct Document<'a> {
        vrrp: &'a Vrrp,
    }
    let mut text = String::new();
    for warning in loaded.warning_lines() {
        text += "# ";
        text += &warning.replace('\n', "\n# ");
        text.push('\n');
    }
    if !text.is_empty() {
        text.push('\n');
    }
    match toml::to_string_pretty(&Document { vrrp: &loaded.file }) {
        Ok(document) => text + &document,
        // Every value of the file types has a form in TOML; a failure would be a mistake in those types.
        Err(error) => format!("{text}# this configuration has no TOML form: {error}\n"),
    }
}

/// Output that cannot be written (a closed pipe) leaves only the exit code.
pub(super) fn written(out: &mut dyn Write, print: impl FnOnce(&mut dyn Write) -> io::Result<u8>) -> u8 {
    print(out).unwrap_or(exit::FAILED)
}
