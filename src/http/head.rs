//! Heads of requests: where a head ends, and what it asks for.

use super::response::Status;
use memchr::memchr;
use serde::{Deserialize, Serialize};

/// The longest head, in bytes.
pub(super) const MAX_HEAD: usize = 8 << 10;

/// The most header fields of a head.
const MAX_FIELDS: usize = 64;

/// A request for a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// The path without its query.
    pub(crate) path: String,
    /// Whether the method is HEAD, whose answer has no body.
    pub(crate) is_head: bool,
    /// Whether the version is HTTP/1.0.
    pub(crate) is_old: bool,
    pub(crate) fields: Fields,
}

/// The header fields of a request, in order, each with its name in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Returns the value of a field; `None` without it, and if there are several.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name);
        let value = values.next();
        if values.next().is_none() { value } else { None }
    }

    /// Returns whether there is such a field.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// Returns whether the lists of such fields hold a token, in any case (RFC 9110, section 5.6.1).
    pub(crate) fn has_token(&self, name: &str, token: &str) -> bool {
        self.items(name).any(|item| item.eq_ignore_ascii_case(token))
    }

    /// Returns the items of the lists of such fields.
    pub(crate) fn items(&self, name: &str) -> impl Iterator<Item = &str> {
        self.all(name).flat_map(|value| value.split(',')).map(str::trim).filter(|item| !item.is_empty())
    }

    fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

/// The bytes of a head, until it is complete. It is parsed once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct HeadReader {
    bytes: Vec<u8>,
    /// Where the last line begins, which is not complete.
    line_start: usize,
    /// All bytes so far, with the empty lines before the head, which are dropped (RFC 9112, section 2.2).
    received: usize,
    /// Whether bytes came with the end of the head.
    is_followed: bool,
}

impl HeadReader {
    /// Takes bytes; returns the request, or the status of what is wrong, when the head is complete or can't become so. The
    /// bytes after the head are dropped: a body is of no interest, and a second request is not answered.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Option<Result<Request, Status>> {
        let mut rest = bytes;
        while let Some(end) = memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end + 1);
            rest = after;
            self.take(line);
            if self.received > MAX_HEAD {
                return Some(Err(Status::HeadTooLarge));
            }
            if !matches!(&self.bytes[self.line_start..], b"\n" | b"\r\n") {
                self.line_start = self.bytes.len();
            } else if self.line_start == 0 {
                self.bytes.clear();
            } else {
                self.is_followed = !rest.is_empty();
                return Some(parse(&self.bytes));
            }
        }
        self.take(rest);
        (self.received > MAX_HEAD).then_some(Err(Status::HeadTooLarge))
    }

    /// Returns whether nothing of a request has come.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns whether bytes came with the end of the head: a body, or another request.
    pub(crate) fn is_followed(&self) -> bool {
        self.is_followed
    }

    /// Returns whether the method is HEAD, whose answer has no body, also where the rest is no request.
    pub(crate) fn is_of_head_method(&self) -> bool {
        self.bytes.starts_with(b"HEAD ")
    }

    /// Returns the bytes of memory that hold the head.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Keeps bytes, but none beyond the longest head.
    fn take(&mut self, bytes: &[u8]) {
        self.received = self.received.saturating_add(bytes.len());
        if self.received <= MAX_HEAD {
            self.bytes.extend_from_slice(bytes);
        }
    }
}

/// Parses a whole head.
fn parse(head: &[u8]) -> Result<Request, Status> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Status::HeadTooLarge),
        Ok(httparse::Status::Partial) | Err(_) => return Err(Status::BadRequest),
    }
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(Status::BadRequest);
    };
    // HTTP/1.1 wants one Host field (RFC 9112, section 3.2).
    let hosts = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host")).count();
    if hosts > 1 || (hosts == 0 && version == 1) {
        return Err(Status::BadRequest);
    }
    let is_head = match method {
        "GET" => false,
        "HEAD" => true,
        _ => return Err(Status::MethodNotAllowed),
    };
    let path = path_of(target).ok_or(Status::BadRequest)?;
    let own = |field: &httparse::Header<'_>| {
        (field.name.to_ascii_lowercase(), String::from_utf8_lossy(field.value).trim().to_owned())
    };
    let fields = Fields(request.headers.iter().map(own).collect());
    Ok(Request { path: path.to_owned(), is_head, is_old: version == 0, fields })
}

