//! A proxy program, and clients with addresses of their own.

use super::{DEADLINE, find_or_skip, listening_port, wait_until};
use socket2::{Domain, Socket, Type};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Connects from 127.0.0.`last`, and returns the stream with the port that it has.
pub fn connect_from(last: u8, address: SocketAddr) -> (TcpStream, u16) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let stream = TcpStream::from(socket);
    let port = stream.local_addr().unwrap().port();
    (stream, port)
}

/// A proxy program before a server, in a folder of its own. Dropping it kills the program.
pub struct Proxy {
    process: Child,
    pub address: SocketAddr,
    folder: PathBuf,
}

impl Proxy {
    /// Starts `program` with a configuration and the arguments that `arguments` makes of its path; the configuration is
    /// made for a free port. `None` if the program is missing.
    pub fn start(
        program: &str,
        configuration: impl Fn(SocketAddr) -> String,
        arguments: impl Fn(&Path) -> Vec<String>,
    ) -> Option<Self> {
        let program = find_or_skip(program)?;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let folder = std::env::temp_dir().join(format!("roomcast-proxy-{}-{}", std::process::id(), address.port()));
        fs::create_dir(&folder).unwrap();
        let file = folder.join("proxy.conf");
        fs::write(&file, configuration(address)).unwrap();
        // From here to the program's own bind the port is free for it.
        drop(listener);
        let mut command = Command::new(program);
        let process = command.args(arguments(&file)).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let mut proxy = Self { process, address, folder };
        wait_until("the proxy listens", || {
            assert!(proxy.process.try_wait().unwrap().is_none(), "the proxy has ended");
            listening_port(proxy.process.id()) == Some(address.port())
        });
        Some(proxy)
    }

    /// Starts `HAProxy` before the server at `server`, with these words for its line in the configuration and these lines
    /// for its backend.
    pub fn start_haproxy(server: SocketAddr, words: &str, backend: &str) -> Option<Self> {
        let configuration = |address| {
            format!(
                "global\n  maxconn 100\ndefaults\n  mode tcp\n  timeout connect 10s\n  timeout client 60s\n  \
                 timeout server 60s\n  timeout check 10s\nfrontend clients\n  bind {address}\n  default_backend chat\n\
                 backend chat\n  {backend}\n  server roomcast {server} {words}\n"
            )
        };
        Self::start("haproxy", configuration, |file| {
            vec!["-db".to_owned(), "-f".to_owned(), file.display().to_string()]
        })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Killing fails when the process has already ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
