//! Certificates that were renewed: an acceptor or a connector is made anew when its files change, and kept if the new ones
//! are no good.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use warren_kit::prints::Prints;

use super::certificates::{self, SYSTEM_AUTHORITIES};
use super::{Acceptor, Connector, TlsError};
use crate::plan::{BindTls, ClientCertificates, ServerTls, Verify};

/// What files are read for.
pub trait Source {
    /// What is made of them.
    type Made;

    /// Every file that is read, and directories: a file that is new or gone changes those.
    fn files(&self) -> Vec<PathBuf>;

    /// Reads them. Clients may go on with the sessions that they began with the one before.
    fn make(&self, before: Option<&Self::Made>) -> Result<Self::Made, TlsError>;
}

impl Source for BindTls {
    type Made = Acceptor;

    fn files(&self) -> Vec<PathBuf> {
        let named = certificates::files(&self.certificates).unwrap_or_default();
        let authorities = match &self.clients {
            ClientCertificates::None => None,
            ClientCertificates::Optional(path) | ClientCertificates::Required(path) => Some(path),
        };
        let keys = named.iter().map(|path| certificates::key_file(path));
        let others = self.certificates.iter().chain(authorities).cloned();
        keys.chain(others).chain(named.iter().cloned()).collect()
    }

    fn make(&self, before: Option<&Acceptor>) -> Result<Acceptor, TlsError> {
        Acceptor::load_again(self, before)
    }
}

impl Source for ServerTls {
    type Made = Connector;

    fn files(&self) -> Vec<PathBuf> {
        let own = self.certificate.iter();
        let mut files: Vec<PathBuf> = own
            .flat_map(|path| [path.clone(), certificates::key_file(path)])
            .collect();
        match &self.verify {
            Verify::None => {}
            Verify::Required(path) => files.push(path.clone()),
            Verify::System => files.extend(SYSTEM_AUTHORITIES.map(|path| Path::new(path).to_owned())),
        }
        files
    }

    fn make(&self, _: Option<&Connector>) -> Result<Connector, TlsError> {
        Connector::load(self)
    }
}

/// What was made for a bind line or a server, and what it was read from.
#[derive(Debug)]
pub struct Watched<S: Source> {
    source: Arc<S>,
    made: Arc<S::Made>,
    seen: Prints,
}

impl<S: Source> Watched<S> {
    /// Reads every file. Clients may go on with the sessions that they began with the one before.
    pub fn load(source: &Arc<S>, before: Option<&S::Made>) -> Result<Self, TlsError> {
        // Looked at before they are read: what changes meanwhile is seen at the next look.
        let seen = Prints::of(source.files());
        Ok(Self {
            source: Arc::clone(source),
            made: Arc::new(source.make(before)?),
            seen,
        })
    }

    /// What is in use.
    #[must_use]
    pub fn made(&self) -> &Arc<S::Made> {
        &self.made
    }

    /// Looks whether a file has changed: what is in use from now on, or why new files are no good and the old ones stay,
    /// which is said once for each change. To be called every few seconds by the control thread; reads nothing otherwise.
    pub fn look(&mut self) -> Option<Result<&Arc<S::Made>, TlsError>> {
        let now = Prints::of(self.source.files());
        if now == self.seen {
            return None;
        }
        self.seen = now;
        Some(self.source.make(Some(&self.made)).map(|made| {
            self.made = Arc::new(made);
            &self.made
        }))
    }
}
