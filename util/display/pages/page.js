// Both kinds of pages: what survives a reload, and a reload that disturbs nobody.
// Nothing is loaded from anywhere. Without scripts the pages are plain lists of images.
"use strict";

// Make an element: make("p", { className: "x" }, "text", child, ...).
function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// ---- what is remembered --------------------------------------------------------------------
// What one may want to bookmark stands in the address, as in index.html#epoch=12; the rest, as what
// is open and what is closed, beside it in the history of the tab. Not in sessionStorage: a busy
// Chromium that reloads in another process finds there what was written before the last page.

function inAddress(name) {
  return new URLSearchParams(location.hash.slice(1)).get(name);
}

function putInAddress(name, value) {
  const parts = new URLSearchParams(location.hash.slice(1));
  if (value === null) parts.delete(name);
  else parts.set(name, value);
  const text = parts.toString();
  history.replaceState(history.state, "", text ? "#" + text : location.pathname + location.search);
}

function recall(name) {
  return history.state?.[name];
}

function remember(name, value) {
  history.replaceState({ ...history.state, [name]: value }, "");
}

for (const part of document.querySelectorAll("details[id]")) {
  part.open = recall(part.id) ?? part.open;
  part.addEventListener("toggle", () => remember(part.id, part.open));
}

// ---- the place -------------------------------------------------------------------------------
// The list grows at its top, so the place is remembered as a part of the page and the distance to
// it, instead of the number of pixels that browsers go back to by themselves.

function parts() {
  const open = "details[id], #timeline, details[open] section[data-epoch]";
  return [...document.querySelectorAll(open)];
}

function nameOf(part) {
  return part.id || part.dataset.epoch;
}

function keepPlace() {
  const above = parts().filter((part) => part.getBoundingClientRect().top <= 0).at(-1);
  remember("place", above && { name: nameOf(above), top: above.getBoundingClientRect().top });
}

function findPlace() {
  const place = recall("place");
  const part = parts().find((part) => nameOf(part) === place?.name);
  if (!part) return;
  history.scrollRestoration = "manual";
  scrollBy({ top: part.getBoundingClientRect().top - place.top, behavior: "instant" });
}

addEventListener("DOMContentLoaded", () => {
  findPlace();
  addEventListener("beforeunload", keepPlace); // of a page that ends before, nothing is known
});

// ---- reloading -------------------------------------------------------------------------------
// While training, the page reloads every second (without scripts: by the <meta> in its head), but
// not while somebody is doing something with it, and not in a tab that nobody sees.

const QUIET = 2000; // milliseconds without a touch after which the page may reload
const READING = 15000; // the same while a text is selected, the mouse rests on a curve, a button
// of it is held, or the keyboard has led to something

function watchForChanges(seconds) {
  const loaded = Date.now();
  let touched = 0;
  let pressed = false; // a button of the mouse, or a finger
  const touch = (event) => {
    touched = Date.now();
    // What the event says of the buttons: one may have been let go outside of the window.
    if (event.type.startsWith("pointer")) pressed = event.buttons > 0;
  };
  for (const kind of ["pointerdown", "pointermove", "pointerup", "pointercancel", "wheel",
    "touchmove", "keydown", "input"]) {
    addEventListener(kind, touch, { capture: true, passive: true });
  }
  // What scrolls right after a reload goes back to the old place; what comes later is the user.
  addEventListener("scroll", (event) => { if (Date.now() - loaded > 500) touch(event); }, true);

  function isBusy() {
    if (document.hidden || document.querySelector("[data-playing], dialog[open]")) return true;
    const reads = pressed || !getSelection().isCollapsed
      || document.querySelector(".curve:hover, :focus-visible");
    return Date.now() - touched < (reads ? READING : QUIET);
  }
  setInterval(() => { if (!isBusy()) location.reload(); }, seconds * 1000);
}

const seconds = Number(document.body.dataset.refresh);
if (seconds > 0) watchForChanges(seconds);
