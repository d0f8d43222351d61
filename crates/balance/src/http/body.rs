//! Where a message ends: which of the octets after a head belong to it.
//!
//! Nothing is decoded: chunks go on as they came, sizes, extensions, trailers and all. So they have to be written
//! as everybody reads them, and a line that ends with LF alone is refused.

use super::Refused;

/// Octets of a chunk's line: its size and extensions.
pub const CHUNK_LINE_MAX: u32 = 4096;
/// Octets of all trailers.
pub const TRAILERS_MAX: u32 = 16_384;
/// Digits of a chunk's size, zeros before it included. More cannot be counted.
const SIZE_DIGITS_MAX: u32 = 16;

/// How the end of a message is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// There is no body.
    None,
    /// After so many octets.
    Sized(u64),
    /// After the last chunk and its trailers.
    Chunked,
    /// When the server closes the connection.
    UntilClose,
    /// Never: the connection speaks something else from here on, in both directions.
    Tunnel,
}

/// What is left of a message's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body(State);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Finished,
    Endless,
    Sized(u64),
    Chunk(Chunk),
}

/// What is expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    Size { digits: u32, size: u64 },
    Extension { size: u64, seen: u32 },
    SizeEnd { size: u64 },
    Data(u64),
    DataCr,
    DataLf,
    Trailer { seen: u32, empty: bool },
    TrailerLf { seen: u32, empty: bool },
}

/// Which octets belong to the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// So many of them, from the first.
    pub octets: usize,
    /// And they are the last: what follows is another message.
    pub finished: bool,
}

impl Body {
    /// Of a message whose head was just read.
    #[must_use]
    pub const fn new(length: Length) -> Self {
        Self(match length {
            Length::None | Length::Sized(0) => State::Finished,
            Length::Sized(size) => State::Sized(size),
            Length::Chunked => State::Chunk(Chunk::Size { digits: 0, size: 0 }),
            Length::UntilClose | Length::Tunnel => State::Endless,
        })
    }

    /// The whole message has been seen.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        matches!(self.0, State::Finished)
    }

    /// It has no end but that of the connection.
    #[must_use]
    pub const fn is_endless(&self) -> bool {
        matches!(self.0, State::Endless)
    }

    /// So many octets at least belong to the message and have nothing in them to look at: they can be moved without
    /// being seen, and be reported by [`Body::skip`].
    #[must_use]
    pub const fn unseen(&self) -> u64 {
        match self.0 {
            State::Endless => u64::MAX,
            State::Sized(left) | State::Chunk(Chunk::Data(left)) => left,
            State::Finished | State::Chunk(_) => 0,
        }
    }

    /// So many octets, at most [`Body::unseen`], were moved.
    pub const fn skip(&mut self, octets: u64) {
        self.0 = match self.0 {
            State::Sized(left) if left > octets => State::Sized(left - octets),
            State::Sized(_) | State::Finished => State::Finished,
            State::Chunk(Chunk::Data(left)) if left > octets => State::Chunk(Chunk::Data(left - octets)),
            State::Chunk(Chunk::Data(_)) => State::Chunk(Chunk::DataCr),
            State::Endless | State::Chunk(_) => self.0,
        };
    }

    /// What is known, as numbers, for another process that goes on with [`Body::resume`].
    #[must_use]
    pub fn pause(&self) -> [u64; 3] {
        let number = |seen: u32, flag: bool| u64::from(seen) << 1 | u64::from(flag);
        match self.0 {
            State::Finished => [0, 0, 0],
            State::Endless => [1, 0, 0],
            State::Sized(left) => [2, left, 0],
            State::Chunk(Chunk::Size { digits, size }) => [3, size, u64::from(digits)],
            State::Chunk(Chunk::Extension { size, seen }) => [4, size, u64::from(seen)],
            State::Chunk(Chunk::SizeEnd { size }) => [5, size, 0],
            State::Chunk(Chunk::Data(left)) => [6, left, 0],
            State::Chunk(Chunk::DataCr) => [7, 0, 0],
            State::Chunk(Chunk::DataLf) => [8, 0, 0],
            State::Chunk(Chunk::Trailer { seen, empty }) => [9, number(seen, empty), 0],
            State::Chunk(Chunk::TrailerLf { seen, empty }) => [10, number(seen, empty), 0],
        }
    }

    /// Goes on where another one was. Nothing if none can have been there.
    #[must_use]
    pub fn resume(paused: [u64; 3]) -> Option<Self> {
        let small = |number: u64| u32::try_from(number).ok();
        let [state, first, second] = paused;
        Some(Self(match state {
            0 => State::Finished,
            1 => State::Endless,
            2 if first > 0 => State::Sized(first),
            6 if first > 0 => State::Chunk(Chunk::Data(first)),
            3 => State::Chunk(Chunk::Size {
                digits: small(second).filter(|digits| *digits <= SIZE_DIGITS_MAX)?,
                size: first,
            }),
            4 => State::Chunk(Chunk::Extension {
                size: first,
                seen: small(second)?,
            }),
            5 => State::Chunk(Chunk::SizeEnd { size: first }),
            7 => State::Chunk(Chunk::DataCr),
            8 => State::Chunk(Chunk::DataLf),
            9 => State::Chunk(Chunk::Trailer {
                seen: small(first >> 1)?,
                empty: first & 1 == 1,
            }),
            10 => State::Chunk(Chunk::TrailerLf {
                seen: small(first >> 1)?,
                empty: first & 1 == 1,
            }),
            _ => return None,
        }))
    }

    /// Which of the octets that came belong to the message. Those that do not are to be kept for the next one.
    ///
    /// # Errors
    /// It is not written as a chunked message is. Nothing more can be said of what follows.
    pub fn take(&mut self, octets: &[u8]) -> Result<Taken, Refused> {
        let mut rest = octets;
        while !rest.is_empty() && !self.is_finished() {
            let unseen = self.unseen();
            if unseen > 0 {
                let part = usize::try_from(unseen).map_or(rest.len(), |unseen| unseen.min(rest.len()));
                self.skip(part as u64);
                rest = rest.get(part..).unwrap_or_default();
            } else if let (State::Chunk(chunk), Some((octet, after))) = (self.0, rest.split_first()) {
                self.0 = chunk.next(*octet)?;
                rest = after;
            }
        }
        Ok(Taken {
            octets: octets.len() - rest.len(),
            finished: self.is_finished(),
        })
    }
}

