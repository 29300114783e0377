// One polite live region for the whole page: what a screen reader hears when something happens elsewhere.
let region = null;
let timer = 0;

/** Sets the element that is read out. */
export function setRegion(element) {
  region = element;
}

/** Has a text read out. */
export function announce(text) {
  if (region === null) return;
  clearTimeout(timer);
  region.textContent = "";
  // An equal text is read again only if the region was empty in between.
  timer = setTimeout(() => {
    if (region !== null) region.textContent = text;
  }, 60);
}
