// three.js scene with the animated mesh of a GLB file and its input points.

import { colorsOf, distances } from "./heat.js";
import {
  AnimationMixer,
  Box3,
  BufferAttribute,
  BufferGeometry,
  GLTFLoader,
  MeshStandardMaterial,
  Points,
  PointsMaterial,
  Scene,
  TextureLoader,
  Vector3,
} from "./three.js";
import { View } from "./view.js";

const ORANGE = 0xff7a1a;

export class Viewer {
  #view;
  #mixer;
  #mesh;
  #points;
  #sequence;
  #shownFrame;
  #time = 0;
  #display = {};
  #distances = new Map(); // frame → distances
  #homes = { mesh: new Scene(), points: new Scene() }; // each turned upright, and moved aside if side by side
  #plain = new MeshStandardMaterial({ color: 0x9aa3b2, roughness: 0.75, metalness: 0 });
  #heated = new MeshStandardMaterial({ vertexColors: true, roughness: 0.9, metalness: 0 });
  duration = 0;
  times = [];

  // Throws if the browser does not support WebGL.
  constructor(canvas) {
    this.#view = new View(canvas, [this.#homes.mesh, this.#homes.points]);
  }

  // Parses a GLB file for `show`.
  parse(glb) {
    const loader = new GLTFLoader();
    loader.register((parser) => {
      parser.textureLoader = new TextureLoader(parser.options.manager); // others fetch, which the policy forbids
      return { name: "textures as images" };
    });
    return loader.parseAsync(glb, "");
  }

  // Shows a mesh from `parse`, a sequence from sequence.js, both, or neither (null).
  show(gltf, sequence) {
    this.#distances.clear();
    this.#display = {};
    this.#setMesh(gltf);
    this.#setPoints(sequence);
    const track = gltf?.animations[0]?.tracks[0];
    this.times = gltf ? Array.from(track?.times ?? [0]) : (sequence?.times ?? []);
    this.duration = this.times.at(-1) ?? 0;
    this.#time = 0;
  }

  get hasColors() {
    return Boolean(this.#mesh?.userData.color ?? this.#mesh?.userData.material.map);
  }

  #setMesh(gltf) {
    if (this.#mesh) {
      this.#mesh.geometry.dispose();
      this.#mesh.userData.scene.removeFromParent();
    }
    this.#mesh = this.#mixer = null;
    if (!gltf) return;
    // The file stands upright by itself; here `display.up` turns mesh and points alike.
    gltf.scene.getObjectByName("upright")?.quaternion.identity();
    this.#mesh = gltf.scene.getObjectByProperty("isMesh", true);
    const { material, geometry } = this.#mesh;
    this.#mesh.userData = { scene: gltf.scene, material, color: geometry.attributes.color };
    this.#mesh.frustumCulled = false;
    this.#homes.mesh.add(gltf.scene);
    this.#mixer = new AnimationMixer(gltf.scene);
    for (const clip of gltf.animations) this.#mixer.clipAction(clip).play();
  }

