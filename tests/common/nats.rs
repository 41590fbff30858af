//! NATS servers as programs, and a client of a few lines that publishes anything.

use super::folder::Folder;
use super::{DEADLINE, ServerProcess, find_or_skip, http, wait_until};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A NATS server that runs until it is dropped.
pub struct NatsServer {
    program: PathBuf,
    /// The arguments after its address.
    args: Vec<String>,
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

/// Runs a test with a NATS server that has `JetStream`, one version of it after the other. Its store is `store` in the folder.
pub fn with_jetstream(test: impl Fn(&mut NatsServer, &Folder)) {
    for (number, program) in nats_programs().iter().enumerate() {
        let thread = std::thread::current();
        let folder = Folder::new(&format!("{}-{number}", thread.name().unwrap().replace(':', "-")));
        test(&mut NatsServer::start_jetstream(program, &folder.join("store")), &folder);
    }
}

impl NatsServer {
    /// Starts Debian's server on a free port; `None` after a message if it is missing.
    pub fn start() -> Option<Self> {
        Some(Self::start_program(&find_or_skip("nats-server")?))
    }

    /// Starts a server on a free port.
    pub fn start_program(program: &Path) -> Self {
        Self::start_with(program, Vec::new())
    }

    /// Starts a server with `JetStream`, which keeps its streams in a folder, on a free port.
    pub fn start_jetstream(program: &Path, store: &Path) -> Self {
        Self::start_with(program, jetstream_args(store))
    }

    fn start_with(program: &Path, args: Vec<String>) -> Self {
        let address = free_address();
        let mut server = Self { program: program.to_owned(), process: spawn(program, address, &args), args, address };
        server.wait();
        server
    }

    /// Starts Debian's server `count` times, as one cluster of NATS with a route between each two; `None` after a message
    /// if it is missing.
    pub fn start_cluster(count: usize) -> Option<Vec<Self>> {
        Some(Self::start_routes(&find_or_skip("nats-server")?, count, |_| Vec::new()))
    }

    /// Starts a server `count` times with `JetStream`, as [`NatsServer::start_cluster`] does. They are called `s0`, `s1` and
    /// so on.
    pub fn start_jetstream_cluster(program: &Path, count: usize, store: &Path) -> Vec<Self> {
        Self::start_routes(program, count, |at| {
            let name = format!("s{at}");
            let mut args = jetstream_args(&store.join(&name));
            args.extend(["--server_name".to_owned(), name]);
            args
        })
    }

    fn start_routes(program: &Path, count: usize, more: impl Fn(usize) -> Vec<String>) -> Vec<Self> {
        let routes: Vec<String> = (0..count).map(|_| format!("nats://{}", free_address())).collect();
        let all = routes.join(",");
        let args = |(at, route): (usize, &String)| {
            let mut args = ["--cluster_name", "c", "--cluster", route, "--routes", &all].map(str::to_owned).to_vec();
            args.extend(more(at));
            args
        };
        let servers: Vec<Self> =
            routes.iter().enumerate().map(|route| Self::start_with(program, args(route))).collect();
        for (at, server) in servers.iter().enumerate() {
            server.wait_for_routes(&servers[at + 1..]);
        }
        servers
    }

    /// Waits until messages go from each of `others` to this server and back.
    pub fn wait_for_routes<'a>(&self, others: impl IntoIterator<Item = &'a Self>) {
        for other in others {
            for (from, to) in [(self, other), (other, self)] {
                let mut subscription = to.subscribe("route");
                wait_until("two NATS servers have a route", || {
                    from.publish("route", b"");
                    subscription.try_next(ROUTE_PAUSE).is_some()
                });
            }
        }
    }

    /// Starts the server again on its port, after [`NatsServer::kill`].
    pub fn restart(&mut self) {
        self.process = spawn(&self.program, self.address, &self.args);
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

    /// Subscribes, and waits until the server knows it.
    pub fn subscribe(&self, subject: &str) -> Subscription {
        let mut stream = self.connect();
        write!(stream, "SUB {subject} 1\r\nPING\r\n").unwrap();
        let mut subscription = Subscription(BufReader::new(stream));
        while subscription.read_line().unwrap() != "PONG" {}
        subscription
    }

    /// Publishes a message, and waits until the server has it.
    pub fn publish(&self, subject: &str, payload: &[u8]) {
        self.publish_all([(subject, payload)]);
    }

    /// Publishes messages, each with its subject, and waits until the server has them.
    pub fn publish_all<'a>(&self, messages: impl IntoIterator<Item = (&'a str, &'a [u8])>) {
        let stream = self.connect();
        let mut output = BufWriter::new(&stream);
        for (subject, payload) in messages {
            write!(output, "PUB {subject} {}\r\n", payload.len()).unwrap();
            output.write_all(payload).unwrap();
            output.write_all(b"\r\n").unwrap();
        }
        output.write_all(b"PING\r\n").unwrap();
        output.flush().unwrap();
        let answered = BufReader::new(&stream).lines().any(|line| line.unwrap() == "PONG");
        assert!(answered, "the server closed the connection");
    }

