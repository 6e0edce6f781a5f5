"use strict";

async function picture(uri) {
  const image = new Image();
  image.src = uri;
  await image.decode();
  return image;
}

// Grey tiles of an atlas, one below the other, as numbers from 0 to 1.
async function readTiles(uri, count, height, width) {
  if (!count) return [];
  const image = await picture(uri);
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = count * height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, width, count * height).data;
  const cells = height * width;
  return Array.from({ length: count }, (_, tile) =>
    Float32Array.from({ length: cells }, (_, cell) => pixels[4 * (tile * cells + cell)] / 255));
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
// Blue takes away, white is nothing, orange adds; told apart by all kinds of sight.
const signed = (value, limit) => {
  const share = Math.min(Math.abs(value) / (limit || 1), 1);
  const end = value < 0 ? [33, 102, 172] : [204, 85, 0];
  return end.map((channel) => 250 + (channel - 250) * share);
};
const grey = (value) => Array(3).fill(20 + 235 * Math.min(Math.max(value, 0), 1));

function paint(canvas, values, [height, width], colour, label) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  values.forEach((value, cell) => {
    image.data.set(colour(value), 4 * cell);
    image.data[4 * cell + 3] = 255;
  });
  context.putImageData(image, 0, 0);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
}

// The picture, large enough for thin lines.
function drawPicture(canvas, view, label) {
  const finer = Math.ceil(900 / view.naturalWidth);
  canvas.width = view.naturalWidth * finer;
  canvas.height = view.naturalHeight * finer;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  canvas.getContext("2d").drawImage(view, 0, 0, canvas.width, canvas.height);
}

// A mask over the picture, enlarged as smoothly as the network's own.
function shade(canvas, mask, [height, width], colour) {
  const small = document.createElement("canvas");
  small.width = width;
  small.height = height;
  const inner = small.getContext("2d"), image = inner.createImageData(width, height);
  mask.forEach((value, cell) => image.data.set([...colour, value > 0.5 ? 150 : 0], 4 * cell));
  inner.putImageData(image, 0, 0);
  canvas.getContext("2d").drawImage(small, 0, 0, canvas.width, canvas.height);
}

function outline(canvas, box, style, width) {
  const context = canvas.getContext("2d");
  const [x1, y1, x2, y2] = box.map((edge, i) => edge * (i % 2 ? canvas.height : canvas.width));
  context.strokeStyle = style;
  context.lineWidth = width * canvas.width / 900;
  context.strokeRect(x1, y1, x2 - x1, y2 - y1);
}

function outlineChosen(canvas, box) {
  outline(canvas, box, "#000", 6);
  outline(canvas, box, "#ff8c1a", 3);
}

// What was found in one picture, and how. Tells of a choice by the event "chosen".
class Scene {
  constructor(root) {
    Object.assign(this, { root, chosen: 0 });
    this.find(".upto").addEventListener("input", () => this.showPartial());
    this.find(".view").addEventListener("click", (event) => this.pick(event));
  }

  // What `show` needs of one scene of reporting/scene.py: its atlases as numbers.
  static async read(data) {
    const [height, width] = data.size;
    const levels = await readTiles(data.prototypes, data.low.length, height, width);
    const prototypes = levels.map((tile, k) =>
      tile.map((level) => data.low[k] + level * (data.high[k] - data.low[k])));
    const masks = await readTiles(data.masks, data.detections.length, height, width);
    return { data, prototypes, masks };
  }

  // Takes what `read` gave, and the picture; the chosen object keeps its rank.
  show({ data, prototypes, masks }, view) {
    Object.assign(this, { data, prototypes, masks, view });
    const focused = this.find(".choices").contains(document.activeElement);
    this.listObjects();
    this.showDictionary();
    this.choose(Math.min(this.chosen, Math.max(data.detections.length - 1, 0)));
    if (focused) this.find(".choices :checked")?.focus();
  }

  find(selector) { return this.root.querySelector(selector); }

  listObjects() {
    const choices = this.find(".choices");
    choices.replaceChildren();
    this.data.detections.forEach((detection, index) => {
      const label = document.createElement("label");
      const input = document.createElement("input");
      const score = document.createElement("span");
      Object.assign(input, { type: "radio", name: "object", value: index });
      input.addEventListener("change", () => this.choose(index));
      score.className = "score";
      score.textContent = detection.score.toFixed(2);
      label.append(input, `${index + 1}. ${detection.name}`, score);
      choices.append(label);
    });
    if (!this.data.detections.length) choices.textContent = "None was found.";
  }

  showDictionary() {
    const tiles = this.find(".tiles.prototypes");
    tiles.replaceChildren();
    this.prototypes.forEach((values, k) => {
      const { kind, strengths } = this.data.roles[k];
      const [low, high] = [this.data.low[k], this.data.high[k]];
      const strength = kind in strengths ? ` ${strengths[kind].toFixed(2)}` : "";
      const figure = this.tile(values, (value) => grey((value - low) / (high - low || 1)),
        `Prototype ${k + 1}: ${kind}${strength}`, `${k + 1}: ${kind}${strength}`);
      figure.title = Object.entries(strengths).map(([name, v]) => `${name} ${v.toFixed(2)}`).join("\n");
      tiles.append(figure);
    });
  }