  #setPoints(sequence) {
    this.#points?.removeFromParent();
    this.#points?.geometry.dispose();
    this.#points = null;
    this.#sequence = sequence;
    this.#shownFrame = -1;
    if (!sequence) return;
    const first = sequence.frames.find((frame) => frame.length);
    const box = new Box3().setFromArray(first);
    const size = (box.getSize(new Vector3()).length() * 0.6) / Math.sqrt(Math.max(200, first.length / 3));
    this.#points = new Points(new BufferGeometry(), new PointsMaterial({ size, color: ORANGE }));
    this.#points.position.fromArray(sequence.origin);
    this.#points.frustumCulled = false;
    this.#homes.points.add(this.#points);
  }

  // `arrangement`: mesh, points, both or beside; `coloring`: own, plain or distance; `most`: the distance at the
  // end of the ramp; `up`: the direction that points up.
  setDisplay(display) {
    const turned = String(display.up) !== String(this.#display.up) || display.arrangement !== this.#display.arrangement;
    this.#display = display;
    const { arrangement, coloring, wireframe } = display;
    if (this.#points) this.#points.visible = !this.#mesh || arrangement !== "mesh";
    if (this.#mesh) {
      this.#mesh.visible = arrangement !== "points";
      const own = this.hasColors && coloring === "own" ? this.#mesh.userData.material : this.#plain;
      this.#mesh.material = coloring === "distance" ? this.#heated : own;
      for (const material of [own, this.#plain, this.#heated]) material.wireframe = wireframe;
    }
    this.#shownFrame = -1;
    if (turned) this.frame();
    this.seek(this.#time);
  }

  // Moves the camera so that the whole motion is in view.
  frame() {
    const { mesh, points } = this.#homes;
    for (const home of [mesh, points]) home.turn(this.#display.up);
    const box = this.#bounds();
    if (box.isEmpty()) return;
    const beside = this.#display.arrangement === "beside" && this.#mesh && this.#points;
    this.#view.frame(box, beside ? [points, mesh] : null);
    this.seek(this.#time);
  }

  // Box of the whole motion, upright.
  #bounds() {
    const box = new Box3();
    if (this.#mesh) {
      for (let i = 0; i <= 4; i += 1) {
        this.#pose((i / 4) * this.duration);
        this.#homes.mesh.updateMatrixWorld(true);
        box.expandByObject(this.#mesh, true);
      }
      return box;
    }
    if (!this.#points) return box;
    const point = new Vector3();
    for (const frame of this.#sequence.frames)
      for (let i = 0; i < frame.length; i += 3) box.expandByPoint(point.fromArray(frame, i));
    this.#homes.points.updateMatrixWorld(true);
    return box.applyMatrix4(this.#points.matrixWorld);
  }

  seek(seconds) {
    this.#time = seconds;
    if (this.#points) this.#showFrame(this.#nearestFrame(seconds));
    this.#pose(seconds);
    this.#view.draw();
  }

  #nearestFrame(seconds) {
    let nearest = 0;
    const { times } = this.#sequence;
    times.forEach((time, i) => {
      if (Math.abs(time - seconds) < Math.abs(times[nearest] - seconds)) nearest = i;
    });
    return nearest;
  }

  #showFrame(frame) {
    if (frame === this.#shownFrame) return;
    this.#shownFrame = frame;
    const { geometry, material } = this.#points;
    geometry.setAttribute("position", new BufferAttribute(this.#sequence.frames[frame], 3));
    const measured = this.#sequence.frames[frame].length > 0; // else there are no distances
    const heated = Boolean(this.#mesh) && this.#display.coloring === "distance" && measured;
    if (this.#mesh && this.#display.coloring === "distance")
      this.#mesh.material = measured ? this.#heated : this.#plain;
    if (material.vertexColors !== heated) {
      Object.assign(material, { vertexColors: heated, needsUpdate: true });
      material.color.set(heated ? 0xffffff : ORANGE);
    }
    if (this.#mesh?.userData.color) this.#mesh.geometry.setAttribute("color", this.#mesh.userData.color);
    if (!heated) return;
    const found = this.distancesAt(frame);
    geometry.setAttribute("color", new BufferAttribute(colorsOf(found.points, this.#display.most), 3));
    this.#mesh.geometry.setAttribute(
      "color",
      new BufferAttribute(colorsOf(found.vertices, this.#display.most), 3),
    );
  }

  // Distances of an input frame, from the mesh at the same time. They are kept, since they take a while.
  distancesAt(frame) {
    if (!this.#distances.has(frame)) {
      this.#pose(this.#sequence.times[frame]);
      this.#homes.mesh.updateMatrixWorld(true);
      const { position } = this.#mesh.geometry.attributes;
      const vertices = new Float64Array(3 * position.count);
      const place = new Vector3();
      const matrix = this.#mesh.matrix.clone();
      for (let node = this.#mesh.parent; node !== this.#homes.mesh; node = node.parent) matrix.premultiply(node.matrix);
      for (let i = 0; i < position.count; i += 1)
        this.#mesh.getVertexPosition(i, place).applyMatrix4(matrix).toArray(vertices, 3 * i);
      const { origin } = this.#sequence;
      for (let i = 0; i < vertices.length; i += 1) vertices[i] -= origin[i % 3];
      const triangles = Uint32Array.from(this.#mesh.geometry.index.array);
      this.#distances.set(frame, distances(this.#sequence.frames[frame], vertices, triangles));
    }
    return this.#distances.get(frame);
  }

  #pose(seconds) {
    // Stop just before the end, where the clip would wrap around.
    this.#mixer?.setTime(Math.min(seconds, this.duration * (1 - 1e-6)));
  }

  rotate(right, up) {
    this.#view.rotate(right, up);
  }

  zoom(factor) {
    this.#view.zoom(factor);
  }

  // A PNG of what is shown.
  screenshot() {
    return this.#view.screenshot();
  }
}
