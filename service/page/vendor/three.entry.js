// The subset of three.js used by viewer.js and view.js.
export {
  AnimationMixer, Box3, BufferAttribute, BufferGeometry, DirectionalLight, GridHelper, HemisphereLight,
  MeshStandardMaterial, PerspectiveCamera, Points, PointsMaterial, Quaternion, Scene, TextureLoader, Vector3, WebGLRenderer,
} from "three";
export { OrbitControls } from "three/addons/controls/OrbitControls.js";
export { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
