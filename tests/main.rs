//! The whole binary and the files that ship with it, without privileges.

mod command_line;
mod guides;
mod pages;
mod scripts;
mod units;
