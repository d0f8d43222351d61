//! What one check found.

/// The result, before it is known when and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// HAProxy's word.
    pub(super) status: &'static str,
    /// Status of the answer, if there was one.
    pub(super) code: Option<u16>,
    /// What else is known, for people.
    pub(super) detail: String,
    /// Whether it counts as a success.
    pub(super) passed: bool,
}

/// Longest detail that is kept.
const DETAIL_MAX: usize = 256;

impl Finding {
    pub(super) fn passed(status: &'static str, detail: impl Into<String>) -> Self {
        Self::new(status, None, detail.into(), true)
    }

    pub(super) fn failed(status: &'static str, detail: impl Into<String>) -> Self {
        Self::new(status, None, detail.into(), false)
    }

    /// An answer with a status.
    pub(super) fn answered(passed: bool, code: u16, detail: impl Into<String>) -> Self {
        let status = if passed { "L7OK" } else { "L7STS" };
        Self::new(status, Some(code), detail.into(), passed)
    }

    fn new(status: &'static str, code: Option<u16>, mut detail: String, passed: bool) -> Self {
        if let Some((end, _)) = detail.char_indices().nth(DETAIL_MAX) {
            detail.truncate(end);
        }
        Self {
            status,
            code,
            detail,
            passed,
        }
    }
}

impl From<std::io::Error> for Finding {
    /// The connection stood and broke.
    fn from(error: std::io::Error) -> Self {
        Self::failed("SOCKERR", super::link::reason(&error))
    }
}
