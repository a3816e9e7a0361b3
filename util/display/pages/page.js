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
// What one may want to bookmark stands in the address, as in index.html#epoch=12; what is open
// and what is closed is in the memory of the tab, which browsers may refuse.

function inAddress(name) {
  return new URLSearchParams(location.hash.slice(1)).get(name);
}

function putInAddress(name, value) {
  const parts = new URLSearchParams(location.hash.slice(1));
  if (value === null) parts.delete(name);
  else parts.set(name, value);
  const text = parts.toString();
  history.replaceState(null, "", text ? "#" + text : location.pathname + location.search);
}

function recall(name) {
  try { return sessionStorage.getItem(location.pathname + " " + name); }
  catch { return null; }
}

function remember(name, value) {
  try { sessionStorage.setItem(location.pathname + " " + name, value); }
  catch { /* then it is forgotten when the page reloads */ }
}

for (const part of document.querySelectorAll("details[id]")) {
  const was = recall(part.id);
  if (was !== null) part.open = was === "open";
  part.addEventListener("toggle", () => remember(part.id, part.open ? "open" : "closed"));
}

// ---- the place -------------------------------------------------------------------------------
// The list grows at its top, so the place is remembered as a part of the page and the distance to
// it. A browser that remembers nothing for us goes back to the same number of pixels by itself.

function parts() {
  const open = "details[id], #timeline, details[open] section[data-epoch]";
  return [...document.querySelectorAll(open)];
}

function nameOf(part) {
  return part.id || part.dataset.epoch;
}

addEventListener("pagehide", () => {
  const above = parts().filter((part) => part.getBoundingClientRect().top <= 0).at(-1);
  remember("place", above ? `${nameOf(above)} ${above.getBoundingClientRect().top}` : "");
});

addEventListener("DOMContentLoaded", () => {
  const [name, top] = (recall("place") ?? "").split(" ");
  const part = parts().find((part) => nameOf(part) === name);
  if (!part) return;
  history.scrollRestoration = "manual";
  scrollBy({ top: part.getBoundingClientRect().top - Number(top), behavior: "instant" });
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
