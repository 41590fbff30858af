//! Prometheus as a program.

use super::{http, listening_port, wait_until};
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

/// A Prometheus that runs until it is dropped.
pub struct Prometheus {
    process: Child,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts it on a free port.
    pub fn start(config: &str, data: &str) -> Self {
        let mut command = Command::new("prometheus");
        command.args(["--config.file", config, "--storage.tsdb.path", data, "--web.listen-address=127.0.0.1:0"]);
        let process = command.args(["--log.level=error"]).stdin(Stdio::null()).spawn().unwrap();
        let mut prometheus = Self { process, address: (Ipv4Addr::LOCALHOST, 0).into() };
        wait_until("Prometheus listens", || {
            let port = listening_port(prometheus.process.id());
            prometheus.address.set_port(port.unwrap_or_default());
            port.is_some()
        });
        prometheus
    }

    /// Returns the data of a path of the API; `null` while Prometheus starts.
    pub fn api(&self, path: &str) -> Value {
        let response = http::get(self.address, &format!("/api/v1/{path}"));
        serde_json::from_str(&response.body).map_or(Value::Null, |mut answer: Value| answer["data"].take())
    }

    /// Returns the value of the one sample of a query, as text.
    pub fn query(&self, query: &str) -> Option<String> {
        Some(self.api(&format!("query?query={query}"))["result"][0]["value"][1].as_str()?.to_owned())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Killing fails when the process has already ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
