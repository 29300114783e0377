// Runs before the first paint, so that a chosen theme does not flash. Not a module: modules run later.
(() => {
  try {
    const theme = localStorage.getItem("papertune.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Without storage the system's theme stays.
  }
})();
