//! From what is written to a plan: `[broker]` of warren.toml, rabbitmq.conf, and the environment that goes with it.
//!
//! ```text
//!   warren.toml ────serde────▶ file::Broker ──build──▶ plan::Plan
//!   rabbitmq.conf ──keys────▶      │
//!   RABBITMQ_… ──────────────▶     └──translate──▶ warren.toml
//! ```
//!
//! A rabbitmq.conf becomes the same types as a warren.toml, with places in the rabbitmq.conf, so that one set of rules
//! applies to both and points into either.

mod address;
mod build;
mod environment;
pub mod file;
mod load;
mod rabbitmq;
mod translate;

pub use address::{Network, listen_address};
pub use environment::Environment;
pub use load::{
    Format, Loaded, Machine, load_none, load_rabbitmq, load_rabbitmq_text, load_toml, load_toml_text,
};
pub use rabbitmq::page as rabbitmq_page;
pub use translate::translate;
pub use warren_kit::config::ConfigError;

/// The text the configuration reference is made from: the comments on the keys.
pub const REFERENCE: &str = include_str!("config/file.rs");
