// three.js scene with the animated mesh of a GLB file and its input points.

import {
  AnimationMixer,
  Box3,
  BufferAttribute,
  BufferGeometry,
  Color,
  DirectionalLight,
  GLTFLoader,
  GridHelper,
  HemisphereLight,
  MeshStandardMaterial,
  OrbitControls,
  PerspectiveCamera,
  Points,
  PointsMaterial,
  Scene,
  Vector3,
  WebGLRenderer,
} from "./three.js";

export class Viewer {
  #renderer;
  #controls;
  #resized;
  #mixer;
  #mesh;
  #points;
  #grid;
  #sequence;
  #shownFrame;
  #time = 0;
  #drawPending = false;
  #scene = new Scene();
  #world = new Scene(); // rotated if z is up
  #camera = new PerspectiveCamera(32, 1, 0.01, 100);
  #box = new Box3();
  #clay = new MeshStandardMaterial({ color: 0x9aa3b2, roughness: 0.75, metalness: 0 });
  duration = 0;
  times = [];

  // Throws if the browser does not support WebGL.
  constructor(canvas) {
    this.#renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true });
    this.#renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    const sun = new DirectionalLight(0xffffff, 2.2);
    sun.position.set(1, 2, 1.5);
    this.#camera.add(sun);
    this.#scene.add(this.#world, this.#camera, new HemisphereLight(0xffffff, 0x70707c, 1.7));
    this.#controls = new OrbitControls(this.#camera, canvas);
    this.#controls.addEventListener("change", () => this.draw());
    this.#resized = new ResizeObserver(() => this.#fitCanvas());
    this.#resized.observe(canvas.parentElement);
  }

  // Parses a GLB file for `show`.
  parse(glb) {
    return new GLTFLoader().parseAsync(glb, "");
  }

  // Shows a mesh from `parse`, a sequence from npz.js, both, or neither (null).
  show(gltf, sequence) {
    this.#setMesh(gltf);
    this.#setPoints(sequence);
    const track = gltf?.animations[0]?.tracks[0];
    this.times = gltf ? Array.from(track?.times ?? [0]) : (sequence?.times ?? []);
    this.duration = this.times.at(-1) ?? 0;
    this.frame();
    this.draw();
  }

  get hasColors() {
    return Boolean(this.#mesh?.geometry.attributes.color);
  }

  #setMesh(gltf) {
    if (this.#mesh) {
      this.#mesh.geometry.dispose();
      this.#mesh.userData.scene.removeFromParent();
    }
    this.#mesh = this.#mixer = null;
    if (gltf) {
      this.#mesh = gltf.scene.getObjectByProperty("isMesh", true);
      this.#mesh.userData = { scene: gltf.scene, material: this.#mesh.material };
      this.#mesh.frustumCulled = false;
      this.#world.add(gltf.scene);
      this.#mixer = new AnimationMixer(gltf.scene);
      for (const clip of gltf.animations) this.#mixer.clipAction(clip).play();
    }
  }

  #setPoints(sequence) {
    this.#points?.removeFromParent();
    this.#points?.geometry.dispose();
    this.#points = null;
    this.#sequence = sequence;
    this.#shownFrame = -1;
    if (!sequence) return;
    const box = new Box3().setFromArray(sequence.frames[0]);
    const size =
      (box.getSize(new Vector3()).length() * 0.3) / Math.sqrt(Math.max(200, sequence.frames[0].length / 3));
    this.#points = new Points(new BufferGeometry(), new PointsMaterial({ size, color: new Color(0xff7a1a) }));
    this.#points.position.fromArray(sequence.origin);
    this.#points.frustumCulled = false;
    this.#world.add(this.#points);
  }

  setDisplay({ points, wireframe, colors, zUp }) {
    if (this.#points) this.#points.visible = points;
    if (this.#mesh) {
      this.#mesh.material = colors ? this.#mesh.userData.material : this.#clay;
      this.#mesh.material.wireframe = wireframe;
    }
    const angle = zUp ? -Math.PI / 2 : 0;
    if (this.#world.rotation.x !== angle) {
      this.#world.rotation.x = angle;
      this.frame();
    }
    this.draw();
  }

  // Moves the camera so that the whole motion is in view.
  frame() {
    this.#world.position.set(0, 0, 0);
    this.#computeBounds();
    if (this.#box.isEmpty()) return;
    this.#pose(this.#time);
    this.#world.position.copy(this.#box.getCenter(new Vector3()).negate()); // float32 is precise near the origin
    const size = this.#box.getSize(new Vector3());
    const reach = Math.max(size.length(), 1e-9);
    this.#grid?.removeFromParent();
    this.#grid?.dispose();
    this.#grid = new GridHelper(2 * reach, 20, 0x8888a0, 0x8888a0);
    Object.assign(this.#grid.material, { transparent: true, opacity: 0.28 });
    this.#grid.position.y = -size.y / 2;
    this.#scene.add(this.#grid);
    Object.assign(this.#camera, { near: reach / 200, far: 20 * reach });
    this.#camera.position
      .set(0.42, 0.26, 1.32)
      .multiplyScalar(1.18 * reach * Math.max(1, 0.75 / this.#camera.aspect));
    this.#controls.target.set(0, 0, 0);
    this.#camera.updateProjectionMatrix();
    this.#controls.update();
    this.draw();
  }

  #computeBounds() {
    this.#box.makeEmpty();
    if (this.#mesh) {
      for (let i = 0; i <= 4; i += 1) {
        this.#pose((i / 4) * this.duration);
        this.#world.updateMatrixWorld(true);
        this.#box.expandByObject(this.#mesh, true);
      }
      return;
    }
    if (!this.#points) return;
    this.#world.updateMatrixWorld(true);
    const [box, point] = [new Box3(), new Vector3()];
    for (const frame of this.#sequence.frames) {
      for (let i = 0; i < frame.length; i += 3) box.expandByPoint(point.fromArray(frame, i));
    }
    this.#box.copy(box.applyMatrix4(this.#points.matrixWorld));
  }

  seek(seconds) {
    this.#time = seconds;
    this.#pose(seconds);
    if (this.#points) {
      const { frames, times } = this.#sequence;
      const input = this.duration ? (seconds / this.duration) * times.at(-1) : 0; // a mesh may play slower
      let nearest = 0;
      times.forEach((time, i) => {
        if (Math.abs(time - input) < Math.abs(times[nearest] - input)) nearest = i;
      });
      if (nearest !== this.#shownFrame) {
        this.#points.geometry.setAttribute("position", new BufferAttribute(frames[nearest], 3));
        this.#shownFrame = nearest;
      }
    }
    this.draw();
  }

  #pose(seconds) {
    // Stop just before the end, where the clip would wrap around.
    this.#mixer?.setTime(Math.min(seconds, this.duration * (1 - 1e-6)));
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

  #fitCanvas() {
    const { clientWidth: width, clientHeight: height } = this.#renderer.domElement.parentElement;
    if (!width || !height) return;
    this.#renderer.setSize(width, height, false);
    this.#camera.aspect = width / height;
    this.#camera.updateProjectionMatrix();
    this.draw();
  }
}
