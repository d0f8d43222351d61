//! Exit codes, those of sysexits.h where it has one.

pub const OK: u8 = 0;
/// Something other than the configuration went wrong.
pub const FAILED: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 64;
/// The configuration is wrong.
pub const CONFIG: u8 = 78;
