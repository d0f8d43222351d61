//! The warren.toml that a keepalived.conf means, as text.

use serde::Serialize;

use super::Vrrp;
use super::load::Loaded;

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
