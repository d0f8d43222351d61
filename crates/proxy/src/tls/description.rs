//! A certificate in the words of HAProxy's `show ssl cert FILE`, which are OpenSSL's.

use std::fmt::Write as _;

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::{Any, ObjectIdentifier};
use x509_cert::name::Name;
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use x509_cert::time::Time;

use super::x509;

/// What names are made of, as OpenSSL abbreviates it.
const ATTRIBUTES: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ELLIPTIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Bits of keys on the curves that rustls knows.
const CURVES: [(&str, u32); 3] = [
    ("1.2.840.10045.3.1.7", 256),
    ("1.3.132.0.34", 384),
    ("1.3.132.0.35", 521),
];

/// A line for everything that is known of a certificate and of those that vouch for it; `None` if it is none.
pub(super) fn describe(certificate: &CertificateDer<'_>, chain: &[CertificateDer<'_>]) -> Option<String> {
    let parsed = Certificate::from_der(certificate).ok()?;
    let body = parsed.tbs_certificate();
    let mut text = String::new();
    let serial = body.serial_number().as_bytes();
    let _ = writeln!(
        text,
        "Serial: {}",
        hexadecimal(serial.strip_prefix(&[0]).unwrap_or(serial))
    );
    let _ = writeln!(text, "notBefore: {}", moment(body.validity().not_before));
    let _ = writeln!(text, "notAfter: {}", moment(body.validity().not_after));
    let names: Vec<_> = x509::alternative_names(&parsed)
        .unwrap_or_default()
        .iter()
        .map(|name| format!("DNS:{name}"))
        .collect();
    let _ = writeln!(text, "Subject Alternative Name: {}", names.join(", "));
    let _ = writeln!(text, "Algorithm: {}", algorithm(body.subject_public_key_info()));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, certificate);
    let _ = writeln!(text, "SHA1 FingerPrint: {}", hexadecimal(digest.as_ref()));
    let _ = writeln!(text, "Subject: {}", one_line(body.subject()));
    let _ = writeln!(text, "Issuer: {}", one_line(body.issuer()));
    for other in chain {
        let other = Certificate::from_der(other).ok()?;
        let other = other.tbs_certificate();
        let _ = writeln!(text, "Chain Subject: {}", one_line(other.subject()));
        let _ = writeln!(text, "Chain Issuer: {}", one_line(other.issuer()));
    }
    text.push_str("OCSP Response Key: \n");
    Some(text)
}

/// `Dec 21 17:52:00 2026 GMT`
fn moment(time: Time) -> String {
    let moment = jiff::Timestamp::try_from(time.to_system_time()).unwrap_or_default();
    moment.strftime("%b %e %H:%M:%S %Y GMT").to_string()
}

/// `RSA2048`, `EC256`.
fn algorithm(key: &SubjectPublicKeyInfoOwned) -> String {
    match key.algorithm.oid {
        RSA => format!("RSA{}", modulus_bits(key).unwrap_or(0)),
        ELLIPTIC => {
            let curve = key.algorithm.parameters.as_ref();
            let curve = curve.and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
            let known = CURVES
                .iter()
                .find(|(oid, _)| curve.is_some_and(|curve| curve.to_string() == *oid));
            known.map_or_else(|| "EC".to_owned(), |(_, bits)| format!("EC{bits}"))
        }
        ED25519 => "ED25519".to_owned(),
        other => other.to_string(),
    }
}

/// Of the first of both numbers of an RSA key (RFC 8017 A.1.1).
fn modulus_bits(key: &SubjectPublicKeyInfoOwned) -> Option<usize> {
    let numbers = Vec::<Any>::from_der(key.subject_public_key.raw_bytes()).ok()?;
    let modulus = numbers.first()?.value();
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let unused = modulus.first()?.leading_zeros() as usize;
    Some(modulus.len() * 8 - unused)
}

/// `/C=CN/O=Org/CN=a.example`
fn one_line(name: &Name) -> String {
    let mut line = String::new();
    for pair in name.iter() {
        let oid = pair.oid.to_string();
        let known = ATTRIBUTES.iter().find(|(known, _)| *known == oid);
        let _ = write!(
            line,
            "/{}={}",
            known.map_or(oid.as_str(), |(_, short)| short),
            x509::text(&pair.value)
        );
    }
    line
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02X}");
        text
    })
}
