//! Themes, narrow windows, the keyboard, and the login.

use super::browser::Browser;
use super::{Feeding, Site, alert, managed, managed_at};

const VIEWS: [(&str, &str); 7] = [
    ("/#/", "Overview"),
    ("/#/alerts", "Alerts"),
    ("/#/sensors", "Sensors"),
    ("/#/broker", "Broker"),
    ("/#/reputations", "Reputations"),
    ("/#/dots", "DOTS"),
    ("/#/certificates", "Certificates"),
];

/// The least contrast (WCAG 2) of all text that is seen against what is behind it.
const CONTRAST: &str = "const light = (color) => { const [r, g, b] = color.match(/[\\d.]+/g).map(Number).map(v => v / 255) \
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; }; \
    const behind = (one) => { for (; one; one = one.parentElement) { const color = getComputedStyle(one).backgroundColor; \
        if (color.startsWith('rgb(')) return color; } return 'rgb(255, 255, 255)'; }; \
    const texts = [...document.querySelectorAll('body *')].filter(one => one.checkVisibility() && !one.closest('.skip, .unseen, svg, :disabled') \
        && [...one.childNodes].some(child => child.nodeType === 3 && child.data.trim())); \
    const ratios = texts.map(one => { const [a, b] = [light(getComputedStyle(one).color), light(behind(one))].sort((x, y) => y - x); \
        return { ratio: (a + 0.05) / (b + 0.05), text: one.textContent.slice(0, 40) }; }); \
    return ratios.sort((x, y) => x.ratio - y.ratio)[0];";

#[tokio::test]
async fn both_themes_are_legible_and_the_choice_stays() {
    let managed = managed(&[]);
    let Some(browser) = Browser::start("themes", &managed.console).await else { return };
    let feeding = Feeding::start(&managed);
    for severity in ["info", "low", "medium", "high"] {
        feeding.send(&alert(severity, severity, severity, "192.0.2.1", "198.51.100.1"));
    }
    let ground = "return getComputedStyle(document.body).backgroundColor";
    let mut grounds = Vec::new();
    for (system, theme) in [("light", "auto"), ("dark", "auto"), ("light", "dark"), ("dark", "light")] {
        browser.prefer(system).await;
        browser.open("/#/alerts").await;
        browser.until("document.querySelectorAll('tbody tr').length === 4").await;
        browser.choose("#theme", theme).await;
        grounds.push(browser.js(ground).await.as_str().unwrap().to_owned());
        for (path, title) in VIEWS {
            browser.open(path).await;
            browser.until(&format!("document.querySelector('h1')?.innerText === {title:?}")).await;
            browser.until("document.querySelector('.empty, table, .tiles')").await;
            let least = browser.js(CONTRAST).await;
            assert!(least["ratio"].as_f64().unwrap() >= 4.5, "{system}, {theme}, {path}: {least}");
        }
        // It is remembered.
        browser.js("location.reload()").await;
        browser.until("document.querySelector('#theme')").await;
        assert_eq!(browser.js("return document.querySelector('#theme').value").await, theme);
        assert_eq!(browser.js(ground).await, *grounds.last().unwrap());
    }
    assert_eq!((&grounds[0], &grounds[1]), (&grounds[3], &grounds[2]), "the choice counts more than the system");
    assert_ne!(grounds[0], grounds[1]);
    browser.end().await;
}

#[tokio::test]
async fn a_narrow_window_needs_no_scrolling_sideways() {
    let managed = managed(&[]);
    let Some(browser) = Browser::start("narrow windows", &managed.console).await else { return };
    let feeding = Feeding::start(&managed);
    feeding.send(&alert(
        "a",
        "a rather long classification of what was seen here",
        "high",
        "2001:db8:1:2:3:4:5:6",
        "192.0.2.1",
    ));
    browser.size(360, 740).await;
    browser.open("/#/alerts").await;
    browser.until("document.querySelector('tbody tr')").await;
    for (path, title) in VIEWS {
        browser.open(path).await;
        browser.until(&format!("document.querySelector('h1')?.innerText === {title:?}")).await;
        browser.until("document.querySelector('.empty, table, .tiles')").await;
        let widest = "const most = document.documentElement.clientWidth; return [document.documentElement.scrollWidth - most, \
            [...document.querySelectorAll('main *, header *')].filter(one => one.checkVisibility() && !one.closest('.unseen, thead, .skip') && one.getBoundingClientRect().right > most + 1).map(one => one.className || one.tagName)]";
        let widest = browser.js(widest).await;
        assert_eq!(widest, serde_json::json!([0, []]), "{path}");
    }
    browser.end().await;
}