    /// Returns the answer of `JetStream` to a request.
    pub fn request(&self, subject: &str, payload: &str) -> serde_json::Value {
        serde_json::from_slice(&self.request_raw(subject, payload)).unwrap()
    }

    /// Returns the answer of `JetStream` to a request, if one comes soon.
    pub fn try_request(&self, subject: &str, payload: &str) -> Option<serde_json::Value> {
        let mut subscription = self.subscribe("answer");
        write!(subscription.0.get_mut(), "PUB {subject} answer {}\r\n{payload}\r\n", payload.len()).unwrap();
        serde_json::from_slice(&subscription.try_next(ANSWER_PAUSE)?.1).ok()
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

/// A subscription on a connection of its own.
pub struct Subscription(BufReader<TcpStream>);

impl Subscription {
    /// Returns the subject and the payload of the next message that comes within the time.
    pub fn try_next(&mut self, within: Duration) -> Option<(String, Vec<u8>)> {
        self.0.get_ref().set_read_timeout(Some(within)).unwrap();
        self.0.fill_buf().ok()?;
        self.0.get_ref().set_read_timeout(Some(DEADLINE)).unwrap();
        let line = self.read_line().unwrap();
        let Some(line) = line.strip_prefix("MSG ") else { return self.try_next(within) };
        let subject = line.split(' ').next()?.to_owned();
        let mut payload = vec![0; line.rsplit(' ').next()?.parse().unwrap()];
        self.0.read_exact(&mut payload).unwrap();
        // The end of the line after the payload.
        self.0.read_exact(&mut [0; 2]).unwrap();
        Some((subject, payload))
    }

    /// Returns the subject and the payload of the next message.
    pub fn next(&mut self) -> (String, Vec<u8>) {
        self.try_next(DEADLINE).expect("no message within the deadline")
    }

    fn read_line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        assert!(!line.is_empty(), "the NATS server closed the connection");
        Ok(line.trim_end().to_owned())
    }
}

/// How long an answer may take before the question is asked again.
const ANSWER_PAUSE: Duration = Duration::from_millis(500);

/// How long a message may take through a route before the next one is tried.
const ROUTE_PAUSE: Duration = Duration::from_millis(50);

/// Returns an address of which no program has the port.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn jetstream_args(store: &Path) -> Vec<String> {
    ["-js", "-sd", store.to_str().unwrap()].map(str::to_owned).to_vec()
}

fn spawn(program: &Path, address: SocketAddr, args: &[String]) -> Child {
    let mut command = Command::new(program);
    command.args(["-a", "127.0.0.1", "-p", &address.port().to_string()]).args(args);
    command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// The arguments of a server with one order.
pub const ONE_ORDER: [&str; 2] = ["--cluster-order", "total"];

/// A server of a cluster.
pub struct Node {
    pub server: ServerProcess,
    pub name: String,
    pub metrics: SocketAddr,
}

impl Node {
    /// Starts a server of the cluster at `nats`.
    pub fn start(nats: &NatsServer, name: &str, more: &[&str]) -> Self {
        Self::start_at(&nats.url(), name, more)
    }

    /// Starts a server of the cluster at the NATS servers `urls`, with commas between them.
    pub fn start_at(urls: &str, name: &str, more: &[&str]) -> Self {
        let mut args =
            vec!["--cluster", urls, "--node", name, "--metrics", "127.0.0.1:0", "--rate", "0", "--byte-rate", "0"];
        args.extend(more);
        let server = ServerProcess::start(&args);
        let metrics = server.startup_lines.iter().find_map(|line| line.split_once("http://"));
        let metrics = metrics.unwrap().1.split('/').next().unwrap().parse().unwrap();
        Self { server, name: name.to_owned(), metrics }
    }

    /// Starts servers `n1`, `n2` and so on, which know each other.
    pub fn start_some(nats: &NatsServer, count: usize) -> Vec<Self> {
        let urls: Vec<String> = (0..count).map(|_| nats.url()).collect();
        Self::start_each(&urls)
    }

    /// Starts a server at each of `urls`: `n1`, `n2` and so on, which know each other.
    pub fn start_each(urls: &[String]) -> Vec<Self> {
        Self::start_each_with(urls, &[])
    }

    /// Starts servers with one order as [`Node::start_each`] does, and waits until they have the log.
    pub fn start_in_one_order(urls: &[String], more: &[&str]) -> Vec<Self> {
        let nodes = Self::start_each_with(urls, &[&ONE_ORDER, more].concat());
        nodes.iter().for_each(Self::wait_for_log);
        nodes
    }

    fn start_each_with(urls: &[String], args: &[&str]) -> Vec<Self> {
        let start = |(at, urls): (usize, &String)| Self::start_at(urls, &format!("n{}", at + 1), args);
        let nodes: Vec<Self> = urls.iter().enumerate().map(start).collect();
        for node in &nodes {
            node.wait_for_others(urls.len() - 1);
        }
        nodes
    }

    /// Waits until lines go through the log.
    pub fn wait_for_log(&self) {
        wait_until("lines go through the log", || self.metric("roomcast_cluster_ordered") == 1);
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
