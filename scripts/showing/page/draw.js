// A canvas to draw label maps and edges on: hard edges, so that every pixel has a palette's colour.

const MOST_STEPS = 30; // that can be undone

export class Drawing {
  #canvas;
  #pen;
  #changed;
  #before = [];
  #last = null; // where the brush was, or where a box began
  #kept = null; // what is below a box that is being drawn
  colour = "#000000";
  shape = "brush";
  width = 6;

  /** `changed(done)` is called while something is drawn, and when it is done. */
  constructor(canvas, changed) {
    this.#canvas = canvas;
    this.#pen = canvas.getContext("2d", { willReadFrequently: true });
    this.#changed = changed;
    canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    canvas.addEventListener("pointermove", (event) => this.#go(event));
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, () => this.#end());
    }
  }

  get canUndo() {
    return this.#before.length > 0;
  }

  begin(side, ground) {
    this.#canvas.width = this.#canvas.height = side;
    this.#before = [];
    this.#fill(ground);
  }

  clear(ground) {
    this.#remember();
    this.#fill(ground);
    this.#changed(true);
  }

  undo() {
    const image = this.#before.pop();
    if (image) this.#pen.putImageData(image, 0, 0);
    this.#changed(true);
  }

  #fill(ground) {
    this.#pen.fillStyle = ground;
    this.#pen.fillRect(0, 0, this.#canvas.width, this.#canvas.height);
  }

  #remember() {
    this.#before.push(this.#image());
    if (this.#before.length > MOST_STEPS) this.#before.shift();
  }

  #image() {
    return this.#pen.getImageData(0, 0, this.#canvas.width, this.#canvas.height);
  }

  #place(event) {
    // The canvas is shown as large as fits, with empty space on two sides.
    const box = this.#canvas.getBoundingClientRect();
    const scale = Math.min(box.width / this.#canvas.width, box.height / this.#canvas.height);
    const left = box.left + (box.width - scale * this.#canvas.width) / 2;
    const top = box.top + (box.height - scale * this.#canvas.height) / 2;
    return [(event.clientX - left) / scale, (event.clientY - top) / scale];
  }

  #begin(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.#canvas.setPointerCapture(event.pointerId);
    this.#remember();
    this.#kept = this.shape === "box" ? this.#image() : null;
    this.#last = this.#place(event);
    this.#go(event);
  }

  #go(event) {
    if (this.#last === null) return;
    const place = this.#place(event);
    this.#pen.fillStyle = this.colour;
    if (this.#kept) {
      this.#pen.putImageData(this.#kept, 0, 0);
      this.#box(this.#last, place);
    } else {
      this.#stroke(this.#last, place);
      this.#last = place;
    }
    this.#changed(false);
  }

  #end() {
    if (this.#last === null) return;
    this.#last = this.#kept = null;
    this.#changed(true);
  }

  #box([x1, y1], [x2, y2]) {
    const [left, right] = [Math.round(Math.min(x1, x2)), Math.round(Math.max(x1, x2))];
    const [top, bottom] = [Math.round(Math.min(y1, y2)), Math.round(Math.max(y1, y2))];
    this.#pen.fillRect(left, top, right - left, bottom - top);
  }

  #stroke([x1, y1], [x2, y2]) {
    const steps = Math.ceil(Math.max(Math.abs(x2 - x1), Math.abs(y2 - y1), 1));
    for (let step = 0; step <= steps; step++) {
      this.#dot(x1 + ((x2 - x1) * step) / steps, y1 + ((y2 - y1) * step) / steps);
    }
  }

  #dot(x, y) {
    // Rows of a disc: what canvas draws round has soft edges.
    const radius = this.width / 2;
    const [left, top] = [Math.round(x - radius), Math.round(y - radius)];
    for (let row = 0; row < this.width; row++) {
      const height = row + 0.5 - radius;
      const half = Math.round(Math.sqrt(radius * radius - height * height));
      const wide = Math.max(1, 2 * half - (this.width % 2));
      this.#pen.fillRect(left + Math.floor((this.width - wide) / 2), top + row, wide, 1);
    }
  }
}
