//! Chromium, driven through its `DevTools` protocol: pages as people use them.

use super::{DEADLINE, find_or_skip};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;
use tungstenite::{Message, WebSocket};

/// A browser without a window, with a profile of its own. Dropping it ends it.
pub struct Browser {
    process: Child,
    address: String,
    profile: PathBuf,
}

impl Browser {
    /// Starts Chromium; `None` if it is missing.
    pub fn start() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let program = find_or_skip("chromium")?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let profile = std::env::temp_dir().join(format!("roomcast-chromium-{}-{number}", std::process::id()));
        let mut process = Command::new(program)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args(["--remote-debugging-port=0", "--disable-background-networking", "--disable-component-update"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "Chromium ended at its start");
            if let Some(url) = line.trim().strip_prefix("DevTools listening on ") {
                break url.to_owned();
            }
        };
        // Chromium must not wait for a reader of what it writes.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        Some(Self { process, address, profile })
    }

    /// Opens a page. The pages of one browser share what they remember; `is_private` gives a page a memory of its own.
    pub fn open(&self, url: &str, is_private: bool) -> Page {
        let host = self.address.strip_prefix("ws://").unwrap().split('/').next().unwrap();
        let stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let (socket, _) = tungstenite::client(&*self.address, stream).unwrap();
        let mut page = Page { socket, next_id: 0, session: None };
        let context = is_private.then(|| page.call("Target.createBrowserContext", &json!({})));
        let mut target = json!({ "url": "about:blank" });
        if let Some(context) = context {
            target["browserContextId"] = context["browserContextId"].clone();
        }
        let target = page.call("Target.createTarget", &target);
        let attached = page.call("Target.attachToTarget", &json!({ "targetId": target["targetId"], "flatten": true }));
        page.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        page.call("Page.enable", &json!({}));
        page.call("Network.enable", &json!({}));
        page.call("Page.navigate", &json!({ "url": url }));
        page.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'");
        page
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

/// One page of a browser.
pub struct Page {
    socket: WebSocket<TcpStream>,
    next_id: u64,
    session: Option<String>,
}

impl Page {
    /// Calls a method of the protocol and returns its result.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.next_id += 1;
        let mut request = json!({ "id": self.next_id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        self.socket.send(Message::text(request.to_string())).unwrap();
        loop {
            let Message::Text(text) = self.socket.read().expect("no answer of the browser") else { continue };
            let answer: Value = serde_json::from_str(&text).unwrap();
            if answer["id"] == json!(self.next_id) {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
        }
    }

    /// Returns the value of an expression in the page; a promise is waited for.
    #[track_caller]
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let result = self.call("Runtime.evaluate", &parameters);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {}", result["exceptionDetails"]);
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn wait_for(&mut self, expression: &str) {
        let start = Instant::now();
        while self.evaluate(&format!("Boolean({expression})")) != json!(true) {
            if start.elapsed() >= DEADLINE {
                let page = self.evaluate("document.body.innerText");
                panic!("not within the deadline: {expression}\n{page}");
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Waits until the page shows a text in its messages.
    #[track_caller]
    pub fn wait_for_line(&mut self, text: &str) {
        self.wait_for(&format!("document.getElementById('log').textContent.includes({})", json!(text)));
    }

    /// Waits until the status says a text.
    #[track_caller]
    pub fn wait_for_status(&mut self, text: &str) {
        self.wait_for(&format!("document.getElementById('status').textContent.includes({})", json!(text)));
    }

    /// Types text where the focus is.
    pub fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", &json!({ "text": text }));
    }

    /// Presses a key where the focus is: `Enter`, `Tab`, `ArrowUp` and others.
    pub fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            "ArrowUp" => (38, ""),
            "Escape" => (27, ""),
            " " => (32, " "),
            other => panic!("{other} has no code here"),
        };
        let down = if text.is_empty() { "rawKeyDown" } else { "keyDown" };
        for kind in [down, "keyUp"] {
            let mut event = json!({ "type": kind, "key": key, "windowsVirtualKeyCode": code });
            if kind == "keyDown" {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    /// Joins through the form.
    #[track_caller]
    pub fn join(&mut self, room: &str, name: &str) {
        let script = "(room, name) => { const set = (id, value) => { document.getElementById(id).value = value; }; \
                      set('room', room); set('name', name); document.getElementById('join').requestSubmit(); }";
        self.evaluate(&format!("({script})({}, {})", json!(room), json!(name)));
        self.wait_for_status("connected");
    }

    /// Says a line through the form.
    pub fn say(&mut self, text: &str) {
        let script = "(text) => { document.getElementById('text').value = text; \
                      document.getElementById('say').requestSubmit(); }";
        self.evaluate(&format!("({script})({})", json!(text)));
    }

    /// Returns the texts of the messages.
    pub fn lines(&mut self) -> Vec<String> {
        let texts =
            self.evaluate("[...document.querySelectorAll('#log p')].map((line) => line.firstChild.textContent)");
        texts.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    }

    /// Gives the page the size of a screen.
    pub fn resize(&mut self, width: u32, height: u32, is_phone: bool) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone });
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Shows the page as on a system with dark colors, or with light ones.
    pub fn set_dark(&mut self, is_dark: bool) {
        let value = if is_dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.call("Emulation.setEmulatedMedia", &media);
    }

    /// Writes a picture of the page, as PNG.
    pub fn write_screenshot(&mut self, file: &Path) {
        let data = self.call("Page.captureScreenshot", &json!({ "format": "png", "optimizeForSpeed": false }));
        let bytes = data_encoding::BASE64.decode(data["data"].as_str().unwrap().as_bytes()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }
}
