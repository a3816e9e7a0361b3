// The training page: a slider over the epochs, and values under the mouse.

// Make an element: make("p", { className: "x" }, "text", child, ...).
function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// ---- the slider ----------------------------------------------------------------------------
// It shows what the list below the slider holds, one epoch at a time. A user who has not moved it
// sees the newest epoch; one who has finds his epoch in the address and keeps it.

function timeline() {
  const list = document.getElementById("epochs");
  const sections = [...document.querySelectorAll("section[data-epoch]")]
    .filter((section) => section.querySelector("img, a")).reverse(); // the oldest first
  if (!sections.length) return;
  const numbers = sections.map((section) => Number(section.dataset.epoch));

  const slider = make("input", { type: "range", min: 0, max: sections.length - 1 });
  slider.setAttribute("aria-label", "epoch");
  const shown = make("output");
  const play = make("button", { type: "button", textContent: "play" });
  const newest = make("button", { type: "button", textContent: "follow the newest" });
  const strip = make("div", { className: "strip" });
  const title = make("h2");
  const values = make("div", { className: "numbers" });
  const sheet = make("a", {}, make("img"));
  const validation = make("div", {}, title, values, make("div", { className: "sheet" }, sheet));
  const both = make("div", { className: "both" },
    make("div", {}, make("h2", {}, "Training images"), strip), validation);
  const part = make("div", { id: "timeline" },
    make("div", { className: "controls" }, shown, slider, play, newest), both);
  list.before(part);

  let current = -1;

  function show(position) {
    current = Math.max(0, Math.min(sections.length - 1, position));
    slider.value = current;
    shown.textContent = `epoch ${numbers[current]} of ${numbers[numbers.length - 1]}`;
    slider.setAttribute("aria-valuetext", shown.textContent);
    newest.hidden = inAddress("epoch") === null;
    showImages(sections[current]);
    showValidation();
    for (const near of [current - 1, current + 1, current + 2]) preload(sections[near]);
  }

  function showImages(section) {
    const images = [...section.querySelectorAll("td img")];
    both.style.setProperty("--n", Math.max(1, images.length));
    while (strip.childElementCount > images.length) strip.lastElementChild.remove();
    images.forEach((image, index) => {
      if (!strip.children[index]) {
        strip.append(make("figure", {}, make("a", {}, make("img")), make("figcaption")));
      }
      const [link, caption] = strip.children[index].children;
      fill(link, image.getAttribute("src"), image.alt);
      link.firstChild.width = image.getAttribute("width");
      link.firstChild.height = image.getAttribute("height");
      caption.textContent = image.alt;
    });
  }

  // Not every epoch is validated: else what the last one before it brought is shown.
  function showValidation() {
    let from = current;
    while (from > 0 && !sheetOf(sections[from]) && !numbersOf(sections[from])) from -= 1;
    const link = sheetOf(sections[from]);
    const given = numbersOf(sections[from]);
    validation.hidden = !link && !given;
    sheet.hidden = !link;
    title.textContent = from === current ? "Validation" : `Validation of epoch ${numbers[from]}`;
    values.replaceChildren(...(given?.cloneNode(true).childNodes ?? []));
    if (!link) return;
    sheet.firstChild.width = link.dataset.width;
    sheet.firstChild.height = link.dataset.height;
    fill(sheet, link.getAttribute("href"), title.textContent);
  }

  function numbersOf(section) {
    return section.querySelector(".numbers");
  }

  function sheetOf(section) {
    return section.querySelector(":scope > a");
  }

  function fill(link, file, meaning) {
    link.href = file;
    if (link.firstChild.getAttribute("src") !== file) link.firstChild.src = file;
    link.firstChild.alt = meaning;
  }

  // The browser keeps what it has loaded, so that the next step of the slider shows at once.
  function preload(section) {
    if (!section) return;
    const files = [...section.querySelectorAll("td img")].map((img) => img.getAttribute("src"));
    if (sheetOf(section)) files.push(sheetOf(section).getAttribute("href"));
    for (const file of files) new Image().src = file;
  }

  function move(position) {
    const bounded = Math.max(0, Math.min(sections.length - 1, position));
    putInAddress("epoch", numbers[bounded]);
    show(bounded);
  }

  function fromAddress() {
    const wanted = inAddress("epoch");
    if (wanted === null) return sections.length - 1;
    let position = 0;
    while (position + 1 < numbers.length && numbers[position + 1] <= Number(wanted)) position += 1;
    return position;
  }

  let timer = null;
  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "play";
    delete part.dataset.playing;
  }
  function start() {
    if (current === sections.length - 1) move(0);
    play.textContent = "stop";
    part.dataset.playing = "";
    timer = setInterval(() => {
      if (current < sections.length - 1) move(current + 1);
      if (current === sections.length - 1) stop();
    }, 300);
  }

  slider.addEventListener("input", () => { stop(); move(Number(slider.value)); });
  play.addEventListener("click", () => (timer ? stop() : start()));
  newest.addEventListener("click", () => {
    stop();
    putInAddress("epoch", null);
    show(sections.length - 1);
  });
  addEventListener("hashchange", () => show(fromAddress()));
  addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const elsewhere = event.target.closest?.("input, select, textarea");
    if (!step || elsewhere || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault(); // else the page would scroll sideways
    stop();
    move(current + step);
  });
  show(fromAddress());
}

