//! Whole-system tests: real daemons on hosts made of namespaces. See `warren_lab`.

mod broker;
mod failover;
mod hostile;
mod lab;
mod operator;
mod pair;
mod proxy;
mod recovery;
mod reload;
mod run;
mod scale;
mod service;
#[path = "../../tests/skip.rs"]
mod skip;
mod statics;
mod tracking;
mod upgrade;

use warren_lab::Flavour;

const KEEPALIVED: Flavour = Flavour::Keepalived;
const WARREN: Flavour = Flavour::Warren;
