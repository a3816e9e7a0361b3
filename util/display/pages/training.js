// The training page: a slider over the epochs, values under the mouse, losses on and off.

// ---- the slider ----------------------------------------------------------------------------
// It shows what the list below the slider holds, one epoch at a time. A user who has not moved it
// sees the newest epoch; one who has finds his epoch in the address and keeps it.

// Where the images of a sample are, see samples.py.
function filesOf(sample, start, number) {
  return Object.entries(sample).map(([name, [epoch, width, height]]) => {
    const from = `${start}${String(epoch).padStart(3, "0")}_sample${number}`;
    return { file: `${from}_${encodeURIComponent(name)}.jpg`, name, width, height };
  });
}

function timeline() {
  const sections = [...document.querySelectorAll("section[data-epoch]")].reverse(); // oldest first
  if (!sections.length) return;
  const epochs = sections.map((section) => ({
    number: Number(section.dataset.epoch),
    images: [...section.querySelectorAll("td img")].map((image) => ({
      file: image.getAttribute("src"),
      name: image.alt,
      width: image.getAttribute("width"),
      height: image.getAttribute("height"),
    })),
    samples: JSON.parse(section.dataset.samples ?? "[]")
      .map((sample, place) => filesOf(sample, `${section.dataset.folder}epoch`, place + 1)),
    scores: section.querySelector(".numbers"),
  }));

  const slider = make("input", { type: "range", min: 0, max: epochs.length - 1 });
  slider.setAttribute("aria-label", "epoch");
  const shown = make("output");
  const play = make("button", { type: "button", textContent: "play" });
  const newest = make("button", { type: "button", textContent: "follow the newest" });
  const heading = make("h2");
  const samples = make("div", { className: "samples" });
  const title = make("h2", {}, "Images of training");
  const strip = make("div", { className: "strip" });
  const scores = make("div", { className: "numbers" });
  const part = make("div", { id: "timeline" },
    make("div", { className: "controls" }, shown, slider, play, newest),
    scores, heading, samples, title, strip);
  document.querySelector("header").after(part);

  let current = -1;

  function show(position) {
    current = Math.max(0, Math.min(epochs.length - 1, position));
    const { number, images } = epochs[current];
    slider.value = current;
    shown.textContent = `epoch ${number} of ${epochs[epochs.length - 1].number}`;
    slider.setAttribute("aria-valuetext", shown.textContent);
    newest.hidden = inAddress("epoch") === null;
    title.hidden = !images.length;
    fillStrip(strip, images, `epoch ${number}, training`);
    showSamples();
    showScores();
    arrange();
    for (const near of [current - 1, current + 1, current + 2]) preload(epochs[near]);
  }

  // What an epoch does not have is shown as the last one before it left it.
  function latest(has) {
    for (let place = current; place >= 0; place -= 1) if (has(epochs[place])) return epochs[place];
    return null;
  }

  function showSamples() {
    const from = latest((epoch) => epoch.samples.length);
    heading.hidden = samples.hidden = !from;
    if (!from) return;
    heading.textContent = "The same images after every epoch";
    if (from !== epochs[current]) heading.textContent += `: epoch ${from.number}`;
    resizeTo(samples, from.samples.length, () => make("div", { className: "strip" }));
    from.samples.forEach((images, place) => {
      fillStrip(samples.children[place], images, `epoch ${from.number}, image ${place + 1}`);
    });
  }

  function showScores() {
    const from = latest((epoch) => epoch.scores);
    scores.hidden = !from;
    if (!from) return;
    const which = from === epochs[current] ? "validation" : `validation of epoch ${from.number}`;
    scores.replaceChildren(make("span", {}, which), ...from.scores.cloneNode(true).childNodes);
  }

  function resizeTo(element, count, create) {
    while (element.childElementCount > count) element.lastElementChild.remove();
    while (element.childElementCount < count) element.append(create());
  }

  function fillStrip(element, images, name) {
    element.dataset.title = name;
    resizeTo(element, images.length,
      () => make("figure", {}, make("a", {}, make("img")), make("figcaption")));
    images.forEach((each, place) => {
      const [link, caption] = element.children[place].children;
      const image = link.firstChild;
      link.href = each.file;
      if (image.getAttribute("src") !== each.file) image.src = each.file;
      Object.assign(image, { alt: each.name, width: each.width, height: each.height });
      caption.textContent = each.name;
    });
  }

  // Rows are filled to their ends where the number of images allows it.
  function arrange() {
    const wide = part.clientWidth;
    const each = samples.firstChild?.childElementCount ?? 1;
    const beside = columns(samples.childElementCount, wide, 150 * each);
    samples.style.setProperty("--columns", beside);
    for (const row of samples.children) {
      row.style.setProperty("--columns", columns(each, wide / beside, 90));
    }
    strip.style.setProperty("--columns", columns(strip.childElementCount, wide, 90));
  }

  function columns(count, width, least) {
    const most = Math.max(1, Math.min(count, Math.floor(width / least)));
    let whole = most;
    while (count % whole) whole -= 1;
    return 2 * whole > most ? whole : most;
  }

  // The browser keeps what it has loaded, so that the next step of the slider shows at once.
  function preload(epoch) {
    if (!epoch) return;
    for (const each of [...epoch.images, ...epoch.samples.flat()]) new Image().src = each.file;
  }

  function move(position) {
    const bounded = Math.max(0, Math.min(epochs.length - 1, position));
    putInAddress("epoch", epochs[bounded].number);
    show(bounded);
  }

  function fromAddress() {
    const wanted = inAddress("epoch");
    if (wanted === null) return epochs.length - 1;
    let position = 0;
    while (position + 1 < epochs.length && epochs[position + 1].number <= Number(wanted)) {
      position += 1;
    }
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
    if (current === epochs.length - 1) move(0);
    play.textContent = "stop";
    part.dataset.playing = "";
    timer = setInterval(() => {
      if (current < epochs.length - 1) move(current + 1);
      if (current === epochs.length - 1) stop();
    }, 300);
  }

  slider.addEventListener("input", () => { stop(); move(Number(slider.value)); });
  play.addEventListener("click", () => (timer ? stop() : start()));
  newest.addEventListener("click", () => {
    stop();
    putInAddress("epoch", null);
    show(epochs.length - 1);
  });
  addEventListener("hashchange", () => show(fromAddress()));
  addEventListener("resize", arrange);
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

// ---- losses on and off ------------------------------------------------------------------------

function legends() {
  const off = new Set(recall("losses off"));
  for (const curve of document.querySelectorAll(".large .curve")) {
    curve.setAttribute("role", "group"); // of an image, readers would not be told what is in it
    for (const text of curve.querySelectorAll("text[data-entry]")) {
      text.setAttribute("role", "button");
      text.setAttribute("tabindex", 0);
    }
  }

  function apply() {
    for (const line of document.querySelectorAll(".large g")) {
      line.classList.toggle("off", off.has(line.dataset.name));
    }
    for (const entry of document.querySelectorAll("[data-entry]")) {
      entry.classList.toggle("off", off.has(entry.dataset.entry));
      if (entry.role) entry.ariaPressed = !off.has(entry.dataset.entry);
    }
  }

  function toggle(event) {
    const name = event.target.closest?.("[data-entry]")?.dataset.entry;
    const pressed = event.type === "click" || event.key === "Enter" || event.key === " ";
    if (name === undefined || !pressed) return;
    event.preventDefault(); // else the space bar would scroll the page
    if (!off.delete(name)) off.add(name);
    remember("losses off", [...off]);
    apply();
  }

  for (const kind of ["click", "keydown"]) document.addEventListener(kind, toggle);
  apply();
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

    const read = (event) => {
      const frame = curve.getBoundingClientRect();
      const wanted = (event.clientX - frame.left) * curve.viewBox.baseVal.width / frame.width;
      const lines = [...curve.querySelectorAll("g:not(.off)")];
      if (!lines.length) return;
      const places = lines.map((line) => nearest(line, wanted));
      const x = places.map((place) => place[0])
        .reduce((best, x) => (Math.abs(x - wanted) < Math.abs(best - wanted) ? x : best));
      mark.setAttribute("d", `M${x} ${top}V${bottom}`);
      const epoch = first + (x - left) / (right - left) * (last - first);
      write(curve, places, valueAt, epoch);
      box.hidden = false;
      const space = document.documentElement.clientWidth - box.offsetWidth - 8;
      box.style.left = `${scrollX + Math.min(event.clientX + 14, Math.max(0, space))}px`;
      box.style.top = `${scrollY + event.clientY + 16}px`;
    };
    curve.addEventListener("pointerdown", read); // of a finger
    curve.addEventListener("pointermove", read);
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
    curve.querySelectorAll("g:not(.off)").forEach((line, index) => {
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
legends();
readings();