impl Chunk {
    /// One octet of framing.
    fn next(self, octet: u8) -> Result<State, Refused> {
        let next = match (self, octet) {
            (Self::Size { digits, size }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if digits == SIZE_DIGITS_MAX {
                    return Err(Refused::ChunkSize);
                }
                let digit = u64::from((octet as char).to_digit(16).unwrap_or_default());
                Self::Size {
                    digits: digits + 1,
                    size: size << 4 | digit,
                }
            }
            (Self::Size { digits: 0, .. }, _) => return Err(Refused::ChunkSize),
            (Self::Size { size, .. }, b'\r') => Self::SizeEnd { size },
            // RFC 9112 7.1.1: spaces before an extension are bad, and to be borne.
            (Self::Size { size, .. }, b';' | b' ' | b'\t') => Self::Extension { size, seen: 1 },
            (Self::Size { .. }, b'\n') => return Err(Refused::ChunkEnd),
            (Self::Size { .. }, _) => return Err(Refused::ChunkSize),
            (Self::Extension { size, .. }, b'\r') => Self::SizeEnd { size },
            (Self::Extension { seen, .. }, _) if seen >= CHUNK_LINE_MAX => {
                return Err(Refused::ChunkLineTooLong);
            }
            (Self::Extension { size, seen }, _) if readable(octet) => {
                Self::Extension { size, seen: seen + 1 }
            }
            (Self::Extension { .. }, _) => return Err(Refused::ChunkEnd),
            (Self::SizeEnd { size: 0 }, b'\n') => Self::Trailer { seen: 0, empty: true },
            (Self::SizeEnd { size }, b'\n') => Self::Data(size),
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Size { digits: 0, size: 0 },
            (Self::Trailer { seen, .. } | Self::TrailerLf { seen, .. }, _) if seen >= TRAILERS_MAX => {
                return Err(Refused::TrailersTooLong);
            }
            (Self::Trailer { seen, empty }, b'\r') => Self::TrailerLf {
                seen: seen + 1,
                empty,
            },
            (Self::Trailer { seen, .. }, _) if readable(octet) => Self::Trailer {
                seen: seen + 1,
                empty: false,
            },
            (Self::TrailerLf { empty: true, .. }, b'\n') => return Ok(State::Finished),
            (Self::TrailerLf { seen, empty: false }, b'\n') => Self::Trailer {
                seen: seen + 1,
                empty: true,
            },
            (
                Self::SizeEnd { .. }
                | Self::DataCr
                | Self::DataLf
                | Self::Trailer { .. }
                | Self::TrailerLf { .. }
                | Self::Data(_),
                _,
            ) => return Err(Refused::ChunkEnd),
        };
        Ok(State::Chunk(next))
    }
}

/// Not a control character, of which only the tab may be in a line.
const fn readable(octet: u8) -> bool {
    octet == b'\t' || (octet >= b' ' && octet != 0x7f)
}
