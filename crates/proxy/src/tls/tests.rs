use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use warren_kit::clock;

use super::*;
use crate::plan::{BindTls, ClientCertificates, ServerTls, TlsVersion, Verify};

/// Signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for these hosts, and its key.
    pub(crate) fn issue(
        &self,
        common_name: &str,
        hosts: &[&str],
        days: i32,
    ) -> (CertificateDer<'static>, KeyPair) {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        let now = clock::wall_clock();
        let day = Duration::from_secs(86400);
        let end = if days < 0 {
            now - day * days.unsigned_abs()
        } else {
            now + day * days.unsigned_abs()
        };
        params.not_before = (now - 400 * day).into();
        params.not_after = end.into();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.der().clone(), key)
    }

    /// The same as one PEM file.
    pub(crate) fn write(&self, path: &Path, common_name: &str, hosts: &[&str], days: i32) {
        let (certificate, key) = self.issue(common_name, hosts, days);
        write(path, &[pem(&certificate), key.serialize_pem()].concat());
    }
}

fn pem(certificate: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

fn write(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// What a client of rustls says first.
pub(crate) fn test_hello(name: &str, alpn: &[&[u8]]) -> Vec<u8> {
    let mut config = client_config(rustls::RootCertStore::empty());
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

fn client_config(roots: rustls::RootCertStore) -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

pub(crate) fn bind_tls(certificates: &[&Path]) -> BindTls {
    BindTls {
        certificates: certificates.iter().map(|path| path.to_path_buf()).collect(),
        clients: ClientCertificates::None,
        alpn: Vec::new(),
        min_version: TlsVersion::V1_2,
        strict_sni: false,
    }
}

pub(crate) fn server_tls(verify: Verify) -> ServerTls {
    ServerTls {
        verify,
        sni: None,
        verify_host: None,
        alpn: Vec::new(),
        certificate: None,
    }
}

/// A directory with a server's certificate and its authority's.
pub(crate) struct Files {
    directory: tempfile::TempDir,
    pub(crate) authority: Authority,
}

impl Files {
    pub(crate) fn new() -> Self {
        let files = Self {
            directory: tempfile::tempdir().unwrap(),
            authority: Authority::new("authority"),
        };
        files
            .authority
            .write(&files.path("server.pem"), "a.example", &["a.example"], 90);
        fs::write(files.path("ca.pem"), files.authority.pem()).unwrap();
        files
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn acceptor(&self, change: impl FnOnce(&mut BindTls)) -> Acceptor {
        let mut bind = bind_tls(&[Path::new(&self.path("server.pem"))]);
        change(&mut bind);
        Acceptor::load(&bind).unwrap()
    }

    /// Of rustls.
    pub(crate) fn server(&self) -> rustls::ServerConfig {
        let (certificate, key) = self.authority.issue("a.example", &["a.example"], 90);
        server_config(certificate, &key)
    }

    /// Of rustls; trusts the authority.
    pub(crate) fn client(&self) -> rustls::ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        let pem = self.authority.pem().as_bytes();
        roots
            .add(rustls::pki_types::pem::PemObject::from_pem_slice(pem).unwrap())
            .unwrap();
        client_config(roots)
    }
}

fn load(path: &Path) -> Result<Acceptor, String> {
    Acceptor::load(&bind_tls(&[path])).map_err(|error| error.to_string())
}

struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// The first name in the certificate that this acceptor shows to who asks for this host.
fn shown(acceptor: &Acceptor, host: &str) -> Result<String, rustls::Error> {
    let mut server = acceptor.connection().unwrap();
    let mut config = client_config(rustls::RootCertStore::empty());
    let seen = Arc::new(parking_lot::Mutex::new(None));
    config
        .dangerous()
        .set_certificate_verifier(Arc::new(Collecting(Arc::clone(&seen))));
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    let mut answer = Vec::new();
    let mut begin = 0;
    loop {
        let status = server.process_tls_records(&mut hello[begin..]);
        begin += status.discard;
        match status.state? {
            rustls::unbuffered::ConnectionState::EncodeTlsData(mut data) => {
                let mut octets = vec![0; 20_000];
                let count = data.encode(&mut octets).unwrap();
                answer.extend_from_slice(&octets[..count]);
            }
            rustls::unbuffered::ConnectionState::TransmitTlsData(data) => data.done(),
            _ => break,
        }
    }
    let mut answer = answer.as_slice();
    while !answer.is_empty() {
        client.read_tls(&mut answer).unwrap();
        let _refused = client.process_new_packets();
    }
    let leaf = seen.lock().take().unwrap();
    Ok(x509::fields(&leaf).unwrap().names.remove(0))
}

/// Remembers the certificate and trusts nobody.
#[derive(Debug)]
struct Collecting(Arc<parking_lot::Mutex<Option<Vec<u8>>>>);

impl rustls::client::danger::ServerCertVerifier for Collecting {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        *self.0.lock() = Some(end_entity.to_vec());
        Err(rustls::Error::General("seen".into()))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("never".into()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("never".into()))
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

#[test]
fn a_file_is_read_in_whatever_order_it_is() {
    let (directory, authority) = (Directory::new(), Authority::new("authority"));
    let (certificate, key) = authority.issue("a", &["a.example"], 90);
    let (leaf, chain, key) = (pem(&certificate), authority.pem(), key.serialize_pem());
    for (place, parts) in [[&leaf, chain, &key], [&key, chain, &leaf], [chain, &key, &leaf]]
        .iter()
        .enumerate()
    {
        let path = directory.path(&format!("{place}.pem"));
        write(&path, &parts.concat());
        let acceptor = load(&path).unwrap();
        assert_eq!(acceptor.certificates()[0].names[0], "a.example");
        assert_eq!(shown(&acceptor, "a.example").unwrap(), "a.example");
    }
}

/// Keys as OpenSSL writes them in its three ways.
#[test]
fn every_kind_of_key_is_read() {
    let directory = Directory::new();
    let openssl = |arguments: &str| {
        let status = std::process::Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(directory.0.path())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{arguments}");
    };
    openssl("genrsa -traditional -out pkcs1 2048");
    openssl("genpkey -algorithm RSA -out pkcs8 -pkeyopt rsa_keygen_bits:2048");
    openssl("ecparam -name prime256v1 -genkey -noout -out sec1");
    openssl("genpkey -algorithm ED25519 -out ed25519");
    for (kind, begins) in [
        ("pkcs1", "-----BEGIN RSA PRIVATE KEY"),
        ("pkcs8", "-----BEGIN PRIVATE KEY"),
        ("sec1", "-----BEGIN EC PRIVATE KEY"),
        ("ed25519", "-----BEGIN PRIVATE KEY"),
    ] {
        openssl(&format!(
            "req -new -x509 -key {kind} -subj /CN={kind}.example -days 90 -out {kind}.crt"
        ));
        let key = fs::read_to_string(directory.path(kind)).unwrap();
        assert!(key.starts_with(begins), "{kind}: {key}");
        let path = directory.path("all.pem");
        write(
            &path,
            &[
                &fs::read_to_string(directory.path(&format!("{kind}.crt"))).unwrap(),
                key.as_str(),
            ]
            .concat(),
        );
        let acceptor = load(&path).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(acceptor.certificates()[0].names, [format!("{kind}.example")]);
    }
    openssl("genpkey -algorithm RSA -aes128 -pass pass:x -out secret -pkeyopt rsa_keygen_bits:2048");
    let path = directory.path("all.pem");
    let certificate = fs::read_to_string(directory.path("pkcs8.crt")).unwrap();
    write(
        &path,
        &[certificate, fs::read_to_string(directory.path("secret")).unwrap()].concat(),
    );
    let error = load(&path).unwrap_err();
    assert!(error.contains("is encrypted: take the password off"), "{error}");
}

#[test]
fn what_is_missing_is_named_with_the_file() {
    let (directory, authority) = (Directory::new(), Authority::new("authority"));
    let (certificate, key) = authority.issue("a", &["a.example"], 90);
    let (_, other) = authority.issue("b", &["b.example"], 90);
    let path = directory.path("x.pem");
    let error = |content: &str| {
        write(&path, content);
        let error = load(&path).unwrap_err();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        error
    };
    let certificate = pem(&certificate);
    assert!(error(&key.serialize_pem()).starts_with("there is no certificate in "));
    assert!(error(&certificate).starts_with("there is no private key in "));
    assert!(error(&[certificate.as_str(), &other.serialize_pem()].concat()).contains("belongs to none"));
    assert!(error("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").contains("is no PEM file"));
    let garbage = pem(b"garbage");
    assert!(error(&[garbage.as_str(), &key.serialize_pem()].concat()).contains("a certificate in "));
    fs::remove_file(&path).unwrap();
    let error = load(&path).unwrap_err();
    assert!(error.contains("cannot be read: No such file"), "{error}");
    let error = Acceptor::load(&bind_tls(&[])).unwrap_err().to_string();
    assert!(error.contains("crt FILE is missing"), "{error}");
}

#[test]
fn a_key_may_be_beside_its_certificate() {
    let (directory, authority) = (Directory::new(), Authority::new("authority"));
    let (certificate, key) = authority.issue("a", &["a.example"], 90);
    write(&directory.path("x.pem"), &pem(&certificate));
    write(&directory.path("x.pem.key"), &key.serialize_pem());
    assert!(load(&directory.path("x.pem")).is_ok());
    assert!(load(directory.0.path()).is_ok());
}

#[test]
fn clients_get_the_certificate_for_the_host_they_ask_for() {
    let (directory, authority) = (Directory::new(), Authority::new("authority"));
    authority.write(&directory.path("1.pem"), "first", &["first.example"], 90);
    authority.write(&directory.path("2.pem"), "wild", &["*.wild.example"], 90);
    authority.write(&directory.path("3.pem"), "plain", &["plain.wild.example"], 90);
    write(&directory.path(".hidden"), "nothing");
    write(&directory.path("1.pem.ocsp"), "nothing");
    let mut bind = bind_tls(&[directory.0.path()]);
    let acceptor = Acceptor::load(&bind).unwrap();
    assert_eq!(acceptor.certificates().len(), 3);
    for (host, name) in [
        ("first.example", "first.example"),
        ("FIRST.example", "first.example"),
        ("a.wild.example", "*.wild.example"),
        ("plain.wild.example", "plain.wild.example"),
        ("a.b.wild.example", "first.example"),
        ("wild.example", "first.example"),
        ("unknown.example", "first.example"),
    ] {
        assert_eq!(shown(&acceptor, host).unwrap(), name, "{host}");
    }
    bind.strict_sni = true;
    let strict = Acceptor::load(&bind).unwrap();
    assert_eq!(shown(&strict, "a.wild.example").unwrap(), "*.wild.example");
    assert!(shown(&strict, "unknown.example").is_err());
}

#[test]
fn an_empty_directory_is_an_error() {
    let directory = Directory::new();
    let error = load(directory.0.path()).unwrap_err();
    assert!(
        error.starts_with("there is no certificate in the directory "),
        "{error}"
    );
}

#[test]
fn operators_are_warned_of_ends_and_of_keys_that_everybody_may_read() {
    let (directory, authority) = (Directory::new(), Authority::new("authority"));
    let now = clock::wall_clock();
    let warnings = |days| {
        let path = directory.path("x.pem");
        authority.write(&path, "a", &["a.example"], days);
        load(&path).unwrap().warnings(now)
    };
    assert_eq!(warnings(31), Vec::<String>::new());
    assert!(warnings(29)[0].contains("expires in 28 days") || warnings(29)[0].contains("expires in 29 days"));
    assert!(warnings(-1)[0].contains("has expired"));
    authority.write(&directory.path("y.pem"), "a", &["a.example"], 90);
    fs::set_permissions(directory.path("y.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let warnings = load(&directory.path("y.pem")).unwrap().warnings(now);
    assert!(
        warnings[0].starts_with("everybody on this host may read the private key"),
        "{warnings:?}"
    );
}

#[test]
fn renewed_files_are_loaded_and_bad_ones_change_nothing() {
    let (directory, authority) = (Directory::new(), Authority::new("authority"));
    let path = directory.path("x.pem");
    authority.write(&path, "a", &["a.example"], 90);
    let mut watched = Watched::load(&Arc::new(bind_tls(&[&path])), None).unwrap();
    assert!(watched.look().is_none());
    // Renewals are moved into place.
    authority.write(&directory.path("new"), "b", &["b.example"], 90);
    fs::rename(directory.path("new"), &path).unwrap();
    let acceptor = watched.look().expect("it is seen").unwrap();
    assert_eq!(acceptor.certificates()[0].names[0], "b.example");
    assert!(watched.look().is_none());
    write(&directory.path("new"), "garbage");
    fs::rename(directory.path("new"), &path).unwrap();
    assert!(matches!(
        watched.look(),
        Some(Err(TlsError::NoCertificate { .. }))
    ));
    assert!(watched.look().is_none(), "said once");
    assert_eq!(watched.made().certificates()[0].names[0], "b.example");
}

#[test]
fn all_that_a_plan_needs_is_read_at_once_and_warned_of_once_a_day() {
    let (directory, authority) = (Directory::new(), Authority::new("authority"));
    let path = directory.path("x.pem");
    authority.write(&path, "a", &["a.example"], 10);
    let with = |certificate: &Path| {
        let mut plan = crate::plan::testing::plan(&["127.0.0.1:1".parse().unwrap()]);
        Arc::get_mut(&mut plan.frontends[0]).unwrap().binds[0].tls = Some(Arc::new(bind_tls(&[&path])));
        let backend = Arc::get_mut(&mut plan.backends[0]).unwrap();
        let mut tls = server_tls(Verify::None);
        tls.certificate = Some(certificate.into());
        Arc::get_mut(&mut backend.servers[0]).unwrap().tls = Some(Arc::new(tls));
        plan
    };
    let plan = with(&path);
    let mut keyring = Keyring::load(&plan, None).unwrap();
    let bind = plan.frontends[0].binds[0].tls.as_ref().unwrap();
    assert_eq!(keyring.acceptor(bind).unwrap().certificates().len(), 1);
    let live = crate::live::Live::new(Arc::new(plan));
    keyring.equip(&live.snapshot());
    let servers = live.snapshot().backends[0].servers();
    assert!(servers[0].connector.load().is_some());
    let now = clock::wall_clock();
    let hour = Duration::from_secs(3600);
    assert_eq!(keyring.warnings_of_the_day(now).len(), 1, "one file, one warning");
    assert_eq!(keyring.warnings_of_the_day(now + 23 * hour).len(), 0);
    assert_eq!(keyring.warnings_of_the_day(now + 24 * hour).len(), 1);
    let error = Keyring::load(&with(Path::new("/nowhere")), None)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("server back/server1: /nowhere cannot be read"),
        "{error}"
    );
}

#[test]
fn what_servers_are_shown_and_whom_they_are_trusted_by_is_renewed_too() {
    let (directory, authority) = (Directory::new(), Authority::new("authority"));
    let [certificate, trusted] = ["x.pem", "ca.pem"].map(|name| directory.path(name));
    authority.write(&certificate, "a", &["a.example"], 5);
    write(&trusted, authority.pem());
    let mut plan = crate::plan::testing::plan(&["127.0.0.1:1".parse().unwrap()]);
    let mut tls = server_tls(Verify::Required(trusted.clone()));
    tls.certificate = Some(certificate.clone());
    let backend = Arc::get_mut(&mut plan.backends[0]).unwrap();
    Arc::get_mut(&mut backend.servers[0]).unwrap().tls = Some(Arc::new(tls));
    let mut keyring = Keyring::load(&plan, None).unwrap();
    let live = crate::live::Live::new(Arc::new(plan));
    let servers = live.snapshot().backends[0].servers();
    let connector = |keyring: &Keyring| {
        keyring.equip(&live.snapshot());
        servers[0].connector.load_full().unwrap()
    };
    let (now, first) = (clock::wall_clock(), connector(&keyring));
    assert_eq!(keyring.warnings(now).len(), 1);
    assert!(keyring.look().is_empty());
    authority.write(&directory.path("new"), "a", &["a.example"], 90);
    fs::rename(directory.path("new"), &certificate).unwrap();
    assert!(matches!(keyring.look()[..], [Ok(())]));
    assert_eq!(keyring.warnings(now).len(), 0, "it lasts longer now");
    let second = connector(&keyring);
    assert!(!Arc::ptr_eq(&first, &second));
    write(&trusted, "garbage");
    assert!(matches!(keyring.look()[..], [Err(_)]));
    assert!(Arc::ptr_eq(&connector(&keyring), &second));
    write(&trusted, Authority::new("another").pem());
    assert!(matches!(keyring.look()[..], [Ok(())]));
    assert!(!Arc::ptr_eq(&connector(&keyring), &second));
}

#[test]
fn a_new_file_in_a_directory_is_seen() {
    let (directory, authority) = (Directory::new(), Authority::new("authority"));
    authority.write(&directory.path("a.pem"), "a", &["a.example"], 90);
    let mut watched = Watched::load(&Arc::new(bind_tls(&[directory.0.path()])), None).unwrap();
    authority.write(&directory.path("b.pem"), "b", &["b.example"], 90);
    assert!(matches!(watched.look(), Some(Ok(acceptor)) if acceptor.certificates().len() == 2));
    fs::remove_file(directory.path("a.pem")).unwrap();
    assert!(matches!(watched.look(), Some(Ok(acceptor)) if acceptor.certificates().len() == 1));
}

fn server_config(certificate: CertificateDer<'static>, key: &KeyPair) -> rustls::ServerConfig {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    rustls::ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap()
}

/// A server of rustls with this certificate on a port of its own, which ends every connection after a greeting.
fn greeter(certificate: CertificateDer<'static>, key: &KeyPair) -> std::net::SocketAddr {
    let config = server_config(certificate, key);
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(16) {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            if stream.write_all(b"hello").is_ok() {
                stream.conn.send_close_notify();
                let _ = stream.flush();
                // Until the client has left, so that it hears everything.
                let _ = stream.sock.read(&mut [0; 100]);
            }
        }
    });
    address
}

fn greeting(connector: &Connector, address: std::net::SocketAddr) -> Result<String, String> {
    let (config, name) = connector.client(Some(address.ip()));
    let connection = rustls::ClientConnection::new(config, name).unwrap();
    let stream = std::net::TcpStream::connect(address).unwrap();
    let mut stream = rustls::StreamOwned::new(connection, stream);
    let mut text = String::new();
    stream
        .read_to_string(&mut text)
        .map(|_| text)
        .map_err(|error| error.to_string())
}

#[test]
fn servers_are_trusted_as_configured() {
    let (directory, authority) = (Directory::new(), Authority::new("authority"));
    let (certificate, key) = authority.issue("a", &["a.example"], 90);
    let address = greeter(certificate, &key);
    let (ours, others) = (directory.path("ours"), directory.path("others"));
    write(&ours, authority.pem());
    write(&others, Authority::new("somebody else").pem());
    let try_with = |tls: &ServerTls| greeting(&Connector::load(tls).unwrap(), address);
    let verified = server_tls(Verify::Required(ours));
    let with = |sni: Option<&str>, verify_host: Option<&str>| ServerTls {
        sni: sni.map(str::to_owned),
        verify_host: verify_host.map(str::to_owned),
        ..verified.clone()
    };
    assert_eq!(try_with(&server_tls(Verify::None)).unwrap(), "hello");
    assert_eq!(try_with(&with(None, None)).unwrap(), "hello");
    assert_eq!(try_with(&with(Some("a.example"), None)).unwrap(), "hello");
    assert_eq!(try_with(&with(None, Some("a.example"))).unwrap(), "hello");
    assert_eq!(
        try_with(&with(Some("a.example"), Some("b.example"))).unwrap(),
        "hello"
    );
    for (tls, reason) in [
        (with(Some("b.example"), None), "not valid for"),
        (with(None, Some("b.example")), "not valid for"),
        (with(Some("b.example"), Some("a.example")), "not valid for"),
        (server_tls(Verify::Required(others)), "UnknownIssuer"),
    ] {
        let error = try_with(&tls).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn names_and_files_that_are_none_are_refused() {
    let tls = ServerTls {
        sni: Some("not a name".into()),
        ..server_tls(Verify::None)
    };
    let error = Connector::load(&tls).unwrap_err().to_string();
    assert_eq!(error, "\"not a name\" is no name of a host");
    assert!(Connector::load(&server_tls(Verify::Required("/nowhere".into()))).is_err());
}
