// Camera, light, floor and drawing of the 3D view.

import {
  DirectionalLight,
  GridHelper,
  HemisphereLight,
  OrbitControls,
  PerspectiveCamera,
  Scene,
  Vector3,
  WebGLRenderer,
} from "./three.js";

const UP = new Vector3(0, 1, 0);

export class View {
  #renderer;
  #controls;
  #resized;
  #homes;
  #grid;
  #drawPending = false;
  #scene = new Scene();
  #camera = new PerspectiveCamera(32, 1, 0.01, 100);

  // `homes`: the objects to show; each gets a method `turn(direction)`. Throws without WebGL.
  constructor(canvas, homes) {
    this.#renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true });
    this.#renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    const sun = new DirectionalLight(0xffffff, 2.2);
    sun.position.set(1, 2, 1.5);
    this.#camera.add(sun);
    this.#homes = homes;
    this.#scene.add(...homes, this.#camera, new HemisphereLight(0xffffff, 0x70707c, 1.7));
    for (const home of homes)
      home.turn = (direction = [0, 1, 0]) => {
        home.position.set(0, 0, 0);
        home.quaternion.setFromUnitVectors(new Vector3(...direction), UP);
        if (direction[1] < 0) home.quaternion.set(1, 0, 0, 0); // about x, as between the axes of OpenCV and of glTF
      };
    this.#controls = new OrbitControls(this.#camera, canvas);
    this.#controls.addEventListener("change", () => this.draw());
    this.#leaveScrolling(canvas);
    this.#resized = new ResizeObserver(() => this.#fitCanvas());
    this.#resized.observe(canvas.parentElement);
  }

  // The wheel zooms only while the view has the focus, and one finger that moves up or down scrolls the page.
  #leaveScrolling(canvas) {
    canvas.style.touchAction = "pan-y";
    canvas.parentElement.addEventListener(
      "wheel",
      (event) => {
        if (document.activeElement !== canvas && !event.ctrlKey) event.stopPropagation();
      },
      { capture: true },
    );
  }

  // Centers the objects, whose box this is, and moves the camera so that all of it is in view. With `beside`,
  // the first of two objects is moved to the left and the second to the right.
  frame(box, beside) {
    const size = box.getSize(new Vector3());
    const away = box.getCenter(new Vector3()).negate(); // float32 is precise near the origin
    for (const home of this.#homes) home.position.copy(away);
    const reach = Math.max(size.length(), 1e-9);
    const shift = beside ? 0.55 * Math.max(size.x, 0.4 * size.y) : 0;
    beside?.forEach((home, i) => {
      home.position.x += i ? shift : -shift;
    });
    this.#grid?.removeFromParent();
    this.#grid?.dispose();
    this.#grid = new GridHelper(2 * reach, 20, 0x8888a0, 0x8888a0);
    Object.assign(this.#grid.material, { transparent: true, opacity: 0.28 });
    this.#grid.position.y = -size.y / 2;
    this.#scene.add(this.#grid);
    Object.assign(this.#camera, { near: reach / 200, far: 20 * reach });
    // The height decides in a wide window, and the width in a narrow one or if there are two objects.
    const wide = beside ? 1.5 * (size.x + 2 * shift) : 1.3 * reach;
    this.#camera.position
      .set(beside ? 0 : 0.42, 0.26, 1.32)
      .multiplyScalar(Math.max((beside ? 1.35 : 1.18) * reach, wide / this.#camera.aspect));
    this.#controls.target.set(0, 0, 0);
    this.#camera.updateProjectionMatrix();
    this.#controls.update();
    this.draw();
  }

  rotate(right, up) {
    const offset = this.#camera.position.clone().sub(this.#controls.target);
    offset.applyAxisAngle(this.#camera.up, -right);
    const side = new Vector3().crossVectors(this.#camera.up, offset).normalize();
    const angle = offset.angleTo(this.#camera.up);
    offset.applyAxisAngle(side, -Math.max(Math.min(up, angle - 0.05), angle - Math.PI + 0.05));
    this.#camera.position.copy(this.#controls.target).add(offset);
    this.#controls.update();
  }

  zoom(factor) {
    this.#camera.position.sub(this.#controls.target).multiplyScalar(factor).add(this.#controls.target);
    this.#controls.update();
  }

  // Schedules a redraw, at most one per animation frame.
  draw() {
    if (this.#drawPending) return;
    this.#drawPending = true;
    requestAnimationFrame(() => {
      this.#drawPending = false;
      this.#renderer.render(this.#scene, this.#camera);
    });
  }

  screenshot() {
    this.#renderer.render(this.#scene, this.#camera); // its buffer is lost after the next pause
    return new Promise((resolve) => this.#renderer.domElement.toBlob(resolve));
  }

  #fitCanvas() {
    const { clientWidth: width, clientHeight: height } = this.#renderer.domElement.parentElement;
    if (!width || !height) return;
    this.#renderer.setSize(width, height, false);
    this.#camera.aspect = width / height;
    this.#camera.updateProjectionMatrix();
    this.draw();
  }
}
