//! The broker as a process, on a host of its own.

mod clients;
mod node;
mod pages;
mod pair;
mod proxied;
mod seeds;