#[tokio::test]
async fn the_keyboard_is_enough() {
    let managed = managed(&[]);
    let Some(browser) = Browser::start("the keyboard", &managed.console).await else { return };
    let feeding = Feeding::start(&managed);
    feeding.send(&alert("a", "seen by keyboard", "high", "192.0.2.1", "198.51.100.1"));
    browser.open("/").await;
    browser.until("document.querySelector('tbody tr')").await;
    const TAB: &str = "\u{e004}";
    const ENTER: &str = "\u{e007}";
    let focused = "return (document.activeElement.innerText || document.activeElement.id || document.activeElement.tagName).trim()";
    browser.press(TAB).await;
    assert_eq!(browser.js(focused).await, "Skip to the content");
    // It slides in.
    browser.until("document.activeElement.getBoundingClientRect().top >= 0").await;
    browser.press(ENTER).await;
    assert_eq!(browser.js("return document.activeElement.id").await, "main");
    // Back to the top, and along the navigation.
    browser.open("/#/sensors").await;
    browser.until("document.querySelector('h1')?.innerText === 'Sensors'").await;
    browser.js("document.activeElement.blur(); document.querySelector('.brand').focus()").await;
    browser.press(TAB).await;
    browser.press(TAB).await;
    assert_eq!(browser.js(focused).await, "Alerts");
    let outline = "const style = getComputedStyle(document.activeElement); return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2";
    assert_eq!(browser.js(outline).await, true, "the focus is seen");
    browser.press(ENTER).await;
    browser.until("document.activeElement.tagName === 'H1' && document.activeElement.innerText === 'Alerts'").await;
    browser.until("document.querySelector('td a.title')").await;
    // Everything that can be used is reached, in the order in which it stands, and has a name.
    let mut reached = Vec::new();
    for _ in 0..30 {
        browser.press(TAB).await;
        let name = "const one = document.activeElement; return one.labels?.[0]?.innerText || one.getAttribute('aria-label') || one.innerText || one.tagName";
        reached.push(browser.js(name).await.as_str().unwrap().to_owned());
        if reached.last().is_some_and(|name| name == "seen by keyboard") {
            break;
        }
    }
    for name in ["Pause", "Text", "Source", "Target", "Sensor", "Severity", "Time", "Alerts", "seen by keyboard"] {
        assert!(reached.iter().any(|found| found == name), "{name}: {reached:?}");
    }
    browser.press(ENTER).await;
    browser.until("document.activeElement.tagName === 'H1' && document.activeElement.innerText === 'Alert'").await;
    // Landmarks and tables say what they are.
    browser.open("/#/alerts").await;
    browser.until("document.querySelector('tbody tr')").await;
    let marked = "return [document.querySelectorAll('main').length, document.querySelectorAll('nav[aria-label]').length, document.querySelectorAll('header').length, \
        document.querySelectorAll('h1').length, document.querySelectorAll('th:not([scope])').length, document.documentElement.lang, \
        document.querySelector('[aria-live=polite]') !== null, document.querySelector('svg[role=img]').getAttribute('aria-label').includes('1 alert'), \
        [...document.querySelectorAll('input, select, button')].filter(one => !one.labels?.length && !one.innerText && !one.ariaLabel).length]";
    assert_eq!(browser.js(marked).await, serde_json::json!([1, 1, 1, 1, 0, "en", true, true, 0]));
    browser.end().await;
}

#[tokio::test]
async fn a_token_lets_in_and_nothing_else_does() {
    let site = Site::new();
    let token = site.write("token", "0123456789abcdef0123456789abcdef\n");
    let managed = managed_at(site, &["--console-token-file", &token]);
    let Some(browser) = Browser::start("the login", &managed.console).await else { return };
    browser.open("/").await;
    browser.until("location.pathname === '/login' && document.querySelector('#token')").await;
    for (tried, inside) in [("not the token at all", false), ("0123456789abcdef0123456789abcdef", true)] {
        browser.fill("#token", tried).await;
        browser.press("\u{e007}").await;
        if inside {
            browser.until("document.querySelector('h1')?.innerText === 'Overview'").await;
        } else {
            browser.until("location.search === '?wrong' && !document.querySelector('#wrong').hidden").await;
        }
    }
    browser.until("document.querySelector('#state')?.innerText === 'Live'").await;
    assert_eq!(
        browser.js("return [location.href.includes('0123456789abcdef'), document.cookie]").await,
        serde_json::json!([false, ""])
    );
    browser.until("document.querySelector('form[action=\"/logout\"] button')").await;
    browser.click("form[action=\"/logout\"] button").await;
    browser.until("location.pathname === '/login'").await;
    browser.open("/").await;
    browser.until("location.pathname === '/login'").await;
    browser.end().await;
}
