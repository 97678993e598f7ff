//! Chromium, driven over WebDriver.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thirtyfour::{ChromiumLikeCapabilities as _, DesiredCapabilities, LoggingPrefsLogLevel, WebDriver};
use watchfire_tests::{PATIENCE, skip};

/// A browser of its own, which ends with the test.
#[derive(Debug)]
pub(crate) struct Browser {
    driver: WebDriver,
    process: Child,
    origin: String,
}

impl Browser {
    /// Starts one for the console at this address; none, said loudly, where there is no Chromium.
    pub(crate) async fn start(test: &str, address: &str) -> Option<Self> {
        let is_there = |program: &str| {
            let asked = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            asked.is_ok_and(|status| status.success())
        };
        if !is_there("chromedriver") || !is_there("chromium") {
            skip(test, "the packages chromium and chromium-driver are not installed");
            return None;
        }
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver can be started");
        let mut lines = BufReader::new(process.stdout.take().expect("it is a pipe")).lines().map_while(Result::ok);
        let said = lines.find_map(|line| line.split("successfully on port ").nth(1).map(str::to_owned));
        let port = said.expect("chromedriver says its port");
        std::thread::spawn(move || lines.for_each(drop));
        let mut wanted = DesiredCapabilities::chrome();
        // In a container there are no namespaces left for Chromium's own walls, and little shared memory.
        for flag in ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--lang=en"] {
            wanted.add_arg(flag).unwrap();
        }
        wanted.set_browser_log_level(LoggingPrefsLogLevel::All).unwrap();
        let url = format!("http://127.0.0.1:{}", port.trim().trim_end_matches('.'));
        let driver = WebDriver::new(url, wanted).await.expect("Chromium starts");
        let this = Self { driver, process, origin: format!("http://{address}") };
        this.size(1280, 900).await;
        Some(this)
    }

    /// Opens a path of the console.
    pub(crate) async fn open(&self, path: &str) {
        self.driver.goto(format!("{}{path}", self.origin)).await.unwrap();
    }

    /// What JavaScript in the page gives.
    pub(crate) async fn js(&self, script: &str) -> Value {
        self.driver.execute(script, Vec::new()).await.unwrap_or_else(|error| panic!("{script}: {error}")).json().clone()
    }

    /// Waits until an expression is true.
    pub(crate) async fn until(&self, expression: &str) {
        let began = Instant::now();
        while self.js(&format!("return Boolean({expression})")).await != true {
            if began.elapsed() > PATIENCE {
                let page = self.js("return document.body.innerText").await;
                panic!("never: {expression}\n{}", page.as_str().unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// All text that a selector finds.
    pub(crate) async fn text(&self, selector: &str) -> String {
        let script =
            format!("return [...document.querySelectorAll({selector:?})].map(one => one.innerText).join('\\n')");
        self.js(&script).await.as_str().unwrap().to_owned()
    }

    /// Presses keys, as a person would, wherever the focus is.
    pub(crate) async fn press(&self, keys: &str) {
        self.driver.action_chain().send_keys(keys).perform().await.unwrap();
    }

    /// Types into a field, in place of what it holds.
    pub(crate) async fn fill(&self, selector: &str, text: &str) {
        self.js(&format!("const field = document.querySelector({selector:?}); field.focus(); field.select()")).await;
        self.press(if text.is_empty() { "\u{e017}" } else { text }).await;
    }

    /// Chooses an entry of a list.
    pub(crate) async fn choose(&self, selector: &str, value: &str) {
        let script = format!(
            "const list = document.querySelector({selector:?}); list.value = {value:?}; \
             list.dispatchEvent(new Event('change', {{ bubbles: true }})); return list.value"
        );
        assert_eq!(self.js(&script).await, value);
    }

    /// Clicks what a selector finds first.
    pub(crate) async fn click(&self, selector: &str) {
        self.js(&format!("document.querySelector({selector:?}).click()")).await;
    }

    /// Makes the window so large, also narrower than windows of a desktop can be.
    pub(crate) async fn size(&self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Makes the system prefer a scheme: `light` or `dark`.
    pub(crate) async fn prefer(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    async fn devtools(&self, command: &str, parameters: Value) {
        self.driver.cdp().send_raw(command, parameters).await.unwrap();
    }

    /// Ends it, after a look at what it wrote to its console: that must be nothing.
    pub(crate) async fn end(self) {
        self.is_quiet().await;
        self.quit().await;
    }

    /// Looks at what it wrote to its console since the last look: that must be nothing.
    pub(crate) async fn is_quiet(&self) {
        let log = self.driver.browser_log().await.unwrap();
        let log: Vec<String> = log.iter().map(|entry| format!("{}: {}", entry.level, entry.message)).collect();
        assert!(log.is_empty(), "the browser's console is not empty: {log:#?}");
    }

    /// Ends it.
    pub(crate) async fn quit(mut self) {
        let _ = self.driver.clone().quit().await;
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium ends with the one that drives it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
