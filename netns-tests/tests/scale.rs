//! Every VRID there is, on one interface.

use std::time::Duration;

use nix::sys::signal::Signal;
use warren_lab::{Flavour, eventually, now};

use crate::pair::{PATIENCE, Pair, Router};

#[test]
fn keepalived_moves_255_routers() {
    moves_255_routers((crate::KEEPALIVED, crate::KEEPALIVED));
}

#[test]
fn warren_moves_255_routers() {
    moves_255_routers((crate::WARREN, crate::WARREN));
}

fn file(priority: u8) -> String {
    (1..=255u8)
        .map(|vrid| {
            let name: &'static str = Box::leak(format!("VI_{vrid}").into_boxed_str());
            let address = format!("10.77.100.{vrid}/32");
            Router {
                name,
                vrid,
                ..Router::new(priority)
            }
            .addresses(&[&address])
            .instance()
        })
        .collect()
}

fn moves_255_routers(flavours: (Flavour, Flavour)) {
    let mut pair = Pair::boot(flavours, Router::new(200), Router::new(150));
    pair.a.file = file(200);
    pair.b.file = file(150);
    pair.a.start();
    pair.b.start();
    let held = |name: &str| {
        let node = if name == "a" { &pair.a } else { &pair.b };
        node.host
            .addresses()
            .iter()
            .filter(|address| address.to_string().starts_with("10.77.100."))
            .count()
    };
    eventually(PATIENCE, "a holds all", || {
        let counts = (held("a"), held("b"));
        if counts == (255, 0) { Ok(()) } else { Err(counts) }
    });
    let start = now();
    std::thread::sleep(Duration::from_secs(2));
    for vrid in 1..=255 {
        let adverts = pair.sniffer.adverts("a", vrid, start).len();
        assert!(
            adverts >= 10,
            "virtual router {vrid} advertised {adverts} times in 2 s"
        );
    }

    pair.a.daemon().process.signal(Signal::SIGTERM);
    eventually(PATIENCE, "b holds all", || {
        let counts = (held("a"), held("b"));
        if counts == (0, 255) { Ok(()) } else { Err(counts) }
    });
}
