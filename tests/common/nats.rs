//! NATS servers as programs, and a client of a few lines that publishes anything.

use super::{DEADLINE, ServerProcess, find_or_skip, http, wait_until};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A NATS server that runs until it is dropped.
pub struct NatsServer {
    program: PathBuf,
    /// The folder of `JetStream`, if the server has it.
    store: Option<PathBuf>,
    process: Child,
    pub address: SocketAddr,
}

/// Returns the NATS servers to test with: Debian's, and the one that `ROOMCAST_NATS_SERVER` names, if it does.
pub fn nats_programs() -> Vec<PathBuf> {
    let newer = std::env::var_os("ROOMCAST_NATS_SERVER").map(PathBuf::from);
    if newer.is_none() {
        super::skip("no newer NATS server: ROOMCAST_NATS_SERVER names none (.ci/test sets it)");
    }
    find_or_skip("nats-server").into_iter().chain(newer).collect()
}

impl NatsServer {
    /// Starts Debian's server on a free port; `None` after a message if it is missing.
    pub fn start() -> Option<Self> {
        Some(Self::start_program(&find_or_skip("nats-server")?))
    }

    /// Starts a server on a free port.
    pub fn start_program(program: &Path) -> Self {
        Self::start_with(program, None)
    }

    /// Starts a server with `JetStream`, which keeps its streams in a folder, on a free port.
    pub fn start_jetstream(program: &Path, store: PathBuf) -> Self {
        Self::start_with(program, Some(store))
    }

    fn start_with(program: &Path, store: Option<PathBuf>) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = spawn(program, address, store.as_deref());
        let mut server = Self { program: program.to_owned(), store, process, address };
        server.wait();
        server
    }

    /// Starts the server again on its port, after [`NatsServer::kill`].
    pub fn restart(&mut self) {
        self.process = spawn(&self.program, self.address, self.store.as_deref());
        self.wait();
    }

    /// Ends the server without a word.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    pub fn send_signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.process.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    fn wait(&mut self) {
        let address = self.address;
        wait_until("NATS listens", || TcpStream::connect(address).is_ok());
    }

    /// Publishes a message, and waits until the server has it.
    pub fn publish(&self, subject: &str, payload: &[u8]) {
        let mut stream = self.connect();
        write!(stream, "PUB {subject} {}\r\n", payload.len()).unwrap();
        stream.write_all(payload).unwrap();
        stream.write_all(b"\r\nPING\r\n").unwrap();
        let answered = BufReader::new(stream).lines().any(|line| line.unwrap() == "PONG");
        assert!(answered, "the server closed the connection");
    }

    /// Returns the answer of `JetStream` to a request.
    pub fn request(&self, subject: &str, payload: &str) -> serde_json::Value {
        serde_json::from_slice(&self.request_raw(subject, payload)).unwrap()
    }

    /// Returns the answer to a request, its headers included.
    pub fn request_raw(&self, subject: &str, payload: &str) -> Vec<u8> {
        let mut stream = self.connect();
        write!(stream, "SUB answer 1\r\nPUB {subject} answer {}\r\n{payload}\r\n", payload.len()).unwrap();
        let (mut reader, mut line) = (BufReader::new(stream), String::new());
        while !line.contains("MSG answer ") {
            line.clear();
            assert!(reader.read_line(&mut line).unwrap() > 0, "the server closed the connection");
        }
        let mut answer = vec![0; line.trim_end().rsplit(' ').next().unwrap().parse().unwrap()];
        reader.read_exact(&mut answer).unwrap();
        answer
    }

    fn connect(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(b"CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\n").unwrap();
        stream
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(program: &Path, address: SocketAddr, store: Option<&Path>) -> Child {
    let mut command = Command::new(program);
    command.args(["-a", "127.0.0.1", "-p", &address.port().to_string()]);
    if let Some(store) = store {
        command.arg("-js").arg("-sd").arg(store);
    }
    command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// A server of a cluster.
pub struct Node {
    pub server: ServerProcess,
    pub name: String,
    pub metrics: SocketAddr,
}

impl Node {
    /// Starts a server of the cluster at `nats`.
    pub fn start(nats: &NatsServer, name: &str, more: &[&str]) -> Self {
        let url = nats.url();
        let mut args =
            vec!["--cluster", &*url, "--node", name, "--metrics", "127.0.0.1:0", "--rate", "0", "--byte-rate", "0"];
        args.extend(more);
        let server = ServerProcess::start(&args);
        let metrics = server.startup_lines.iter().find_map(|line| line.split_once("http://"));
        let metrics = metrics.unwrap().1.split('/').next().unwrap().parse().unwrap();
        Self { server, name: name.to_owned(), metrics }
    }

    /// Starts servers `n1`, `n2` and so on, which know each other.
    pub fn start_some(nats: &NatsServer, count: usize) -> Vec<Self> {
        let nodes: Vec<Self> = (1..=count).map(|number| Self::start(nats, &format!("n{number}"), &[])).collect();
        for node in &nodes {
            node.wait_for_others(count - 1);
        }
        nodes
    }

    /// Waits until the server knows this number of others.
    pub fn wait_for_others(&self, others: usize) {
        wait_until("the servers know each other", || self.metric("roomcast_cluster_nodes") == others as u64);
    }

    /// Returns a whole number of the metrics.
    pub fn metric(&self, name: &str) -> u64 {
        let text = http::get(self.metrics, "/metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is in the metrics")).parse().unwrap()
    }
}
