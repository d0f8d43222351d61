//! What every daemon of the appliance needs and no word of any domain.
//!
//! - [`duration`]: durations as operators write them, `"100ms"`.
//! - [`diagnostics`]: messages that point into a file with a caret.
//! - [`suggest`]: "did you mean".
//! - [`config`]: `warren.toml` with spans, host overrides and one section per role.
#![forbid(unsafe_code)]

pub mod config;
pub mod diagnostics;
pub mod duration;
pub mod suggest;
