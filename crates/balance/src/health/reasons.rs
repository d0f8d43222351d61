//! Why a server is in maintenance or draining. One reason that ends does not end another.

use super::Admin;

/// Who said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// `disabled`.
    Configuration,
    /// The runtime socket or the page.
    Operator,
    /// An agent.
    Agent,
}

/// All of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reasons {
    /// Somebody asked for maintenance.
    pub maint_by: Option<By>,
    /// The server it tracks is in maintenance.
    pub inherited_maint: bool,
    /// Its name has no address.
    pub unresolved: bool,
    /// Somebody asked for drain.
    pub drain_by: Option<By>,
    /// The server it tracks is draining.
    pub inherited_drain: bool,
}

impl Reasons {
    /// Maintenance, for whatever reason.
    #[must_use]
    pub const fn maint(self) -> bool {
        self.maint_by.is_some() || self.inherited_maint || self.unresolved
    }

    /// Drain, for whatever reason.
    #[must_use]
    pub const fn drain(self) -> bool {
        self.drain_by.is_some() || self.inherited_drain
    }

    /// `srv_admin_state` of `show servers state`: the sum of 1 forced, 2 inherited, 4 configured and 32 unresolved
    /// maintenance, 8 forced and 16 inherited drain.
    #[must_use]
    pub fn bits(self) -> u8 {
        let configured = self.maint_by == Some(By::Configuration);
        u8::from(self.maint_by.is_some())
            | u8::from(self.inherited_maint) << 1
            | u8::from(configured) << 2
            | u8::from(self.drain_by.is_some()) << 3
            | u8::from(self.inherited_drain) << 4
            | u8::from(self.unresolved) << 5
    }

    /// Maintenance and drain exclude each other, and ready ends both: there is one word at a time, the last.
    pub(super) const fn say(&mut self, admin: Admin, by: By) {
        (self.maint_by, self.drain_by) = match admin {
            Admin::Ready => (None, None),
            Admin::Drain => (None, Some(by)),
            Admin::Maint => (Some(by), None),
        };
    }
}