/// Returns the path of a request's target without its query; the target may be a whole URL, as a proxy gets it (RFC 9112,
/// section 3.2.2).
fn path_of(target: &str) -> Option<&str> {
    let path = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest.find('/').map_or("/", |start| &rest[start..]),
        _ => target,
    };
    path.starts_with('/').then(|| path.split('?').next().unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    const GET: &str = "GET /metrics HTTP/1.1\r\nHost: chat:9464\r\nAccept: text/plain\r\n\r\n";

    fn get(path: &str) -> Request {
        Request { path: path.to_owned(), ..Request::default() }
    }

    /// Pushes all of a head at once; returns the request without its fields and its version.
    fn push(head: &str) -> Option<Result<Request, Status>> {
        HeadReader::default().push(head.as_bytes()).map(without_fields)
    }

    fn without_fields(request: Result<Request, Status>) -> Result<Request, Status> {
        request.map(|request| Request { fields: Fields::default(), is_old: false, ..request })
    }

    #[test]
    fn request_is_the_same_at_every_split() {
        let head = format!("\r\n{GET}");
        for first in 0..head.len() {
            for second in first..head.len() {
                let mut reader = HeadReader::default();
                let parts = [&head[..first], &head[first..second], &head[second..]];
                let results: Vec<_> =
                    parts.into_iter().map(|part| reader.push(part.as_bytes()).map(without_fields)).collect();
                assert_eq!(results, [None, None, Some(Ok(get("/metrics")))], "{parts:?}");
            }
        }
    }

    #[test]
    fn bytes_after_the_head_are_dropped() {
        assert_eq!(push(&format!("{GET}GET /other HTTP/1.1\r\nHost: a\r\n\r\n")), Some(Ok(get("/metrics"))));
        assert_eq!(push(&format!("{GET}no request at all\r\n\r\n")), Some(Ok(get("/metrics"))));
    }

    #[test]
    fn path_is_that_of_the_target_without_scheme_host_and_query() {
        for (target, path) in [
            ("/readyz", "/readyz"),
            ("/metrics?name=a&name=b", "/metrics"),
            ("http://chat:9464/metrics", "/metrics"),
            ("http://chat:9464", "/"),
            ("/a://b/c", "/a://b/c"),
        ] {
            assert_eq!(push(&format!("GET {target} HTTP/1.1\nHost: a\n\n")), Some(Ok(get(path))), "{target}");
        }
    }

    #[test]
    fn head_method_is_known_and_other_methods_are_not_allowed() {
        let request = push("HEAD /healthz HTTP/1.0\r\n\r\n");
        assert_eq!(request, Some(Ok(Request { path: "/healthz".to_owned(), is_head: true, ..Request::default() })));
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "get", "CONNECT"] {
            let head = format!("{method} /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
            assert_eq!(push(&head), Some(Err(Status::MethodNotAllowed)), "{method}");
        }
    }

    #[test]
    fn head_that_is_no_request_is_bad() {
        for head in [
            "JOIN lobby alice\n\n",
            "GET /metrics\r\n\r\n",
            "GET /metrics HTTP/2.0\r\nHost: a\r\n\r\n",
            "GET /metrics HTTP/1.1\r\n\r\n",
            "GET /metrics HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
            "GET /metrics HTTP/1.1\r\nHost a\r\n\r\n",
            "GET metrics HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            "\u{16}\u{3}\u{1}\n\n",
        ] {
            assert_eq!(push(head), Some(Err(Status::BadRequest)), "{head:?}");
        }
    }

    #[test]
    fn head_of_the_longest_length_is_read_and_one_byte_more_is_too_large() {
        let start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
        let longest = format!("{start}{}\r\n\r\n", "x".repeat(MAX_HEAD - start.len() - 4));
        assert_eq!((longest.len(), push(&longest)), (MAX_HEAD, Some(Ok(get("/")))));
        let longer = longest.replace("X: ", "X: y");
        assert_eq!(push(&longer), Some(Err(Status::HeadTooLarge)));
        let mut reader = HeadReader::default();
        let results: Vec<_> = longer.bytes().filter_map(|byte| reader.push(&[byte])).collect();
        assert_eq!(results, [Err(Status::HeadTooLarge)], "the last byte is the one too many");
    }

    #[test]
    fn bytes_without_an_end_are_too_large_and_not_kept() {
        for flood in ["x", "\r\n", "\n"] {
            let (mut reader, mut result) = (HeadReader::default(), None);
            for _ in 0..MAX_HEAD {
                result = result.or(reader.push(flood.repeat(7).as_bytes()));
            }
            assert_eq!(result, Some(Err(Status::HeadTooLarge)), "{flood:?}");
            assert!(reader.bytes.len() <= MAX_HEAD);
        }
    }

    #[test]
    fn head_with_too_many_fields_is_too_large() {
        let head = |fields: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(fields));
        assert_eq!(push(&head(MAX_FIELDS - 1)), Some(Ok(get("/"))));
        assert_eq!(push(&head(MAX_FIELDS)), Some(Err(Status::HeadTooLarge)));
    }

    #[test]
    fn fields_are_found_by_their_names_and_lists_by_their_tokens() {
        let head = "GET /ws HTTP/1.0\r\nUPGRADE: WebSocket\r\nConnection: keep-alive, Upgrade\r\nConnection: a,,b\r\n\
                    Origin: x\r\nOrigin: y\r\n\r\n";
        let request = HeadReader::default().push(head.as_bytes()).unwrap().unwrap();
        let fields = &request.fields;
        assert!(request.is_old);
        assert_eq!((fields.get("upgrade"), fields.get("origin"), fields.get("host")), (Some("WebSocket"), None, None));
        assert!(fields.has("origin") && !fields.has("host"));
        assert!(fields.has_token("connection", "upgrade") && !fields.has_token("connection", "keep"));
        assert_eq!(fields.items("connection").collect::<Vec<_>>(), ["keep-alive", "Upgrade", "a", "b"]);
    }

    #[test]
    fn bytes_that_come_with_the_end_of_a_head_are_noted() {
        for (rest, is_followed) in [("", false), ("GET / HTTP/1.1\r\n", true), ("\x01", true)] {
            let mut reader = HeadReader::default();
            assert!(reader.push(format!("{GET}{rest}").as_bytes()).is_some());
            assert_eq!(reader.is_followed(), is_followed, "{rest:?}");
        }
    }

    /// Parts of heads, of which some orders are requests.
    const PIECES: [&str; 16] = [
        "GET ",
        "HEAD ",
        "POST ",
        "/",
        "metrics",
        "?",
        "http://a",
        " HTTP/1.1",
        " HTTP/1.0",
        "\r\n",
        "\n",
        "\r\n\r\n",
        "Host: a\r\n",
        ": ",
        "\0\u{ff}",
        "JOIN room alice",
    ];

    proptest! {
        #[test]
        fn any_bytes_are_read_alike_in_any_chunks(
            pieces in vec(select(&PIECES[..]), 0..30),
            long in select(&[0, 1_000, MAX_HEAD][..]),
            sizes in vec(1..100_usize, 1..10),
        ) {
            let text = pieces.concat() + &"x".repeat(long) + "\r\n\r\n";
            let (mut reader, mut rest, mut result) = (HeadReader::default(), text.as_bytes(), None);
            for size in sizes.into_iter().cycle() {
                if rest.is_empty() || result.is_some() {
                    break;
                }
                let (chunk, after) = rest.split_at(size.min(rest.len()));
                (result, rest) = (reader.push(chunk).map(without_fields), after);
            }
            prop_assert_eq!(result, push(&text));
            prop_assert!(reader.bytes.len() <= MAX_HEAD);
        }
    }
}
