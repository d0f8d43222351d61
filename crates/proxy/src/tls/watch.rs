//! Certificates that were renewed: an acceptor that is loaded anew when its files change, and kept if the new ones are
//! no good.

use std::path::PathBuf;
use std::sync::Arc;

use warren_kit::prints::Prints;

use super::certificates;
use super::{Acceptor, TlsError};
use crate::plan::{BindTls, ClientCertificates};

/// A bind line's acceptor and what it was read from.
#[derive(Debug)]
pub struct Watched {
    bind: Arc<BindTls>,
    acceptor: Arc<Acceptor>,
    seen: Prints,
}

/// What [`Watched::look`] found.
#[derive(Debug)]
pub enum Change {
    /// Nothing, or nothing new since a failure.
    None,
    /// Other certificates: listeners should get this one.
    Loaded(Arc<Acceptor>),
    /// The files changed and are no good; the old ones stay. Said once for each change.
    Failed(TlsError),
}

impl Watched {
    /// Reads every file. Clients may go on with the sessions that they began with the acceptor before.
    pub fn load(bind: &Arc<BindTls>, before: Option<&Acceptor>) -> Result<Self, TlsError> {
        // Looked at before they are read: what changes meanwhile is seen at the next look.
        let seen = prints(bind);
        Ok(Self {
            bind: Arc::clone(bind),
            acceptor: Arc::new(Acceptor::load_again(bind, before)?),
            seen,
        })
    }

    /// The bind line's TLS.
    #[must_use]
    pub fn bind(&self) -> &Arc<BindTls> {
        &self.bind
    }

    /// What listeners use.
    #[must_use]
    pub fn acceptor(&self) -> &Arc<Acceptor> {
        &self.acceptor
    }

    /// Looks whether a file has changed. To be called every few seconds by the control thread; reads nothing otherwise.
    pub fn look(&mut self) -> Change {
        let now = prints(&self.bind);
        if now == self.seen {
            return Change::None;
        }
        self.seen = now;
        match Acceptor::load_again(&self.bind, Some(&self.acceptor)) {
            Ok(acceptor) => {
                self.acceptor = Arc::new(acceptor);
                Change::Loaded(Arc::clone(&self.acceptor))
            }
            Err(error) => Change::Failed(error),
        }
    }
}

/// Of every file that is read, and of directories: a file that is new or gone changes those.
fn prints(bind: &BindTls) -> Prints {
    let named = certificates::files(&bind.certificates).unwrap_or_default();
    let authorities = match &bind.clients {
        ClientCertificates::None => None,
        ClientCertificates::Optional(path) | ClientCertificates::Required(path) => Some(path),
    };
    let mut paths: Vec<PathBuf> = bind
        .certificates
        .iter()
        .chain(&named)
        .chain(authorities)
        .cloned()
        .collect();
    let keys: Vec<PathBuf> = named.iter().map(|path| certificates::key_file(path)).collect();
    paths.extend(keys);
    Prints::of(paths)
}
