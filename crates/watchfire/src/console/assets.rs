//! The page: its files are part of the program.

/// A file of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asset {
    pub(super) kind: &'static str,
    pub(super) text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

macro_rules! asset {
    ($kind:expr, $file:literal) => {
        Asset { kind: $kind, text: include_str!(concat!("page/", $file)) }
    };
}

/// The page itself.
pub(super) const PAGE: Asset = asset!(HTML, "index.html");
/// Where the token is asked for.
pub(super) const LOGIN: Asset = asset!(HTML, "login.html");

/// The file of a path below `/assets/`.
pub(super) fn find(name: &str) -> Option<Asset> {
    Some(match name {
        "style.css" => asset!(STYLE, "style.css"),
        "icon.svg" => asset!("image/svg+xml", "icon.svg"),
        "theme.js" => asset!(SCRIPT, "theme.js"),
        "app.js" => asset!(SCRIPT, "app.js"),
        "feed.js" => asset!(SCRIPT, "feed.js"),
        "text.js" => asset!(SCRIPT, "text.js"),
        "parts.js" => asset!(SCRIPT, "parts.js"),
        "alerts.js" => asset!(SCRIPT, "alerts.js"),
        "detail.js" => asset!(SCRIPT, "detail.js"),
        "overview.js" => asset!(SCRIPT, "overview.js"),
        "panels.js" => asset!(SCRIPT, "panels.js"),
        "vendor/preact.mjs" => asset!(SCRIPT, "vendor/preact.mjs"),
        "vendor/hooks.mjs" => asset!(SCRIPT, "vendor/hooks.mjs"),
        "vendor/LICENSE" => asset!("text/plain; charset=utf-8", "vendor/LICENSE"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What our own files may not do: write markup, run text, reach out, or bring script and style that the policy forbids.
    #[test]
    fn the_page_needs_nothing_from_elsewhere_and_makes_no_markup_of_text() {
        let own = [
            "theme.js",
            "app.js",
            "feed.js",
            "text.js",
            "parts.js",
            "alerts.js",
            "detail.js",
            "overview.js",
            "panels.js",
        ];
        for name in own {
            let text = find(name).unwrap().text;
            for bad in [
                "innerHTML",
                "outerHTML",
                "insertAdjacent",
                "document.write",
                "eval(",
                "Function(",
                "http://",
                "https://",
                "localStorage.setItem(\"token",
            ] {
                assert!(!text.contains(bad), "{bad} in {name}");
            }
        }
        for page in [PAGE, LOGIN] {
            for bad in ["<style", " style=", " onclick", " onload", "<script>", "http://", "https://"] {
                assert!(!page.text.contains(bad), "{bad}");
            }
        }
        // Every import and every file that a page names is served.
        let named = own.iter().map(|name| find(name).unwrap().text).chain([PAGE.text, LOGIN.text]);
        for text in named {
            for part in
                text.split('"').filter(|part| part.ends_with(".js") || part.ends_with(".mjs") || part.ends_with(".css"))
            {
                let name = part.trim_start_matches("./").trim_start_matches("/assets/");
                assert!(find(name).is_some(), "{part} is not served");
            }
        }
        assert!(find("../mod.rs").is_none() && find("").is_none());
    }
}
