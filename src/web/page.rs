//! The page: its files, which are part of the program, and their tags.

use crate::http::Response;
use data_encoding::BASE64URL_NOPAD;
use sha1_smol::Sha1;
use std::sync::LazyLock;

/// A file of the page.
pub(super) struct PageFile {
    path: &'static str,
    content_type: &'static str,
    body: &'static str,
    /// The tag by which a browser asks whether it has the file of this program already (RFC 9110, section 8.8.3). Computed
    /// once, at the first request.
    etag: LazyLock<String>,
}

macro_rules! page_file {
    ($path:literal, $content_type:literal, $file:literal) => {
        PageFile {
            path: $path,
            content_type: $content_type,
            body: include_str!($file),
            etag: LazyLock::new(|| etag(include_str!($file))),
        }
    };
}

static FILES: [PageFile; 3] = [
    page_file!("/", "text/html; charset=utf-8", "page/index.html"),
    page_file!("/app.js", "text/javascript; charset=utf-8", "page/app.js"),
    page_file!("/app.css", "text/css; charset=utf-8", "page/app.css"),
];

/// The header field that cuts the page off from a page that opened it, which could change its address otherwise.
const OPENER_POLICY: &str = "Cross-Origin-Opener-Policy: same-origin\r\n";

/// Returns the file at a path.
pub(super) fn find(path: &str) -> Option<&'static PageFile> {
    FILES.iter().find(|file| file.path == path)
}

fn etag(body: &str) -> String {
    let digest = Sha1::from(body).digest().bytes();
    format!("\"{}\"", BASE64URL_NOPAD.encode(&digest[..12]))
}

impl PageFile {
    /// Returns the response with the file, and its tag.
    pub(super) fn response(&'static self) -> (Response, &'static str) {
        let etag = self.etag.as_str();
        (Response::page(self.content_type, self.body).with_fields(&format!("ETag: {etag}\r\n{OPENER_POLICY}")), etag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of all files: a page that people load over a phone's network.
    const MAX_PAGE: usize = 100 << 10;

    #[test]
    fn page_has_no_part_that_its_policy_forbids() {
        let bodies: Vec<&str> = FILES.iter().map(|file| file.body).collect();
        let [html, script, style] = bodies[..] else { panic!("a file of another kind") };
        assert!(bodies.iter().map(|body| body.len()).sum::<usize>() < MAX_PAGE);
        for inline in ["<script>", "<style", " style=", " onclick", " onsubmit", " onload", "javascript:"] {
            assert!(!html.contains(inline), "{inline}");
        }
        for dangerous in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
            assert!(!script.contains(dangerous), "{dangerous}");
        }
        for outside in ["http://", "https://", "//cdn", "@import", "url(http"] {
            assert!(!style.contains(outside) && !script.contains(outside), "{outside}");
        }
    }

    #[test]
    fn each_file_has_a_tag_of_its_own() {
        let mut tags: Vec<&str> = FILES.iter().map(|file| file.response().1).collect();
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), FILES.len());
        assert!(tags.iter().all(|tag| tag.len() == 18 && tag.starts_with('"') && tag.ends_with('"')), "{tags:?}");
    }
}