// ---- values under the mouse ------------------------------------------------------------------
// Each curve says where its plot lies and what its sides mean; each line in it has a name.

function readings() {
  const box = make("div", { id: "reading", hidden: true });
  document.body.append(box);
  for (const curve of document.querySelectorAll(".curve")) {
    const [left, right, top, bottom] = curve.dataset.plot.split(" ").map(Number);
    const [first, last] = curve.dataset.x.split(" ").map(Number);
    const [low, high, kind] = curve.dataset.y.split(" ");
    const mark = document.createElementNS(curve.namespaceURI, "path");
    mark.setAttribute("stroke", "currentColor");
    mark.setAttribute("stroke-opacity", "0.5");
    curve.append(mark);

    const valueAt = (y) => {
      const share = (bottom - y) / (bottom - top);
      if (kind === "log") return low * (high / low) ** share;
      return Number(low) + share * (high - low);
    };

    curve.addEventListener("pointermove", (event) => {
      const frame = curve.getBoundingClientRect();
      const wanted = (event.clientX - frame.left) * curve.viewBox.baseVal.width / frame.width;
      const places = [...curve.querySelectorAll("g")].map((line) => nearest(line, wanted));
      const x = places.map((place) => place[0])
        .reduce((best, x) => (Math.abs(x - wanted) < Math.abs(best - wanted) ? x : best));
      mark.setAttribute("d", `M${x} ${top}V${bottom}`);
      const epoch = first + (x - left) / (right - left) * (last - first);
      write(curve, places, valueAt, epoch);
      box.hidden = false;
      const space = document.documentElement.clientWidth - box.offsetWidth - 8;
      box.style.left = `${scrollX + Math.min(event.clientX + 14, Math.max(0, space))}px`;
      box.style.top = `${scrollY + event.clientY + 16}px`;
    });
    curve.addEventListener("pointerleave", () => {
      box.hidden = true;
      mark.removeAttribute("d");
    });
  }

  // A line's place that is nearest to a column.
  function nearest(line, column) {
    let best = [Infinity, 0];
    for (const stretch of line.querySelectorAll("polyline")) {
      for (const point of stretch.points) {
        if (Math.abs(point.x - column) < Math.abs(best[0] - column)) best = [point.x, point.y];
      }
    }
    return best;
  }

  function write(curve, places, valueAt, epoch) {
    const rows = new Map(); // a name's own value, and its mean over the epoch
    curve.querySelectorAll("g").forEach((line, index) => {
      const { name, look } = line.dataset;
      const row = rows.get(name) ?? ["", ""];
      row[look === "mean" ? 1 : 0] = valueAt(places[index][1]).toPrecision(3);
      rows.set(name, row);
    });
    const table = make("div");
    for (const [name, [value, mean]] of rows) {
      table.append(make("i", {}, name), make("span", {}, value),
        make("span", {}, mean && `mean ${mean}`));
    }
    box.replaceChildren(make("b", {}, `epoch ${Number(epoch.toFixed(2))}`), table);
  }
}

timeline();
readings();
