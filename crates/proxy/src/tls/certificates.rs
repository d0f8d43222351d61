//! PEM files: certificate, chain and key in one, in any order; directories of such files.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{CertificateInfo, FILE_MAX, TlsError, provider, x509};

/// Beside certificates, for other uses: not certificates themselves.
const OTHER_EXTENSIONS: [&str; 4] = ["issuer", "key", "ocsp", "sctl"];

/// Where distributions keep the authorities they trust.
pub(super) const SYSTEM_AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A certificate with its chain and key.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) info: CertificateInfo,
    /// Somebody else may read the key.
    pub(super) warning: Option<String>,
}

/// The files that these paths name: directories stand for what is in them, in the order of names.
pub(super) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, TlsError> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let read = |error| TlsError::Read {
            path: path.clone(),
            error,
        };
        let mut inside = Vec::new();
        for entry in fs::read_dir(path).map_err(read)? {
            let file = entry.map_err(read)?.path();
            if is_certificate_file(&file) {
                inside.push(file);
            }
        }
        if inside.is_empty() {
            return Err(TlsError::EmptyDirectory { path: path.clone() });
        }
        inside.sort();
        files.append(&mut inside);
    }
    Ok(files)
}

fn is_certificate_file(path: &Path) -> bool {
    let is_hidden = path
        .file_name()
        .is_none_or(|name| name.to_string_lossy().starts_with('.'));
    let extension = path.extension().map(|extension| extension.to_string_lossy());
    let is_other = extension.is_some_and(|extension| OTHER_EXTENSIONS.contains(&extension.as_ref()));
    !is_hidden && !is_other && path.is_file()
}

/// `x.pem.key`, where the key of `x.pem` may be.
pub(super) fn key_file(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".key");
    name.into()
}

/// Reads one file.
pub(super) fn load(path: &Path) -> Result<Loaded, TlsError> {
    let content = read(path)?;
    let certificates = parse::<CertificateDer<'static>>(path, &content)?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate { path: path.into() });
    }
    let beside = key_file(path);
    let (key_path, key) = match private_key(path, &content)? {
        Some(key) => (path, key),
        None if beside.is_file() => {
            let key = private_key(&beside, &read(&beside)?)?;
            (
                beside.as_path(),
                key.ok_or_else(|| TlsError::NoKey { path: path.into() })?,
            )
        }
        None => return Err(TlsError::NoKey { path: path.into() }),
    };
    let key = certified(path, certificates, key)?;
    let certificate = |reason: &str| TlsError::Certificate {
        path: path.into(),
        reason: reason.to_owned(),
    };
    let leaf = key.cert.first().ok_or_else(|| certificate("there is none"))?;
    let fields = x509::fields(leaf).map_err(|error| certificate(&format!("it is not X.509: {error}")))?;
    Ok(Loaded {
        info: CertificateInfo {
            path: path.into(),
            names: fields.names,
            not_after: fields.not_after,
            chain: key.cert.clone(),
        },
        warning: readable_by_all(key_path),
        key: Arc::new(key),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |error| TlsError::Read {
        path: path.into(),
        error,
    };
    let mut content = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(FILE_MAX + 1)
        .read_to_end(&mut content)
        .map_err(failed)?;
    if content.len() as u64 > FILE_MAX {
        return Err(TlsError::TooLarge { path: path.into() });
    }
    Ok(content)
}

fn parse<T: pem::PemObject>(path: &Path, content: &[u8]) -> Result<Vec<T>, TlsError> {
    T::pem_slice_iter(content)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::Pem {
            path: path.into(),
            reason: error.to_string(),
        })
}

/// PKCS#1, PKCS#8 or SEC1.
fn private_key(path: &Path, content: &[u8]) -> Result<Option<PrivateKeyDer<'static>>, TlsError> {
    let key = parse::<PrivateKeyDer<'static>>(path, content)?.into_iter().next();
    let is_encrypted = |content: &[u8]| {
        let contains = |needle: &[u8]| memchr::memmem::find(content, needle).is_some();
        contains(b"BEGIN ENCRYPTED PRIVATE KEY") || contains(b"Proc-Type: 4,ENCRYPTED")
    };
    if is_encrypted(content) {
        return Err(TlsError::EncryptedKey { path: path.into() });
    }
    Ok(key)
}

