//! The witness on each host of the demonstration: says the name of its host, then echoes, so that a client at the shared
//! address can tell where it is.

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

pub(crate) const PORT: u16 = 7000;
/// More clients than this wait until one of them has gone.
const CLIENTS_MAX: usize = 64;

/// Serves until killed.
pub(crate) fn serve(name: &str) -> io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", PORT))?;
    let present = Arc::new(());
    for stream in listener.incoming() {
        while Arc::strong_count(&present) > CLIENTS_MAX {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let (name, present) = (name.to_owned(), Arc::clone(&present));
        let stream = stream?;
        std::thread::spawn(move || {
            let _present = present;
            // A client that has gone is none of our business.
            let _ = greet_and_echo(&stream, &name);
        });
    }
    Ok(())
}

fn greet_and_echo(mut stream: &TcpStream, name: &str) -> io::Result<()> {
    stream.write_all(format!("{name}\n").as_bytes())?;
    io::copy(&mut &*stream, &mut &*stream).map(drop)
}
