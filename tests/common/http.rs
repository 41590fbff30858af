//! HTTP as a client sees it.

use super::DEADLINE;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A response, whose connection is closed.
pub struct Response {
    /// The code and the phrase.
    pub status: String,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    /// Returns the value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(field, _)| field == name).map(|(_, value)| &**value)
    }
}

/// Sends GET for a path and reads the response.
#[track_caller]
pub fn get(address: SocketAddr, path: &str) -> Response {
    ask(address, &format!("GET {path} HTTP/1.0\r\n\r\n"))
}

/// Sends a request and reads until the server closes.
#[track_caller]
pub fn ask(address: SocketAddr, request: &str) -> Response {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?} is no response"));
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split_once(' ').unwrap().1.to_owned();
    let headers =
        lines.map(|line| line.split_once(": ").unwrap()).map(|(name, value)| (name.to_owned(), value.to_owned()));
    Response { status, headers: headers.collect(), body: body.to_owned() }
}
