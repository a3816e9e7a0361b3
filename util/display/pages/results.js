// The page of results: sort the rows of images, find one by its name, change their size.

function results() {
  const main = document.querySelector("main");
  const sections = [...main.querySelectorAll(":scope > section")];
  if (sections.length < 2) return;
  const rows = sections.map((section, order) => ({
    section,
    order,
    name: section.querySelector("h3")?.textContent.trim() ?? "",
    scores: scoresOf(section),
  }));

  // Numbers that nobody could compute come last, whatever the order.
  function scoresOf(section) {
    const found = new Map();
    for (const span of section.querySelectorAll(".numbers [data-score]")) {
      found.set(span.dataset.score, Number(span.dataset.value));
    }
    return found;
  }

  const orders = new Map([
    ["order of the run", (a, b) => a.order - b.order],
    ["name", (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true })],
  ]);
  for (const score of new Set(rows.flatMap((row) => [...row.scores.keys()]))) {
    for (const [end, sign] of [["lowest", 1], ["highest", -1]]) {
      orders.set(`${end} ${score} first`, (a, b) => {
        const [left, right] = [a, b].map((row) => row.scores.get(score) ?? NaN);
        if (Number.isNaN(left) || Number.isNaN(right)) {
          return Number.isNaN(left) - Number.isNaN(right);
        }
        return left === right ? a.order - b.order : sign * (left < right ? -1 : 1);
      });
    }
  }

  // The means of what the filter leaves; those of all stand in the page already.
  const header = document.querySelector("header .numbers");
  const meansOfAll = [...(header?.childNodes ?? [])];
  function showMeans(left) {
    if (!header) return;
    if (left.length === rows.length) header.replaceChildren(...meansOfAll);
    else header.replaceChildren(...meansOf(left));
  }

  function meansOf(left) {
    const names = new Set(left.flatMap((row) => [...row.scores.keys()]));
    return [...names].map((name) => {
      const values = left.map((row) => row.scores.get(name)).filter((value) => value !== undefined);
      const finite = values.filter((value) => Math.abs(value) !== Infinity);
      const kept = finite.length ? finite : values;
      const mean = kept.reduce((sum, value) => sum + value, 0) / kept.length;
      const text = Number.isFinite(mean) ? mean.toPrecision(4)
        : String(mean).replace("Infinity", "\u221e").toLowerCase();
      return make("span", {}, `mean ${name} `, make("b", {}, text));
    });
  }

  function control(name, element, ...more) {
    const label = document.createElement("label");
    label.append(name, element, ...more);
    controls.append(label);
    return element;
  }

  const controls = document.createElement("div");
  controls.className = "controls";
  main.before(controls);

  const order = control("sort by", document.createElement("select"));
  order.append(...[...orders.keys()].map((name) => new Option(name)));
  const sort = () => {
    main.append(...[...rows].sort(orders.get(order.value)).map((row) => row.section));
  };
  order.addEventListener("change", () => {
    putInAddress("sort", order.selectedIndex ? order.value : null);
    sort();
  });

  const search = document.createElement("input");
  search.type = "search";
  const count = document.createElement("span");
  count.className = "quiet";
  control("name contains", search, count);
  const nothing = make("p", { hidden: true });
  main.before(nothing);
  const filter = () => {
    const wanted = search.value.toLowerCase();
    for (const row of rows) row.section.hidden = !row.name.toLowerCase().includes(wanted);
    const left = rows.filter((row) => !row.section.hidden);
    count.textContent = wanted ? `${left.length} of ${rows.length}` : "";
    nothing.hidden = left.length > 0;
    nothing.textContent = `No name contains ${search.value}.`;
    showMeans(left);
  };
  search.addEventListener("input", () => {
    putInAddress("name", search.value || null);
    filter();
  });

  const size = document.createElement("input");
  Object.assign(size, { type: "range", min: 64, max: 512, step: 16 });
  size.value = parseInt(getComputedStyle(document.body).getPropertyValue("--w"), 10);
  const resize = () => document.body.style.setProperty("--w", `${size.value}px`);
  control("width of an image", size).parentElement.classList.add("size");
  size.addEventListener("input", () => {
    putInAddress("width", size.value);
    resize();
  });

  // What the address asks for: a bookmark, or the page before it was reloaded.
  function follow() {
    if (orders.has(inAddress("sort"))) order.value = inAddress("sort");
    if (order.selectedIndex > 0) sort();
    search.value = inAddress("name") ?? "";
    if (search.value) filter();
    if (inAddress("width")) {
      size.value = inAddress("width");
      resize();
    }
  }
  follow();
}

results();
