//! From file to plan: `[proxy]` of warren.toml and haproxy.cfg.
//!
//! ```text
//!   warren.toml ──serde──────────────────────────▶ file::Proxy ──build──▶ plan::Plan
//!   haproxy.cfg ──words──▶ keywords ──complete──▶      │
//!                                                      └──translate──▶ warren.toml
//! ```
//!
//! A haproxy.cfg becomes the same types as a warren.toml, with HAProxy's defaults written into them and with places in
//! the haproxy.cfg, so that one set of rules applies to both and points into either. Conditions and rules stay as they are
//! written, in HAProxy's language, until `build` reads them.
//!
//! Nothing here touches the network: whether a name resolves is for `warren check` and the running proxy to say.

mod build;
pub mod file;
mod haproxy;
pub mod lint;
mod load;
mod named;
mod short_forms;
mod translate;
mod words;

pub(crate) use build::address::{server_address, source_address};
pub use build::build;
pub(crate) use build::network;
pub(crate) use haproxy::is_server_option;
pub use haproxy::page as haproxy_page;
pub use load::{Format, Loaded, Machine, load, load_haproxy, load_haproxy_text, load_toml, load_toml_text};
pub use named::Named;
pub use translate::translate;
pub use warren_kit::config::ConfigError;

/// The text the configuration reference is made from: the comments on the keys.
pub const REFERENCE: &str = include_str!("config/file.rs");
