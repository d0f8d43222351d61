//! A class of methods from a list of them: `methods!` makes a type for each, their ids, and one way there and back.

use bytes::Bytes;

use crate::table::Table;
use crate::text::{Secret, ShortString};
use crate::wire::{Malformed, Reader, Writer};

/// What a method's argument can be.
pub(super) trait Argument: Sized {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed>;
    fn write(&self, out: &mut Writer<'_>);
    /// One made of these octets, as far as they go.
    #[cfg(test)]
    fn sample(seed: &mut sample::Seed) -> Self;
}

#[cfg(test)]
pub(super) mod sample;

macro_rules! argument {
    ($($type:ty: $read:ident, $write:expr;)*) => {
        $(impl Argument for $type {
            #[cfg(test)]
            fn sample(seed: &mut sample::Seed) -> Self {
                seed.$read()
            }

            fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                reader.$read()
            }

            fn write(&self, out: &mut Writer<'_>) {
                $write(out, self);
            }
        })*
    };
}

argument! {
    u8: u8, |out: &mut Writer<'_>, value: &Self| out.u8(*value);
    u16: u16, |out: &mut Writer<'_>, value: &Self| out.u16(*value);
    u64: u64, |out: &mut Writer<'_>, value: &Self| out.u64(*value);
    u32: u32, |out: &mut Writer<'_>, value: &Self| out.u32(*value);
    bool: bit, |out: &mut Writer<'_>, value: &Self| out.bit(*value);
    ShortString: short_string, Writer::short_string;
    Bytes: long_string, |out: &mut Writer<'_>, value: &Self| out.long_string(value);
}

impl Argument for Secret {
    #[cfg(test)]
    fn sample(seed: &mut sample::Seed) -> Self {
        seed.long_string().into()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.long_string().map(Self::from)
    }

    fn write(&self, out: &mut Writer<'_>) {
        out.long_string(self.reveal());
    }
}

impl Argument for Table {
    #[cfg(test)]
    fn sample(seed: &mut sample::Seed) -> Self {
        seed.table()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::read(reader).map_err(|_| Malformed)
    }

    fn write(&self, out: &mut Writer<'_>) {
        self.write(out);
    }
}

/// The methods of one class: number, name and arguments of each, in the order of the wire.
macro_rules! methods {
    ($class:literal; $(
        $(#[$doc:meta])*
        $id:literal $name:ident { $($(#[$argument_doc:meta])* $argument:ident: $type:ty,)* }
    )*) => {
        use bytes::BytesMut;

        use crate::frame::{FrameMax, TooLarge};
        use crate::method::{MethodError, MethodId, encode_frame};
        use crate::wire::{Malformed, Reader, Writer};

        /// The number of this class.
        pub const CLASS: u16 = $class;

        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Default, PartialEq)]
            pub struct $name {
                $($(#[$argument_doc])* pub $argument: $type,)*
            }

            impl $name {
                /// Class and number.
                pub const ID: MethodId = MethodId::new($class, $id);
            }

            impl From<$name> for Method {
                fn from(method: $name) -> Self {
                    Self::$name(method)
                }
            }

            impl From<$name> for crate::method::Method {
                fn from(method: $name) -> Self {
                    Method::$name(method).into()
                }
            }
        )*

        /// Any method of this class.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Method {
            $($(#[$doc])* $name($name),)*
        }

        impl Method {
            /// The ids of all of them.
            pub const IDS: &[MethodId] = &[$($name::ID,)*];

            /// One of each, with arguments made of these octets.
            #[cfg(test)]
            pub(super) fn samples(seed: &mut crate::method::class::sample::Seed) -> Vec<Self> {
                let _ = &seed;
                vec![$($name {
                    $($argument: <$type as crate::method::class::Argument>::sample(seed),)*
                }.into(),)*]
            }

            /// Which one it is.
            #[must_use]
            pub const fn id(&self) -> MethodId {
                match self { $(Self::$name(_) => $name::ID,)* }
            }

            /// Reads the payload of a method frame. Strings are slices of it.
            pub fn decode(payload: &bytes::Bytes) -> Result<Self, MethodError> {
                let id = MethodId::of(payload).ok_or_else(|| MethodError::Malformed {
                    id: MethodId::NONE,
                    arguments: payload.clone(),
                })?;
                let mut reader = Reader::from(payload, 4);
                let method = match id {
                    $($name::ID => Self::read_one::<$name>(&mut reader, |reader| {
                        let _ = &reader;
                        Ok($name { $($argument: <$type as crate::method::class::Argument>::read(reader)?,)* })
                    }),)*
                    _ => return Err(MethodError::Unknown(id)),
                };
                let method = method.map_err(|_| MethodError::Malformed { id, arguments: payload.slice(4..) })?;
                // RabbitMQ looks at the text of methods without content only.
                match reader.is_utf8() || id.has_content() {
                    true => Ok(method),
                    false => Err(MethodError::NotUtf8),
                }
            }

            /// Arguments that are longer than the method's are as wrong as arguments that are shorter.
            fn read_one<M: Into<Self>>(
                reader: &mut Reader<'_>,
                read: impl FnOnce(&mut Reader<'_>) -> Result<M, Malformed>,
            ) -> Result<Self, Malformed> {
                let method = read(reader)?;
                match reader.is_empty() {
                    true => Ok(method.into()),
                    false => Err(Malformed),
                }
            }

            /// Appends ids and arguments: the payload of a method frame.
            pub(crate) fn write(&self, out: &mut BytesMut) {
                let mut out = Writer::new(out);
                out.u16(self.id().class);
                out.u16(self.id().method);
                match self {
                    $(Self::$name(method) => {
                        let _ = method;
                        $(crate::method::class::Argument::write(&method.$argument, &mut out);)*
                    })*
                }
            }

            /// Appends the whole frame to what will be sent, or nothing if the peer would refuse it.
            pub fn encode(&self, channel: u16, frame_max: FrameMax, out: &mut BytesMut) -> Result<(), TooLarge> {
                encode_frame(channel, frame_max, out, |out| self.write(out))
            }
        }
    };
}

pub(super) use methods;
