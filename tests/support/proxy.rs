//! A network between two nodes that can be cut and mended: who connects to it is connected with another address.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often it is looked whether the way is open.
const PACE: Duration = Duration::from_millis(2);

/// A way to one address.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    to: Mutex<Option<SocketAddr>>,
    /// Nothing goes through; what is under way waits.
    is_held: AtomicBool,
    /// Nobody is let in: where the queue of those who wait is full, the machine does not answer any more.
    is_cut: AtomicBool,
    /// How often all connections were broken off.
    breaks: AtomicUsize,
    has_ended: AtomicBool,
}

impl Shared {
    fn holds(&self) -> bool {
        self.is_held.load(Ordering::SeqCst)
    }

    fn ended(&self) -> bool {
        self.has_ended.load(Ordering::SeqCst)
    }

    fn breaks(&self) -> usize {
        self.breaks.load(Ordering::SeqCst)
    }
}

#[allow(dead_code, reason = "every journey uses its part of this")]
impl Proxy {
    /// To where is said later; until then, who connects waits.
    pub fn new() -> Proxy {
        Proxy::of(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// One whose network can be cut: it has room for one who waits. Within a runtime.
    pub fn narrow(address: SocketAddr) -> Proxy {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        Proxy::of(socket.listen(1).unwrap().into_std().unwrap())
    }

    /// As where a process died: who connects is refused, and every connection ends.
    pub fn refuse(&self) {
        self.shared.has_ended.store(true, Ordering::SeqCst);
    }

    /// As where a cable is cut: who connects hears nothing at all. Answers what keeps it so.
    pub fn cut(&self) -> Vec<TcpStream> {
        self.hold();
        self.shared.is_cut.store(true, Ordering::SeqCst);
        std::thread::sleep(2 * PACE);
        let mut fill = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&self.address, Duration::from_millis(50)) {
            fill.push(stream);
        }
        fill
    }

    /// The cable is whole again.
    pub fn mend(&self, fill: Vec<TcpStream>) {
        drop(fill);
        self.shared.is_cut.store(false, Ordering::SeqCst);
        self.let_go();
    }

    fn of(listener: TcpListener) -> Proxy {
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::<Shared>::default();
        let accepts = Arc::clone(&shared);
        std::thread::spawn(move || {
            while !accepts.ended() {
                if accepts.is_cut.load(Ordering::SeqCst) {
                    std::thread::sleep(PACE);
                    continue;
                }
                match listener.accept() {
                    Ok((stream, _)) => begin(&accepts, stream),
                    Err(_) => std::thread::sleep(PACE),
                }
            }
        });
        Proxy { address, shared }
    }

    /// Where it leads.
    pub fn leads_to(&self, address: &str) {
        *self.shared.to.lock().unwrap() = Some(address.parse().unwrap());
    }

    /// Nothing goes through from here on, in either direction, and nothing breaks.
    pub fn hold(&self) {
        self.shared.is_held.store(true, Ordering::SeqCst);
    }

    /// Every connection ends, and what waits in it is lost.
    pub fn break_off(&self) {
        self.shared.breaks.fetch_add(1, Ordering::SeqCst);
    }

    /// What has waited goes through, and everything after it.
    pub fn let_go(&self) {
        self.shared.is_held.store(false, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::SeqCst);
    }
}

fn begin(shared: &Arc<Shared>, client: TcpStream) {
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        let to = loop {
            let to = *shared.to.lock().unwrap();
            match to {
                _ if shared.ended() => return,
                Some(to) if !shared.holds() => break to,
                _ => std::thread::sleep(PACE),
            }
        };
        let Ok(server) = TcpStream::connect(to) else { return };
        let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let other = Arc::clone(&shared);
        std::thread::spawn(move || pass(&other, back.0, back.1));
        pass(&shared, client, server);
    });
}

/// Passes bytes on in one direction.
fn pass(shared: &Shared, mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = vec![0; 64 << 10];
    let breaks = shared.breaks();
    let is_over = || shared.ended() || shared.breaks() != breaks;
    from.set_nonblocking(false).unwrap();
    from.set_read_timeout(Some(PACE)).unwrap();
    loop {
        let read = from.read(&mut bytes);
        // What was read just now may not go through any more.
        while shared.holds() && !is_over() {
            std::thread::sleep(PACE);
        }
        match read {
            _ if is_over() => break,
            Ok(0) => break,
            Ok(length) => {
                if to.write_all(&bytes[..length]).is_err() {
                    break;
                }
            }
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
    let _ = from.shutdown(std::net::Shutdown::Both);
}
