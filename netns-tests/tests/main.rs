//! Whole-system tests: real daemons on hosts made of namespaces. See `warren_lab`.

mod lab;
