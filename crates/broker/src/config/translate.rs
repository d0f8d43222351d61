//! The warren.toml that a rabbitmq.conf means.

use serde::Serialize;

use super::file::Broker;
use super::load::Loaded;

#[derive(Serialize)]
struct File<'a> {
    broker: &'a Broker,
}

/// The TOML of a configuration. What was dropped or needs a look stands above it as comments.
#[must_use]
pub fn translate(loaded: &Loaded) -> String {
    loaded.commented(toml::to_string_pretty(&File { broker: &loaded.file }))
}
