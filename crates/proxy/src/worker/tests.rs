//! Workers as others see them.

use std::net::{TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, sync_channel};

use super::*;
use crate::plan::testing;

/// What a worker does when the configuration was read again: waits until the test is over.
struct Stuck(Receiver<()>);

impl Log for Stuck {
    fn record(&mut self, _: &plan::Frontend, _: &Record<'_>) {}
    fn flush(&mut self) {}
    fn change(&mut self, _: &plan::Global) {
        let _over = self.0.recv();
    }
}

#[test]
fn a_worker_that_does_not_answer_hides_its_own_sessions_only() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut plan = testing::plan(&[server.local_addr().unwrap()]);
    plan.global.threads = NonZeroUsize::new(2).unwrap();
    let live = Arc::new(Live::new(Arc::new(plan)));
    let (visits, _) = mpsc::channel(1);
    let (enders, receivers): (Vec<_>, Vec<_>) = [sync_channel(1), sync_channel(1)].into_iter().unzip();
    let receivers = Mutex::new(receivers);
    let settings = Settings {
        visits,
        log: Box::new(move |_| Box::new(Stuck(receivers.lock().remove(0)))),
    };
    let workers = Workers::start(&live, &settings).unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap();
    let frontend = Arc::clone(&live.snapshot().frontends[0]);
    let listener = Listener {
        socket: Arc::new(socket.into()),
        bind: Arc::new(frontend.plan().binds[0].clone()),
        frontend,
        tls: None,
        load: Arc::default(),
    };
    workers.broadcast(&Command::Listen(Arc::new(vec![listener])));
    // One for each worker.
    let _clients = [(); 2].map(|()| {
        let client = TcpStream::connect(address).unwrap();
        (client, server.accept().unwrap())
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    assert_eq!(runtime.block_on(workers.sessions()).len(), 2);

    workers.send(1, Command::Reloaded);
    let listed = runtime.block_on(workers.sessions());
    let of: Vec<usize> = listed.iter().map(|session| session.worker).collect();
    assert_eq!(of, [0]);
    drop(enders);
}
