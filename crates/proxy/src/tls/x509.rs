//! The little of a certificate that is needed besides verifying it: for which hosts, for whom, until when. Pure.
//!
//! Trust is rustls's business: nothing is believed because it stands here. Read leniently are texts, as OpenSSL reads them
//! and as certificates of private authorities need it: a name may use characters that its kind of string does not have.

use std::time::SystemTime;

use x509_cert::Certificate;
use x509_cert::attr::AttributeValue;
use x509_cert::der::asn1::{Any, BmpString, ObjectIdentifier};
use x509_cert::der::{Class, Decode as _, Error, Tag, TagNumber, Tagged as _};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

const ALTERNATIVE_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");

/// `dNSName` of a GeneralName (RFC 5280, 4.2.1.6).
const DNS_NAME: TagNumber = TagNumber(2);

/// A certificate's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    /// Hosts, in small letters: subject alternative names, and the common names.
    pub(super) names: Vec<String>,
    /// The first, as HAProxy tells it to servers.
    pub(super) common_name: Option<String>,
    pub(super) not_after: SystemTime,
}

/// The subject's common name.
pub(crate) fn common_name(certificate: &[u8]) -> Option<String> {
    fields(certificate).ok()?.common_name
}

/// # Errors
/// Not a certificate: what was expected, and where.
pub(super) fn fields(certificate: &[u8]) -> Result<Fields, Error> {
    let certificate = Certificate::from_der(certificate)?;
    let body = certificate.tbs_certificate();
    let mut names = alternative_names(&certificate)?;
    let pairs = body.subject().iter();
    let common_names = pairs.filter(|pair| pair.oid == COMMON_NAME);
    let common_names: Vec<String> = common_names.map(|pair| text(&pair.value)).collect();
    for name in &common_names {
        let name = name.to_ascii_lowercase();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(Fields {
        names,
        common_name: common_names.into_iter().next(),
        not_after: body.validity().not_after.to_system_time(),
    })
}

/// The hosts among the alternative names. Other kinds need not be understood.
pub(super) fn alternative_names(certificate: &Certificate) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    let extensions = certificate.tbs_certificate().extensions();
    for extension in extensions.into_iter().flatten() {
        if extension.extn_id != ALTERNATIVE_NAME {
            continue;
        }
        for name in Vec::<Any>::from_der(extension.extn_value.as_bytes())? {
            if name.tag().class() == Class::ContextSpecific && name.tag().number() == DNS_NAME {
                names.push(String::from_utf8_lossy(name.value()).to_ascii_lowercase());
            }
        }
    }
    Ok(names)
}

pub(super) fn text(value: &AttributeValue) -> String {
    match value.tag() {
        Tag::BmpString => value.decode_as::<BmpString>().map(|text| text.to_string()),
        _ => Ok(String::from_utf8_lossy(value.value()).into_owned()),
    }
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Authority;

    #[test]
    fn names_are_found_in_small_letters_and_the_common_name_as_it_is() {
        let authority = Authority::new("test authority");
        let (certificate, _) = authority.issue("Alice", &["A.example", "*.b.example"], 90);
        let fields = fields(&certificate).unwrap();
        assert_eq!(fields.names, ["a.example", "*.b.example", "alice"]);
        assert_eq!(fields.common_name.as_deref(), Some("Alice"));
    }

    /// From 2050 on it is a GeneralizedTime.
    #[test]
    fn the_end_is_found_in_both_kinds_of_time() {
        let authority = Authority::new("test authority");
        let now = warren_kit::clock::wall_clock();
        for days in [90, 20_000] {
            let (certificate, _) = authority.issue("Alice", &["a.example"], days);
            let left = fields(&certificate)
                .unwrap()
                .not_after
                .duration_since(now)
                .unwrap();
            let found = left.as_secs_f64() / 86400.0;
            assert!((found - f64::from(days)).abs() < 0.1, "{found} of {days}");
        }
    }

    #[test]
    fn a_common_name_is_read_whatever_kind_of_string_it_is() {
        const UTF8: u8 = 0x0c;
        let (certificate, _) = Authority::new("test authority").issue("Alice.example", &["a.example"], 90);
        let place = memchr::memmem::find(&certificate, b"Alice.example").unwrap() - 2;
        assert_eq!(certificate[place], UTF8);
        let with = |kind: u8, value: &[u8; 13]| {
            let mut octets = certificate.to_vec();
            octets[place] = kind;
            octets[place + 2..place + 15].copy_from_slice(value);
            common_name(&octets)
        };
        let printable = u8::try_from(Tag::PrintableString.number().value()).unwrap();
        assert_eq!(
            with(printable, b"*.al_ce.examp").as_deref(),
            Some("*.al_ce.examp")
        );
        let teletex = u8::try_from(Tag::TeletexString.number().value()).unwrap();
        assert_eq!(
            with(teletex, b"Alic\xe9.example").as_deref(),
            Some("Alic\u{fffd}.example")
        );
    }

    #[test]
    fn what_is_none_is_refused_with_the_reason() {
        let (certificate, _) = Authority::new("test authority").issue("Alice", &["a.example"], 90);
        let refused = |octets: &[u8]| fields(octets).unwrap_err().to_string();
        assert_eq!(
            refused(b"\x04\x01x"),
            "unexpected ASN.1 DER tag: expected SEQUENCE, got OCTET STRING"
        );
        let cut = refused(&certificate[..100]);
        assert!(cut.contains("DER message is incomplete"), "{cut}");
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(mut changes in proptest::collection::vec((0usize..700, proptest::prelude::any::<u8>()), 0..6)) {
            use std::sync::OnceLock;
            static CERTIFICATE: OnceLock<Vec<u8>> = OnceLock::new();
            let mut octets = CERTIFICATE
                .get_or_init(|| Authority::new("x").issue("Alice", &["a.example"], 90).0.to_vec())
                .clone();
            for (place, octet) in changes.drain(..) {
                if let Some(old) = octets.get_mut(place) {
                    *old = octet;
                }
            }
            let _ = fields(&octets);
            let _ = fields(octets.get(..octets.len() / 2).unwrap_or_default());
        }
    }
}
