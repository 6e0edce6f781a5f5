"use strict";

// The steps of a run on its watched pictures: slider, pictures and numbers move together.
class Player {
  constructor(data, views) {
    Object.assign(this, { data, views, cache: new Map(), turn: 0, timer: null });
    this.scene = new Scene(document.getElementById("scene"));
    this.slider = document.querySelector(".time");
    this.pictures = document.querySelector(".pictures");
    this.button = document.querySelector(".play");
    this.slider.addEventListener("input", () => { this.pause(); this.show(); });
    this.pictures.addEventListener("change", () => this.show());
    this.button.addEventListener("click", () => (this.timer ? this.pause() : this.play()));
    this.scene.root.addEventListener("chosen", (event) => this.showTruth(event.detail));
    addEventListener("beforeprint", () => this.freeze());
    addEventListener("afterprint", () => this.show());
  }

  // A scene's atlases as numbers. A few stay decoded.
  async read(index, picture) {
    const key = `${index} ${picture}`;
    const tiles = this.cache.get(key) ?? await Scene.read(this.data.steps[index].scenes[picture]);
    this.cache.delete(key);
    this.cache.set(key, tiles);
    if (this.cache.size > 6) this.cache.delete(this.cache.keys().next().value);
    return tiles;
  }

  async show() {
    const turn = ++this.turn, index = Number(this.slider.value), picture = Number(this.pictures.value);
    if (this.last?.picture !== picture) {
      const last = this.data.steps.length - 1;
      const [tiles, truth] = await Promise.all([this.read(last, picture), this.readTruth(picture)]);
      if (turn !== this.turn) return;
      Object.assign(this, { last: { index: last, picture, tiles }, truth });
    }
    const tiles = await this.read(index, picture);
    if (turn === this.turn) this.put(index, picture, tiles);
  }

  // Paper has no slider: it shows the last step, which is kept at hand.
  freeze() {
    this.pause();
    this.turn++;
    if (this.last) this.put(this.last.index, this.last.picture, this.last.tiles);
  }

  put(index, picture, tiles) {
    const { step, time, numbers, alive, matched, negatives } = this.data.steps[index];
    const text = `${step} (${time})`;
    document.querySelector(".step").textContent = text;
    this.slider.setAttribute("aria-valuetext", `step ${text}`);
    this.picture = picture;
    this.scene.show(tiles, this.views[picture]);
    const rows = [...numbers, ["Living prototypes", alive[picture]]].map(([name, value]) => {
      const row = document.createElement("tr");
      const head = Object.assign(document.createElement("th"), { scope: "row", textContent: name });
      row.append(head, Object.assign(document.createElement("td"), { textContent: value }));
      return row;
    });
    document.querySelector(".figures tbody").replaceChildren(...rows);
    this.bars(document.querySelector(".matched"), matched);
    this.bars(document.querySelector(".negatives"), negatives);
    Charts.mark(step, this.data.marked);
  }

  // Rows of [name, share of the full width, text].
  bars(place, rows) {
    place.replaceChildren(...rows.flatMap(([name, share, text]) => {
      const bar = document.createElement("span");
      bar.className = "bar";
      bar.style.width = `${100 * share}%`;
      const track = document.createElement("span");
      track.append(bar);
      const texts = [name, text].map((textContent) =>
        Object.assign(document.createElement("span"), { textContent }));
      return [texts[0], track, texts[1]];
    }));
    if (!rows.length) place.textContent = "Not recorded.";
  }

  readTruth(picture) {
    const { size: [height, width], truth } = this.data.pictures[picture];
    return readTiles(truth.masks, truth.names.length, height, width);
  }

  // Every object there is; the one that the chosen detection overlaps most stands out.
  showTruth(chosen) {
    const canvas = document.querySelector(".truth"), { size, truth } = this.data.pictures[this.picture];
    drawPicture(canvas, this.views[this.picture], "The picture with its true objects");
    this.truth.forEach((mask) => shade(canvas, mask, size, [0, 150, 136]));
    truth.boxes.forEach((box) => outline(canvas, box, "#ffffffb0", 1.5));
    const match = chosen?.truth ?? null;
    if (match !== null) outlineChosen(canvas, truth.boxes[match]);
    document.querySelector(".matching").textContent = !truth.names.length ? "Nothing."
      : match === null ? `${truth.names.join(", ")}.`
      : `The chosen detection overlaps this ${truth.names[match]} most.`;
  }

  play() {
    if (Number(this.slider.value) === Number(this.slider.max)) this.slider.value = 0;
    this.show();
    this.button.textContent = "\u23f8";
    this.button.setAttribute("aria-label", "Pause");
    const next = () => {
      this.slider.value = Number(this.slider.value) + 1;
      this.show();
      if (Number(this.slider.value) === Number(this.slider.max)) this.pause();
    };
    this.timer = setInterval(next, 700);
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    this.button.textContent = "\u25b6";
    this.button.setAttribute("aria-label", "Play");
  }
}

(async () => {
  const data = JSON.parse(document.getElementById("data").textContent);
  await Charts.draw(data.charts);
  if (data.steps.length) {
    const views = await Promise.all(data.pictures.map(({ view }) => picture(view)));
    await new Player(data, views).show();
  }
  document.body.dataset.ready = "yes";
})();
