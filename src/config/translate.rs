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
    loaded.commented(toml::to_string_pretty(&Document { vrrp: &loaded.file }))
}
