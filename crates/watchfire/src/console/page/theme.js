// Before anything is drawn: the theme that was chosen here, if any. Else the system's counts.
(() => {
  const key = "watchfire-theme";
  const read = () => {
    try { return localStorage.getItem(key); } catch { return null; }
  };
  const apply = (theme) => {
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  };
  apply(read());
  globalThis.watchfireTheme = {
    get: () => document.documentElement.dataset.theme ?? "auto",
    set: (theme) => {
      apply(theme);
      // Without storage the choice lasts as long as the page.
      try { localStorage.setItem(key, theme); } catch { /* as said */ }
    },
  };
  // The page that asks for the token says so when the last one was wrong.
  addEventListener("DOMContentLoaded", () => {
    const wrong = document.getElementById("wrong");
    if (wrong && location.search === "?wrong") wrong.hidden = false;
  });
})();
