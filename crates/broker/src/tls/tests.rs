use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ClientConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    fn issue(&self, name: &str) -> (CertificateDer<'static>, KeyPair) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, "Warren");
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.der().clone(), key)
    }

    /// A client that trusts it.
    pub(crate) fn client(&self, own: Option<(Vec<CertificateDer<'static>>, KeyPair)>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let key = PrivatePkcs8KeyDer::from(key.serialize_der());
                builder.with_client_auth_cert(chain, key.into()).unwrap()
            }
        };
        TlsConnector::from(Arc::new(config))
    }

    /// A server of that name.
    pub(crate) fn server(&self, name: &str) -> Arc<ServerConfig> {
        let directory = tempfile::tempdir().unwrap();
        let file = self.file(directory.path(), name);
        load(&plan(vec![file], ClientCertificates::None), None).unwrap()
    }

    /// Certificate and key in one file.
    fn file(&self, directory: &Path, name: &str) -> PathBuf {
        let (certificate, key) = self.issue(name);
        let encoded = pem(&certificate);
        let path = directory.join(format!("{name}.pem"));
        std::fs::write(&path, encoded + &key.serialize_pem()).unwrap();
        path
    }
}

fn pem(certificate: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

fn plan(certificates: Vec<PathBuf>, clients: ClientCertificates) -> Tls {
    Tls {
        certificates,
        key: None,
        clients,
        min_version: TlsVersion::V1_2,
    }
}

/// Shakes hands: what the server knows of the client, and the certificate that the client was shown.
async fn handshake(
    server: Arc<ServerConfig>,
    authority: &Authority,
    name: &'static str,
    own: Option<(Vec<CertificateDer<'static>>, KeyPair)>,
) -> io::Result<(TlsFacts, String)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let stream = TcpStream::connect(listener.local_addr()?).await?;
    let accepting = tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        let stream = TlsAcceptor::from(server).accept(stream).await?;
        Ok::<_, io::Error>(facts(stream.get_ref().1, CertificateName::Distinguished))
    });
    let name = ServerName::try_from(name).unwrap();
    let stream = authority.client(own).connect(name, stream).await?;
    let shown = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(<[_]>::first)
        .unwrap();
    let shown = name_in(shown, CertificateName::Distinguished).unwrap();
    Ok((accepting.await.unwrap()?, shown))
}

#[tokio::test]
async fn a_client_gets_the_certificate_of_the_name_it_asks_for() {
    let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let names = ["one.test", "two.test"];
    let files = names.map(|name| authority.file(directory.path(), name));
    let config = load(&plan(files.to_vec(), ClientCertificates::None), None).unwrap();
    for name in names {
        let (facts, shown) = handshake(Arc::clone(&config), &authority, name, None)
            .await
            .unwrap();
        assert!(shown.contains(&format!("CN={name}")), "{shown}");
        assert_eq!(facts.protocol, "tlsv1.3");
        assert!(
            facts.cipher.starts_with("aes_") || facts.cipher.starts_with("chacha20"),
            "{facts:?}"
        );
        assert_eq!(facts.subject, None);
    }
    let whole = load(
        &plan(vec![directory.path().into()], ClientCertificates::None),
        Some(&config),
    );
    assert!(
        handshake(whole.unwrap(), &authority, "two.test", None)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_client_is_known_by_the_subject_of_its_certificate() {
    let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let server = authority.file(directory.path(), "one.test");
    let ca = directory.path().join("ca");
    std::fs::write(&ca, &authority.pem).unwrap();
    let config = load(&plan(vec![server], ClientCertificates::Required(ca)), None).unwrap();
    let (own, key) = authority.issue("client");
    let mut chain = vec![own];
    let (facts, _) = handshake(
        Arc::clone(&config),
        &authority,
        "one.test",
        Some((chain.clone(), key)),
    )
    .await
    .unwrap();
    let subject = facts.subject.unwrap();
    assert!(
        subject.contains("CN=client") && subject.contains("O=Warren"),
        "{subject}"
    );
    let (other, key) = Authority::new().issue("client");
    assert!(
        handshake(
            Arc::clone(&config),
            &authority,
            "one.test",
            Some((vec![other], key))
        )
        .await
        .is_err()
    );
    let (own, key) = authority.issue("client");
    chain.insert(0, own);
    chain.extend((0..6).map(|_| authority.issue("another").0));
    let error = handshake(config, &authority, "one.test", Some((chain, key)))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("7 certificates came with it"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_used_is_named() {
    let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let keyless = directory.path().join("keyless.pem");
    std::fs::write(&keyless, &authority.pem).unwrap();
    for (file, expected) in [
        (directory.path().join("absent.pem"), "absent.pem cannot be used"),
        (keyless, "there is no private key in"),
    ] {
        let error = load(&plan(vec![file], ClientCertificates::None), None)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn ciphers_have_the_names_that_rabbitmq_shows() {
    assert_eq!(cipher("TLS13_AES_256_GCM_SHA384"), "aes_256_gcm");
    assert_eq!(cipher("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), "aes_128_gcm");
    assert_eq!(cipher("TLS13_CHACHA20_POLY1305_SHA256"), "chacha20_poly1305");
}

fn name_in(certificate: &[u8], name: CertificateName) -> Option<String> {
    name.of(&Certificate::from_der(certificate).unwrap())
}

#[test]
fn the_user_of_a_certificate_is_named_in_the_place_that_was_chosen() {
    use rcgen::SanType::{DnsName, Rfc822Name, URI};
    use rcgen::string::Ia5String;

    let text = |text: &str| Ia5String::try_from(text).unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names = vec![
        Rfc822Name(text("ann@example.org")),
        DnsName(text("ann.example.org")),
        DnsName(text("other.example.org")),
        URI(text("spiffe://example.org/ann")),
    ];
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CountryName, "DE");
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Warren, Inc");
    params.distinguished_name.push(DnType::CommonName, "ann");
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let names = CertificateName::ALL.map(|(_, name)| name_in(certificate.der(), name).unwrap());
    assert_eq!(
        names,
        [
            // As RabbitMQ 3.10 has it.
            "CN=ann,O=Warren\\, Inc,C=DE",
            "ann",
            "ann.example.org",
            "ann@example.org",
            "spiffe://example.org/ann",
        ]
    );
    let bare = CertificateParams::new(Vec::new())
        .unwrap()
        .self_signed(&key)
        .unwrap();
    assert_eq!(name_in(bare.der(), CertificateName::Dns), None);
}
