//! The whole binary and the files that ship with it, without privileges.

mod broker;
mod command_line;
mod configuration;
mod guides;
mod pages;
mod scripts;
mod skip;
mod units;
