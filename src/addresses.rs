//! Tells the proxy of addresses that this host has lost, so that it need not wait for answers to what it sends from
//! them. A thread of its own: the proxy itself speaks no netlink.

use std::net::IpAddr;

use tokio::sync::mpsc;

use crate::netlink::{Change, Monitor};

/// Addresses that may wait to be told of; whoever has lost more than these at once has other worries.
const WAITING_MAX: usize = 64;

/// From now on. Without netlink nothing ever comes.
#[must_use]
pub(crate) fn lost() -> mpsc::Receiver<IpAddr> {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let watch = std::thread::Builder::new().name("addresses".into());
    if let Err(error) = watch.spawn(move || tell(&sender)) {
        tracing::warn!(%error, "addresses are not watched");
    }
    receiver
}

fn tell(sender: &mpsc::Sender<IpAddr>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        let mut monitor = match Monitor::start(&[]) {
            Ok(monitor) => monitor,
            Err(error) => {
                tracing::warn!(%error, "addresses are not watched");
                return;
            }
        };
        while !sender.is_closed() {
            for change in monitor.changes().await {
                if let Change::Deleted { address, .. } = change {
                    // A full queue: the sessions end by their own timeouts.
                    let _ = sender.try_send(address);
                }
            }
        }
    });
}
