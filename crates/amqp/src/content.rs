//! Contents: what comes after basic.publish, deliver, return and get-ok.
//!
//! ```text
//!   method frame ▶ header frame ▶ body frame ▶ body frame …     on one channel; other channels' frames in between
//!
//!   header   class id 2, weight 2 (0), body size 8, flags 2, properties, those whose flag is set, in order of the flags
//!   body     as many octets as the header says, in frames of any size; none for an empty body
//! ```
//!
//! A [`Message`] is the three together. If they came in one piece, as small messages do, it is one slice of what was
//! read; a larger body is a list of slices. [`Assembly`] makes messages out of the frames of one channel, [`Header`]
//! reads properties where they lie, and a message leaves with the octets of its header as they came unless somebody
//! asks for a [`HeaderEdit`].

mod assembly;
mod edit;
mod error;
mod header;
mod message;
mod properties;

pub use assembly::{Accepted, Assembly, BODY_SIZE_DEFAULT, BODY_SIZE_MAX, SMALL_PIECE};
pub use edit::HeaderEdit;
pub use error::ContentError;
pub use header::{Header, InvalidHeader, Property};
pub use message::Message;
pub use properties::{DeliveryMode, Properties};
