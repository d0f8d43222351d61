//! How TLS is spoken to a server that is checked: as sessions do, with its certificates read again now and then, so
//! that a check notices when their files change.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::plan::{ServerTls, Verify};
use crate::tls::{Connector, TlsError};

/// Ways of speaking TLS that are kept ready; more are made anew each time.
const KEPT_MAX: usize = 256;
/// How long they are kept.
const KEPT_FOR: Duration = Duration::from_secs(60);

type Kept = HashMap<ServerTls, (Instant, Arc<Connector>)>;

/// What to speak and to whom. Without settings nothing is verified: it is enough that the server speaks TLS.
pub(super) fn client(
    tls: Option<&ServerTls>,
    address: Option<IpAddr>,
) -> Result<(Arc<ClientConfig>, ServerName<'static>), TlsError> {
    static KEPT: LazyLock<Mutex<Kept>> = LazyLock::new(Mutex::default);
    let any = ServerTls {
        verify: Verify::None,
        sni: None,
        verify_host: None,
        alpn: Vec::new(),
        certificate: None,
    };
    let tls = tls.unwrap_or(&any);
    let mut kept = KEPT.lock();
    kept.retain(|_, (since, _)| since.elapsed() < KEPT_FOR);
    if let Some((_, connector)) = kept.get(tls) {
        return Ok(connector.client(address));
    }
    let connector = Arc::new(Connector::load(tls)?);
    if kept.len() < KEPT_MAX {
        kept.insert(tls.clone(), (Instant::now(), Arc::clone(&connector)));
    }
    Ok(connector.client(address))
}
