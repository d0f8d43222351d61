//! The broker as a process, on a host of its own.

mod clients;
mod node;
mod pair;
mod proxied;
mod seeds;
