//! What a client says of itself when it logs in, by mechanism.
//!
//! ```text
//!   PLAIN      0, user, 0, password
//!   AMQPLAIN   a field table without its length, with LOGIN and PASSWORD
//!   EXTERNAL   nothing: the certificate has the name
//! ```

use bytes::Bytes;
use warren_amqp::{Table, Value};

use crate::arrival::Arrival;
use crate::node::Node;

/// A way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// Name and password.
    Plain,
    /// The same, in a table.
    Amqplain,
    /// By the client's certificate.
    External,
}

impl Mechanism {
    /// In the order in which they are offered.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Amqplain, Self::External];

    /// As it is called on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Amqplain => "AMQPLAIN",
            Self::External => "EXTERNAL",
        }
    }
}

/// Who says that he is who.
pub(super) struct Credentials {
    pub(super) user: Bytes,
    /// `None`: somebody else vouches for him.
    pub(super) password: Option<Bytes>,
}

/// What is offered to a client: what the configuration lists, of which EXTERNAL is for who speaks TLS. Unless it lists anything
/// EXTERNAL is offered where the client's certificate names a user, and only there: some clients take it whenever it is
/// offered, though they have a password as well and could have logged in with that (py-amqp).
pub(crate) fn mechanisms(node: &Node, arrival: &Arrival) -> String {
    let offered = offered(node, arrival);
    offered.map(Mechanism::name).collect::<Vec<_>>().join(" ")
}

/// The one of this name, if it was offered.
pub(super) fn mechanism(name: &str, node: &Node, arrival: &Arrival) -> Option<Mechanism> {
    offered(node, arrival).find(|mechanism| mechanism.name() == name)
}

fn offered(node: &Node, arrival: &Arrival) -> impl Iterator<Item = Mechanism> {
    let settings = node.settings();
    let is_user = |name: &str| node.read(|meta| meta.user(name).is_some());
    let external = match settings.mechanisms {
        Some(_) => arrival.tls.is_some(),
        None => certificate(arrival).is_some_and(is_user),
    };
    Mechanism::ALL.into_iter().filter(move |mechanism| {
        let listed = settings.mechanisms.as_ref();
        listed.is_none_or(|listed| listed.contains(mechanism))
            && (external || *mechanism != Mechanism::External)
    })
}

/// The name in the client's certificate, if it showed one that has any.
pub(super) fn certificate(arrival: &Arrival) -> Option<&str> {
    arrival.tls.as_ref()?.user.as_deref()
}

/// Reads a response. `None`: it is none of this mechanism.
pub(super) fn read(mechanism: Mechanism, response: &Bytes, certificate: Option<&str>) -> Option<Credentials> {
    match mechanism {
        Mechanism::Plain => {
            let rest = response.strip_prefix(b"\0")?;
            let end = rest.iter().position(|octet| *octet == 0)?;
            let (user, password) = rest.split_at_checked(end)?;
            let password = password.get(1..).filter(|password| !password.contains(&0))?;
            Some(Credentials {
                user: response.slice_ref(user),
                password: Some(response.slice_ref(password)),
            })
        }
        Mechanism::Amqplain => {
            let table = Table::decode_entries(response.clone()).ok()?;
            let text = |name: &str| match table.get(name)? {
                Value::Text(octets) | Value::Octets(octets) => Some(octets.clone()),
                _ => None,
            };
            Some(Credentials {
                user: text("LOGIN")?,
                password: Some(text("PASSWORD")?),
            })
        }
        Mechanism::External => Some(Credentials {
            user: Bytes::copy_from_slice(certificate?.as_bytes()),
            password: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::Mechanism::{Amqplain, External, Plain};
    use super::{Bytes, Mechanism, read};

    fn user(mechanism: Mechanism, response: &'static [u8], certificate: Option<&str>) -> Option<String> {
        let credentials = read(mechanism, &Bytes::from_static(response), certificate)?;
        let password = credentials.password.unwrap_or_default();
        Some(format!(
            "{}/{}",
            String::from_utf8_lossy(&credentials.user),
            String::from_utf8_lossy(&password)
        ))
    }

    #[test]
    fn each_mechanism_has_its_own_form() {
        assert_eq!(user(Plain, b"\0ann\0secret", None).as_deref(), Some("ann/secret"));
        assert_eq!(user(Plain, b"\0ann\0", None).as_deref(), Some("ann/"));
        let table = b"\x05LOGINS\0\0\0\x03ann\x08PASSWORDS\0\0\0\x06secret";
        assert_eq!(user(Amqplain, table, None).as_deref(), Some("ann/secret"));
        assert_eq!(user(External, b"", Some("ann")).as_deref(), Some("ann/"));
    }

    #[test]
    fn what_has_not_this_form_is_no_response() {
        for response in [
            b"ann".as_slice(),
            b"ann\0ann\0secret",
            b"\0ann",
            b"\0ann\0a\0b",
            b"",
        ] {
            assert_eq!(user(Plain, response, None), None, "{response:?}");
        }
        assert_eq!(user(Amqplain, b"\x05LOGINS\0\0\0\x03ann", None), None);
        assert_eq!(user(Amqplain, b"\xff\xff", None), None);
        assert_eq!(
            user(External, b"ann", None),
            None,
            "only a certificate says who he is"
        );
    }
}
