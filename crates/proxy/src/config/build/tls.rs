//! TLS with clients and servers: what is read from files is read by those who use it.

use std::sync::Arc;

use toml::Spanned;
use warren_kit::config::Report;

use crate::config::file::{BindTls as File, ServerTlsTable, ServerTlsUse};
use crate::plan::{BindTls, ClientCertificates, HostAddress, ServerTls, TlsVersion, Verify};

pub(super) fn of_bind<T>(report: &mut Report, at: &Spanned<T>, file: &File) -> BindTls {
    const VERSIONS: [(&str, TlsVersion); 2] = [("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];
    if file.certificates.is_empty() {
        report.error(
            at.span(),
            "TLS without a certificate",
            "name a PEM file with certificate and key, or a directory of such",
        );
    }
    BindTls {
        certificates: file
            .certificates
            .iter()
            .map(|file| file.get_ref().clone())
            .collect(),
        clients: clients(report, at, file),
        alpn: file.alpn.clone(),
        min_version: file
            .min_version
            .as_ref()
            .and_then(|version| report.choice("version of TLS", version.span(), version.get_ref(), &VERSIONS))
            .unwrap_or_default(),
        strict_sni: file.strict_sni,
    }
}

fn clients<T>(report: &mut Report, at: &Spanned<T>, file: &File) -> ClientCertificates {
    const WISHES: [(&str, u8); 3] = [("none", 0), ("optional", 1), ("required", 2)];
    let wish = file
        .clients
        .as_ref()
        .and_then(|word| {
            report.choice(
                "wish for client certificates",
                word.span(),
                word.get_ref(),
                &WISHES,
            )
        })
        .unwrap_or(0);
    match (wish, &file.client_ca) {
        (0, _) => ClientCertificates::None,
        (1, Some(ca)) => ClientCertificates::Optional(ca.get_ref().clone()),
        (_, Some(ca)) => ClientCertificates::Required(ca.get_ref().clone()),
        (_, None) => {
            report.error(
                file.clients.as_ref().map_or_else(|| at.span(), Spanned::span),
                "client certificates that nobody has to have signed",
                "name the file of the authority (`ca-file`, `client_ca`)",
            );
            ClientCertificates::None
        }
    }
}

/// `None` if no TLS is spoken. A server found by name is expected to show that name.
pub(super) fn of_server(
    file: Option<&Spanned<ServerTlsUse>>,
    address: &HostAddress,
) -> Option<Arc<ServerTls>> {
    let table = match file?.get_ref() {
        ServerTlsUse::Switch(false) => return None,
        ServerTlsUse::Switch(true) => &ServerTlsTable::default(),
        ServerTlsUse::Table(table) => table,
    };
    let verify = match (table.verify, &table.ca) {
        (Some(false), _) => Verify::None,
        (_, Some(ca)) => Verify::Required(ca.get_ref().clone()),
        (_, None) => Verify::System,
    };
    let host = match address {
        HostAddress::Name(name, _) => Some(name.clone()),
        HostAddress::Ip(_) | HostAddress::Unix(_) => None,
    };
    Some(Arc::new(ServerTls {
        verify,
        sni: match table.sni.as_deref() {
            Some("") => None,
            Some(name) => Some(name.to_owned()),
            None => host,
        },
        verify_host: table.verify_host.clone(),
        alpn: table.alpn.clone(),
        certificate: table.certificate.as_ref().map(|file| file.get_ref().clone()),
    }))
}
