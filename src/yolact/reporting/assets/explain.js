"use strict";

const [data] = JSON.parse(document.getElementById("data").textContent).scenes;
const scene = new Scene(document.getElementById("scene"));
Promise.all([Scene.read(data), picture(data.view)]).then(([tiles, view]) => {
  scene.show(tiles, view);
  document.body.dataset.ready = "yes";
});
