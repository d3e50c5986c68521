//! A headless Chromium with one page, driven by the DevTools protocol over a pair of pipes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::namespace::{Namespace, cannot_run};
use crate::wait::PAUSE;

/// How long it may take to start, to answer, to show what is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take to end.
const GRACE: Duration = Duration::from_secs(5);
/// Chromium reads commands on descriptor 3 and answers on 4; they are our pipes to its input and output.
const SCRIPT: &str = "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1";
const ARGUMENTS: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
    "about:blank",
];

/// A browser with one page, inside a namespace; dropping it ends it.
#[derive(Debug)]
pub struct Chromium {
    child: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    last: u64,
    events: Vec<Value>,
    _profile: TempDir,
}

impl Chromium {
    /// Starts a browser with an empty page of 1280 by 800.
    ///
    /// # Errors
    /// When Chromium is missing or does not start.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let profile = TempDir::new().context("cannot create a temporary folder")?;
        let mut command = namespace.command("sh");
        command.args(["-c", SCRIPT, "sh"]).args(ARGUMENTS);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| cannot_run(&command))?;
        let (Some(commands), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("Chromium has no pipes");
        };
        let (send, messages) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(answers).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message);
                if message.map(|message| send.send(message)).is_err() {
                    break;
                }
            }
        });
        let mut browser = Self {
            child,
            commands,
            messages,
            session: None,
            last: 0,
            events: Vec::new(),
            _profile: profile,
        };
        let page = browser.call("Target.createTarget", &json!({ "url": "about:blank" }))?;
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", &attach)?;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Accessibility", "Log", "Network", "Page", "Runtime"] {
            browser.call(&format!("{domain}.enable"), &json!({}))?;
        }
        browser.size(1280, 800)?;
        Ok(browser)
    }

    /// Has the protocol's `method` carried out.
    ///
    /// # Errors
    /// When it is refused, or the browser has ended.
    pub fn call(&mut self, method: &str, parameters: &Value) -> Result<Value> {
        self.last += 1;
        let mut command = json!({ "id": self.last, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        let mut text = command.to_string().into_bytes();
        text.push(0);
        self.commands.write_all(&text).context("Chromium (apt: chromium) does not run")?;
        loop {
            let message = self
                .messages
                .recv_timeout(PATIENCE)
                .with_context(|| format!("Chromium (apt: chromium) does not answer {method}"))?;
            if message["id"] != self.last {
                self.events.push(message);
                continue;
            }
            ensure!(message["error"].is_null(), "{method}: {}", message["error"]);
            return Ok(message["result"].clone());
        }
    }

    /// Makes the page so many pixels wide and high.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn size(&mut self, width: u32, height: u32) -> Result<()> {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", &size).map(drop)
    }

    /// Has the page take the user to like `light` or `dark`.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn colours(&mut self, scheme: &str) -> Result<()> {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", &json!({ "features": features })).map(drop)
    }

    /// Goes to a page; what was noted of the one before is forgotten.
    ///
    /// # Errors
    /// When nothing answers there.
    pub fn open(&mut self, url: &str) -> Result<()> {
        self.call("Page.navigate", &json!({ "url": "about:blank" }))?;
        self.take_events();
        self.events.clear();
        let opened = self.call("Page.navigate", &json!({ "url": url }))?;
        ensure!(opened["errorText"].is_null(), "{url}: {}", opened["errorText"]);
        Ok(())
    }

    /// What an expression of JavaScript comes to, once it is settled if it is a promise.
    ///
    /// # Errors
    /// When it throws.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let asked =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.call("Runtime.evaluate", &asked)?;
        ensure!(answer["exceptionDetails"].is_null(), "{}", answer["exceptionDetails"]);
        Ok(answer["result"]["value"].take())
    }

    /// Waits until what an expression comes to satisfies `condition`, and returns that.
    ///
    /// # Errors
    /// When it does not within 30 seconds; the error has what it came to last.
    pub fn wait(
        &mut self,
        what: &str,
        expression: &str,
        condition: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let start = Instant::now();
        loop {
            // A page that is just being opened has nothing yet.
            let found = self.evaluate(expression);
            match found {
                Ok(value) if condition(&value) => return Ok(value),
                found if start.elapsed() > PATIENCE => {
                    bail!("waited in vain until {what}; the last was {found:?}")
                }
                _ => std::thread::sleep(PAUSE),
            }
        }
    }

    /// Presses a key and lets it go: `Tab`, `Enter`, `ArrowRight`, `ArrowLeft`, `Home` or `End`.
    ///
    /// # Errors
    /// When it is another key, and as [`Self::call`].
    pub fn press(&mut self, key: &str) -> Result<()> {
        let keys = [
            ("Tab", 9),
            ("Enter", 13),
            ("End", 35),
            ("Home", 36),
            ("ArrowLeft", 37),
            ("ArrowRight", 39),
        ];
        let known = keys.iter().find(|(name, _)| *name == key);
        let (_, code) = known.with_context(|| format!("no key {key}"))?;
        let mut event =
            json!({ "type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code });
        if key == "Enter" {
            event["text"] = json!("\r");
        }
        self.call("Input.dispatchKeyEvent", &event)?;
        event["type"] = json!("keyUp");
        self.call("Input.dispatchKeyEvent", &event).map(drop)
    }

    /// Types text where the focus is.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn type_text(&mut self, text: &str) -> Result<()> {
        self.call("Input.insertText", &json!({ "text": text })).map(drop)
    }

    /// A picture of what is to be seen, as PNG in base64.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn picture(&mut self) -> Result<String> {
        let picture = self.call("Page.captureScreenshot", &json!({ "format": "png" }))?;
        picture["data"].as_str().map(str::to_owned).context("no picture")
    }

    /// What the browser had to complain of since the page was opened: exceptions, errors on the console, violations of
    /// the page's policy.
    pub fn complaints(&mut self) -> Vec<Value> {
        self.take_events();
        let is_complaint = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => {
                ["error", "warning", "assert"].iter().any(|kind| event["params"]["type"] == *kind)
            }
            Some("Log.entryAdded") => event["params"]["entry"]["level"] != "info",
            _ => false,
        };
        self.events.iter().filter(is_complaint).cloned().collect()
    }

    /// What the page has asked for since it was opened, by URL.
    pub fn requests(&mut self) -> Vec<String> {
        self.take_events();
        let sent =
            self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.filter_map(|event| event["params"]["request"]["url"].as_str().map(str::to_owned))
            .collect()
    }

    fn take_events(&mut self) {
        self.events.extend(self.messages.try_iter());
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        self.session = None;
        let _ = self.call("Browser.close", &json!({}));
        let start = Instant::now();
        // Its pipe ends when it does.
        while start.elapsed() < GRACE
            && !matches!(self.messages.recv_timeout(PAUSE), Err(RecvTimeoutError::Disconnected))
        {
        }
        if let (Ok(None), Ok(pid)) = (self.child.try_wait(), i32::try_from(self.child.id())) {
            // A process group of its own: whatever it has started and not ended.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}
