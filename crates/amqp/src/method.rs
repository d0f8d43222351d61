//! Methods: what peers ask of each other, and how each is told from the others.
//!
//! ```text
//!    0           2            4
//!   +-----------+------------+---------------------------+
//!   | class id  | method id  | arguments, by the method  |
//!   +-----------+------------+---------------------------+
//! ```

use std::fmt;

/// Class and method, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MethodId {
    /// 10 for connection, 20 for channel and so on.
    pub class: u16,
    /// The number within the class.
    pub method: u16,
}

impl MethodId {
    /// What a close says if no method was at fault.
    pub const NONE: Self = Self::new(0, 0);

    /// From the two numbers.
    #[must_use]
    pub const fn new(class: u16, method: u16) -> Self {
        Self { class, method }
    }

    /// From the first four octets of a method's payload.
    #[must_use]
    pub fn of(payload: &[u8]) -> Option<Self> {
        let [c1, c2, m1, m2] = *payload.first_chunk()?;
        Some(Self::new(
            u16::from_be_bytes([c1, c2]),
            u16::from_be_bytes([m1, m2]),
        ))
    }
}

impl fmt::Display for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({},{})", self.class, self.method)
    }
}
