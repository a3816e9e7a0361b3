// The page of scripts/show.py: an image comes in somehow, goes to the server, and is shown beside.

import { Drawing } from "./draw.js";

const $ = (id) => document.getElementById(id);
const TOKEN = location.hash.slice(1); // never sent with an address
const LATER = 250; // milliseconds that a drawing rests before it is translated
const SIDES = [128, 256, 512, 1024, 2048];

const state = {
  runs: [],
  pixels: Infinity, // that an image may have
  original: null, // what was chosen, a Blob; its name
  name: "",
  sent: 0, // requests, so that late answers are passed over
  stream: null, // of the camera
};
const drawing = new Drawing($("canvas"), (done) => {
  $("undo").disabled = !drawing.canUndo;
  if (done) soon(translateDrawing);
});

// ---- the server -----------------------------------------------------------------------------

async function ask(path, options = {}) {
  const headers = TOKEN ? { Authorization: `Bearer ${TOKEN}` } : {};
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("The server does not answer. Is scripts/show.py still running?");
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw Object.assign(new Error(told.error ?? `The server answers ${answer.status}.`), {
    busy: answer.status === 503,
  });
}

function tell(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

/** Translate a Blob and show it; answers to earlier requests are passed over. */
async function translate(blob, name, source) {
  const number = ++state.sent;
  const words = new URLSearchParams({ name: run().name, direction: direction(), file: name });
  $("result").classList.add("waits");
  tell("Translating …");
  const began = performance.now();
  try {
    const answer = await ask(`translate?${words}`, { method: "POST", body: blob });
    const made = await answer.blob();
    if (number !== state.sent) return;
    await show(made, source ?? blob);
    tell(`Translated in ${((performance.now() - began) / 1000).toFixed(2)} s.`);
  } catch (error) {
    if (number === state.sent) tell(error.message, true);
  } finally {
    if (number === state.sent) $("result").classList.remove("waits");
  }
}

let timer = 0;
function soon(action) {
  clearTimeout(timer);
  timer = setTimeout(action, LATER);
}

// ---- the result -----------------------------------------------------------------------------

function setImage(image, blob) {
  const before = image.src;
  image.src = URL.createObjectURL(blob);
  image.hidden = false;
  if (before.startsWith("blob:")) URL.revokeObjectURL(before);
  return image.decode();
}

async function show(made, source) {
  await Promise.all([setImage($("made"), made), setImage($("over"), source)]);
  $("result").querySelector("p").hidden = true;
  $("result").classList.add("compares");
  $("cut").disabled = $("divider").hidden = false;
  $("size").textContent = `${$("made").naturalWidth} × ${$("made").naturalHeight}`;
  const link = $("download");
  link.href = $("made").src;
  link.download = `${state.name.replace(/\.[^.]*$/, "") || "drawing"}_${run().name}.png`;
  link.removeAttribute("aria-disabled");
  cut($("cut").value);
}

/** Show no result: what was there is of another run or another image. */
function showNothing() {
  state.sent++;
  for (const id of ["made", "over", "divider"]) $(id).hidden = true;
  $("result").querySelector("p").hidden = false;
  $("result").classList.remove("compares", "waits");
  $("cut").disabled = true;
  $("size").textContent = "";
  $("download").removeAttribute("href");
  $("download").setAttribute("aria-disabled", "true");
  tell("");
}

function cut(percent) {
  // The images may be narrower than the stage: the divider moves over them alone.
  const { naturalWidth, naturalHeight } = $("made");
  const { clientWidth, clientHeight } = $("result");
  const wide = Math.min(clientWidth, (clientHeight * naturalWidth) / naturalHeight);
  const left = (clientWidth - wide) / 2;
  $("result").style.setProperty("--cut", `${left + (wide * percent) / 100}px`);
  $("divider").hidden = percent <= 0;
}

function moveDivider(event) {
  if ($("made").hidden || (event.type === "pointermove" && event.buttons !== 1)) return;
  event.preventDefault();
  const { naturalWidth, naturalHeight } = $("made");
  const box = $("result").getBoundingClientRect();
  const wide = Math.min(box.width, (box.height * naturalWidth) / naturalHeight);
  const left = box.left + (box.width - wide) / 2;
  $("cut").value = Math.max(0, Math.min(100, (100 * (event.clientX - left)) / wide));
  cut($("cut").value);
}

// ---- what goes in ---------------------------------------------------------------------------

function only(shown) {
  for (const id of ["hint", "source", "canvas", "video"]) $(id).hidden = id !== shown;
  $("tools").hidden = shown !== "canvas";
  $("draw").setAttribute("aria-pressed", shown === "canvas");
  $("camera").setAttribute("aria-pressed", shown === "video");
  if (shown !== "video") stopCamera();
}

async function take(file) {
  if (!file) return;
  state.original = file;
  state.name = file.name ?? "pasted.png";
  try {
    await setImage($("source"), file);
  } catch {
    // Formats that the browser does not show, such as TIFF: the server may know them.
    only("hint");
    return translate(file, state.name, new Blob());
  }
  only("source");
  await translateOriginal();
}

/** Send the bytes as they are, unless the image is larger than was asked for. */
async function translateOriginal() {
  const image = $("source");
  const [width, height] = [image.naturalWidth, image.naturalHeight];
  const side = Number($("side").value) || Infinity;
  const scale = Math.min(1, side / Math.max(width, height), Math.sqrt(state.pixels / (width * height)));
  if (scale === 1) return translate(state.original, state.name);
  const small = await scaled(image, Math.floor(width * scale), Math.floor(height * scale));
  await translate(small, state.name);
}

function scaled(source, width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.max(1, width), Math.max(1, height)];
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(source, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

function startDrawing() {
  const { kind, colours } = run().drawings[direction()];
  showNothing();
  state.name = "";
  $("shapes").hidden = kind === "pencil";
  const buttons = colours.map((colour, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "swatch";
    button.style.background = colour;
    button.title = kind === "pencil" ? ["eraser", "pencil"][i] : colour;
    button.setAttribute("aria-label", button.title);
    button.onclick = () => {
      drawing.colour = colour;
      for (const other of buttons) other.setAttribute("aria-pressed", other === button);
    };
    return button;
  });
  $("palette").replaceChildren($("palette").firstElementChild, ...buttons);
  buttons[1].click();
  $("width").value = drawing.width = kind === "pencil" ? 2 : 12;
  drawing.begin(run().side, colours[0]);
  $("undo").disabled = true;
  only("canvas");
  tell("Draw: the translation follows.");
}

function translateDrawing() {
  if ($("canvas").hidden) return;
  $("canvas").toBlob((blob) => translate(blob, ""), "image/png");
}

// ---- the camera: one frame after the other ----------------------------------------------------

async function startCamera() {
  if (state.stream) return only("hint");
  try {
    state.stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640 } });
  } catch (error) {
    return tell(`The browser gives no camera (${error.message}).`, true);
  }
  $("video").srcObject = state.stream;
  await $("video").play();
  state.name = "camera";
  only("video");
  while (state.stream) {
    const video = $("video");
    const side = Number($("side").value) || run().side;
    const scale = Math.min(1, side / Math.max(video.videoWidth, video.videoHeight));
    const frame = await scaled(video, video.videoWidth * scale, video.videoHeight * scale);
    if (state.stream) await translate(frame, "camera");
    await new Promise((done) => setTimeout(done, 30));
  }
}

