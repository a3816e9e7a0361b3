// Both kinds of pages: a click on an image shows it large, alone or against another of its row.

const ROW = "tr, .strip"; // what holds the images that belong together
const ROOM = 140; // pixels of the window that are not for the image
const IMAGE = /\.(avif|bmp|gif|jpe?g|png|svg|webp)$/i; // links to other files lead where they did

function viewer() {
  let rows = []; // each a list of images with their names
  let row = 0;
  let first = 0; // the image that is shown, by its place in the row,
  let second = null; // and the one behind the divider
  let cut = 0.5; // where the divider stands

  const title = make("b");
  const shown = make("select");
  const against = make("select");
  const fullSize = make("input", { type: "checkbox" });
  const close = make("button", { type: "button", textContent: "close" });
  const under = make("img", { draggable: false });
  const over = make("img", { draggable: false, className: "over" });
  const divider = make("div", { className: "divider" });
  const left = make("span"); // what is on which side of the divider
  const right = make("span");
  const sides = make("div", { className: "sides" }, left, right);
  const stage = make("div", { className: "stage" }, under, over, divider);
  const keys = "left, right: image; up, down: row; c: compare; f: full size; Esc: close";
  const dialog = make("dialog", { id: "viewer", ariaLabel: "viewer" },
    make("div", { className: "controls" }, title, make("label", {}, "image", shown),
      make("label", {}, "against", against), make("label", {}, fullSize, "full size"), close),
    make("div", { className: "frame" }, make("div", {}, sides, stage)),
    make("div", { className: "quiet keys" }, keys));

  function imagesOf(element) {
    return [...element.querySelectorAll("a img")].map((image) => ({
      image,
      file: image.closest("a").getAttribute("href"),
      name: image.alt,
    })).filter(({ file }) => IMAGE.test(file));
  }

  function titleOf(element) {
    return element.dataset.title
      ?? element.closest("section")?.querySelector("h3")?.textContent.trim() ?? "";
  }

  function open(image) {
    const place = image.closest("main, #timeline, #epochs") ?? document.body;
    const elements = [...place.querySelectorAll(ROW)]
      .filter((element) => element.checkVisibility() && imagesOf(element).length);
    rows = elements.map((element) => ({ title: titleOf(element), images: imagesOf(element) }));
    row = elements.indexOf(image.closest(ROW));
    first = rows[row].images.findIndex((each) => each.image === image);
    second = null;
    if (!dialog.isConnected) document.body.append(dialog);
    dialog.showModal();
    show();
  }

  // What an image is best compared with: what is made with what it should be.
  function partner() {
    const names = rows[row].images.map((each) => each.name);
    const real = names.indexOf(names[first].replace("fake", "real"));
    return real >= 0 && real !== first ? real : (first + 1) % names.length;
  }

  function show() {
    const { title: name, images } = rows[row];
    first = Math.min(first, images.length - 1);
    if (second !== null) second = Math.min(second, images.length - 1);
    title.textContent = name;
    shown.replaceChildren(...images.map((each, place) => new Option(each.name, place)));
    against.replaceChildren(new Option("nothing", ""),
      ...images.map((each, place) => new Option(each.name, place)));
    shown.value = first;
    against.value = second ?? "";
    put(under, images[first], left);
    sides.hidden = over.hidden = divider.hidden = second === null;
    stage.classList.toggle("compares", second !== null);
    if (second !== null) put(over, images[second], right);
    resize();
  }

  function put(element, { file, name }, side) {
    if (element.getAttribute("src") !== file) element.src = file;
    element.alt = side.textContent = name;
  }

  function resize() {
    const { naturalWidth: width, naturalHeight: height } = under;
    if (!width) return; // it comes with the event `load`
    const fit = Math.min((innerWidth - 40) / width, (innerHeight - ROOM) / height);
    const scale = fullSize.checked ? 1 : fit;
    stage.style.width = `${width * scale}px`;
    stage.style.height = `${height * scale}px`;
    stage.style.setProperty("--cut", `${100 * cut}%`);
  }

  function drag(event) {
    if (second === null || !event.buttons) return;
    const frame = stage.getBoundingClientRect();
    cut = Math.max(0, Math.min(1, (event.clientX - frame.left) / frame.width));
    resize();
  }

  function turn(by) { // to another image of the row; while two are compared, the second one
    const count = rows[row].images.length;
    if (second === null) first = (first + by + count) % count;
    else second = (second + by + count) % count;
  }

  const keyed = {
    ArrowLeft: () => turn(-1),
    ArrowRight: () => turn(1),
    Escape: () => dialog.close(),
    ArrowUp: () => { row = Math.max(0, row - 1); },
    ArrowDown: () => { row = Math.min(rows.length - 1, row + 1); },
    c: () => { second = second === null ? partner() : null; },
    f: () => { fullSize.checked = !fullSize.checked; },
  };
  document.addEventListener("keydown", (event) => { // whatever has the focus
    const act = dialog.open && keyed[event.key];
    if (!act || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    act();
    if (dialog.open) show();
  });
  shown.addEventListener("change", () => { first = Number(shown.value); show(); });
  against.addEventListener("change", () => {
    second = against.value === "" ? null : Number(against.value);
    show();
  });
  fullSize.addEventListener("change", resize);
  under.addEventListener("load", resize);
  addEventListener("resize", resize);
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    drag(event);
  });
  stage.addEventListener("pointermove", drag);
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    const image = link?.querySelector("img");
    if (!image?.closest(ROW) || !IMAGE.test(link.getAttribute("href"))) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open(image);
  });
}

viewer();