  tile(values, colour, label, caption) {
    const figure = document.createElement("figure");
    const canvas = document.createElement("canvas");
    const text = document.createElement("figcaption");
    paint(canvas, values, this.data.size, colour, label);
    text.textContent = caption;
    figure.append(canvas, text);
    return figure;
  }

  choose(index) {
    this.chosen = index;
    const detection = this.data.detections[index];
    this.find(".detail").hidden = !detection;
    this.showView();
    this.root.dispatchEvent(new CustomEvent("chosen", { detail: detection }));
    if (!detection) return;
    this.find(`input[value="${index}"]`).checked = true;
    const overlap = "iou" in detection ? `, mask IoU ${detection.iou.toFixed(2)} with the truth` : "";
    this.find(".chosen").textContent =
      `${index + 1}. ${detection.name}, score ${detection.score.toFixed(2)}${overlap}`;
    this.order = this.contributions(detection);
    const upto = this.find(".upto");
    if (Number(upto.max) !== this.order.length) upto.value = upto.max = this.order.length;
    const sum = this.sumOf(this.order.length);
    this.limit = Math.max(...sum.map(Math.abs));
    const least = Math.min(...sum), most = Math.max(...sum), { size } = this.data;
    this.find(".range").textContent = `From ${least.toFixed(1)} to ${most.toFixed(1)}.`;
    paint(this.find(".sum"), sum, size, (v) => signed(v, this.limit), "Sum of all contributions");
    paint(this.find(".soft"), sum.map(sigmoid), size, grey, "Sum after the sigmoid");
    paint(this.find(".cropped"), this.masks[index], size, grey, "Soft mask cut at the box");
    paint(this.find(".mask"), this.masks[index], size, (v) => grey(v > 0.5), "Final mask");
    this.showContributions();
    this.showPartial();
  }

  // Of every prototype, the largest inside the box first.
  contributions({ coefficients, box }) {
    const [height, width] = this.data.size;
    const [x1, y1, x2, y2] = box.map((edge, i) => edge * (i % 2 ? height : width));
    return this.prototypes.map((values, k) => {
      const contribution = values.map((value) => value * coefficients[k]);
      let total = 0, cells = 0;
      for (let row = Math.max(Math.floor(y1), 0); row < Math.min(Math.ceil(y2), height); row++)
        for (let column = Math.max(Math.floor(x1), 0); column < Math.min(Math.ceil(x2), width); column++) {
          total += contribution[row * width + column];
          cells++;
        }
      return { k, contribution, mean: total / (cells || 1), coefficient: coefficients[k] };
    }).sort((a, b) => Math.abs(b.mean) - Math.abs(a.mean));
  }

  sumOf(count) {
    const sum = new Float32Array(this.data.size[0] * this.data.size[1]);
    for (const { contribution } of this.order.slice(0, count))
      contribution.forEach((value, cell) => { sum[cell] += value; });
    return sum;
  }

  showContributions() {
    const tiles = this.find(".tiles.contributions");
    const limit = Math.max(...this.order.map((each) => Math.max(...each.contribution.map(Math.abs))));
    tiles.replaceChildren(...this.order.map(({ k, contribution, mean, coefficient }) =>
      this.tile(contribution, (value) => signed(value, limit),
        `Contribution of prototype ${k + 1}`,
        `${k + 1} × ${coefficient.toFixed(2)}: ${mean < 0 ? "" : "+"}${mean.toFixed(2)} in the box`)));
  }

  showPartial() {
    const count = Number(this.find(".upto").value), { size } = this.data;
    this.find(".count").textContent = `${count} of ${this.order.length}`;
    const sum = this.sumOf(count);
    paint(this.find(".partial"), sum, size, (v) => signed(v, this.limit), `Sum of ${count} contributions`);
    const [height, width] = size, { box } = this.data.detections[this.chosen];
    const inside = (cell) => {
      const x = (cell % width + 0.5) / width, y = (Math.floor(cell / width) + 0.5) / height;
      return this.data.crop === "none" || (x > box[0] && x < box[2] && y > box[1] && y < box[3]);
    };
    paint(this.find(".partial-mask"), sum.map((v, cell) => v > 0 && inside(cell) ? 1 : 0), size, grey,
      `Mask of ${count} contributions`);
    this.find(".tiles.contributions").childNodes.forEach((tile, place) =>
      tile.classList.toggle("left-out", place >= count));
  }

  showView() {
    const canvas = this.find(".view"), { detections, size } = this.data;
    const chosen = detections[this.chosen];
    drawPicture(canvas, this.view, "The picture with the boxes of the objects found");
    if (chosen) shade(canvas, this.masks[this.chosen], size, [255, 140, 26]);
    detections.forEach(({ box }) => outline(canvas, box, "#ffffff80", 1.5));
    if (chosen) outlineChosen(canvas, chosen.box);
  }

  pick(event) {
    const place = event.target.getBoundingClientRect();
    const x = (event.clientX - place.left) / place.width, y = (event.clientY - place.top) / place.height;
    const under = this.data.detections
      .map(({ box }, index) => ({ index, box, area: (box[2] - box[0]) * (box[3] - box[1]) }))
      .filter(({ box }) => x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3])
      .sort((a, b) => a.area - b.area);
    if (under.length) this.choose(under[0].index);
  }
}
