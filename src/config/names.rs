//! Names as the kernel, scripts and logs take them.

use std::ops::Range;

use warren_kit::config::{NameRule, Report};

/// Routers, checks and groups: their names stand in commands, log fields and lines that scripts split at blanks.
pub(in crate::config) const NAME: NameRule = NameRule {
    length_max: 64,
    fits: |c| !(c.is_whitespace() || c.is_control() || c == '"'),
    help: "a name has 1 to 64 bytes without blanks and quotes",
};

/// An interface name as the kernel takes it.
pub(in crate::config) fn interface(report: &mut Report, span: Range<usize>, name: &str) -> String {
    let fits = (1..=15).contains(&name.len()) && name != "." && name != "..";
    if !fits || name.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control()) {
        report.error(
            span,
            format!("\"{name}\" cannot be the name of an interface"),
            "an interface name has 1 to 15 bytes, no blanks and no `/`; `ip link` lists those of this host",
        );
    }
    name.to_owned()
}