/// Finds the certificate that the key belongs to; the others follow it in the order of the file.
fn certified(
    path: &Path,
    mut certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, TlsError> {
    let key = provider()
        .key_provider
        .load_private_key(key)
        .map_err(|error| TlsError::Key {
            path: path.into(),
            reason: error.to_string(),
        })?;
    for place in 0..certificates.len() {
        certificates[..=place].rotate_right(1);
        let certified = CertifiedKey::new(certificates, key.clone());
        match certified.keys_match() {
            Ok(()) => return Ok(certified),
            Err(rustls::Error::InconsistentKeys(_)) => certificates = certified.cert,
            Err(error) => {
                return Err(TlsError::Certificate {
                    path: path.into(),
                    reason: error.to_string(),
                });
            }
        }
        certificates[..=place].rotate_left(1);
    }
    Err(TlsError::KeyMismatch { path: path.into() })
}

fn readable_by_all(path: &Path) -> Option<String> {
    const OTHERS_READ: u32 = 0o004;
    let mode = fs::metadata(path).ok()?.permissions().mode();
    (mode & OTHERS_READ != 0).then(|| {
        let path = path.display();
        format!("everybody on this host may read the private key in {path}: chmod 640 {path}")
    })
}

/// The authorities in a file.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in parse::<CertificateDer<'static>>(path, &read(path)?)? {
        store.add(certificate).map_err(|error| TlsError::Certificate {
            path: path.into(),
            reason: error.to_string(),
        })?;
    }
    if store.is_empty() {
        return Err(TlsError::NoCertificate { path: path.into() });
    }
    Ok(store)
}

/// Those that the system trusts. One that is not understood does not spoil the others.
pub(super) fn system_authorities() -> Result<RootCertStore, TlsError> {
    let found = SYSTEM_AUTHORITIES
        .into_iter()
        .map(Path::new)
        .find(|path| path.is_file())
        .ok_or(TlsError::NoSystemAuthorities)?;
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(parse::<CertificateDer<'static>>(found, &read(found)?)?);
    if store.is_empty() {
        return Err(TlsError::NoSystemAuthorities);
    }
    Ok(store)
}

thread_local! {
    /// rustls tells the name to who chooses the certificate and to nobody else, while it reads the hello.
    static ASKED: Cell<Option<String>> = const { Cell::new(None) };
}

/// The host that the hello which this thread has just let rustls read was for.
pub(crate) fn asked_for() -> Option<String> {
    ASKED.take()
}

/// Which certificate a client gets: one for the name it asks for, or else the first, unless that is forbidden.
#[derive(Debug)]
pub(super) struct ByName {
    names: HashMap<String, Vec<Arc<CertifiedKey>>>,
    default: Option<Arc<CertifiedKey>>,
}

impl ByName {
    pub(super) fn new(loaded: &[Loaded], strict: bool) -> Self {
        let mut names: HashMap<String, Vec<Arc<CertifiedKey>>> = HashMap::new();
        for certificate in loaded {
            for name in &certificate.info.names {
                names
                    .entry(name.clone())
                    .or_default()
                    .push(Arc::clone(&certificate.key));
            }
        }
        let default = loaded.first().filter(|_| !strict);
        Self {
            names,
            default: default.map(|certificate| Arc::clone(&certificate.key)),
        }
    }

    /// By the whole name, by `*.` and the rest of it; of several for one name the first that the client can verify.
    fn find(&self, name: &str, can_verify: impl Fn(&CertifiedKey) -> bool) -> Option<Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let exact = self.names.get(&name);
        let wildcard = || self.names.get(&format!("*.{}", name.split_once('.')?.1));
        let candidates = exact.or_else(wildcard)?;
        let fitting = candidates.iter().find(|key| can_verify(key));
        fitting.or_else(|| candidates.first()).cloned()
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let can_verify = |key: &CertifiedKey| key.key.choose_scheme(hello.signature_schemes()).is_some();
        ASKED.set(hello.server_name().map(str::to_owned));
        let named = hello.server_name().and_then(|name| self.find(name, can_verify));
        named.or_else(|| self.default.clone())
    }
}
