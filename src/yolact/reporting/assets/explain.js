"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
Scene.make(document.getElementById("scene"), data.scenes[0]).then((scene) => {
  document.body.dataset.ready = "yes";
  window.scene = scene;
});