function stopCamera() {
  for (const track of state.stream?.getTracks() ?? []) track.stop();
  state.stream = null;
}

// ---- which run --------------------------------------------------------------------------------

const run = () => state.runs[$("run").selectedIndex];
const direction = () => $("direction").value;

function fill(select, values, texts = values) {
  select.replaceChildren(...values.map((value, i) => new Option(texts[i], value)));
}

function chooseRun() {
  fill($("direction"), run().directions);
  $("direction-label").hidden = run().directions.length < 2;
  const sides = [...new Set([...SIDES, run().side])].sort((a, b) => a - b);
  const texts = sides.map((side) => `${side}${side === run().side ? ", as in training" : ""}`);
  fill($("side"), [...sides, 0], [...texts, "as it is"]);
  $("side").value = run().side;
  chooseDirection();
}

function chooseDirection() {
  showNothing();
  $("draw").hidden = !run().drawings[direction()];
  if (!$("canvas").hidden) {
    if ($("draw").hidden) only("hint");
    else startDrawing();
  } else if (!$("source").hidden) translateOriginal();
}

// ---- events -----------------------------------------------------------------------------------

$("run").onchange = chooseRun;
$("direction").onchange = chooseDirection;
$("side").onchange = () => $("source").hidden || translateOriginal();
$("file").onchange = (event) => {
  take(event.target.files[0]);
  event.target.value = ""; // the same file may be chosen again
};
$("draw").onclick = startDrawing;
$("camera").onclick = startCamera;
$("width").oninput = (event) => (drawing.width = Number(event.target.value));
$("shapes").onchange = (event) => (drawing.shape = event.target.value);
$("undo").onclick = () => drawing.undo();
$("clear").onclick = () => drawing.clear(run().drawings[direction()].colours[0]);
$("cut").oninput = (event) => cut(event.target.value);
$("result").addEventListener("pointerdown", moveDivider);
$("result").addEventListener("pointermove", moveDivider);
addEventListener("resize", () => $("made").hidden || cut($("cut").value));
addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
  if (file) take(file);
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files[0]);
  });
}

try {
  const found = await (await ask("runs")).json();
  [state.runs, state.pixels] = [found.runs, found.pixels];
  fill($("run"), state.runs.map((each) => each.name));
  $("run-label").hidden = state.runs.length < 2;
  if (state.runs.length === 1) document.querySelector("h1").textContent = state.runs[0].name;
  $("camera").hidden = !navigator.mediaDevices?.getUserMedia;
  chooseRun();
} catch (error) {
  tell(error.message, true);
}
