"""Universal Scene Description: a mesh with time-sampled points, as a crate (.usdc) or a package (.usdz)."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.meshes.normals import vertex_normals
from model.meshes.png import png_bytes
from model.meshes.sequence import MeshSequence
from model.meshes.upright import upright_quaternion

TEXTURE = "texture.png"


def write_usdc(meshes: MeshSequence) -> bytes:
    """The sequence as one crate file; of a texture it holds the coordinates only."""
    return _in_folder(lambda folder: _write_crate(meshes, folder / "mesh.usdc", textured=False))


def write_usdz(meshes: MeshSequence) -> bytes:
    """The sequence as one package, with its texture if it has one."""
    from pxr import Sdf, UsdUtils

    def write(folder: Path) -> Path:
        crate = _write_crate(meshes, folder / "mesh.usdc", textured=meshes.texture is not None)
        package = folder / "mesh.usdz"
        if not UsdUtils.CreateNewUsdzPackage(Sdf.AssetPath(str(crate)), str(package)):
            raise OSError("the package could not be written")
        return package

    return _in_folder(write)


def _in_folder(write: Callable[[Path], Path]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="oflow-usd-") as folder:
        return write(Path(folder)).read_bytes()


def _write_crate(meshes: MeshSequence, target: Path, *, textured: bool) -> Path:
    """Time codes count frames where these are evenly spaced: frame i is at time code i.

    Points are float32 relative to the center of the sequence, which the transform adds in float64;
    where `up` is not y, it turns the sequence, too.
    """
    from pxr import Gf, Sdf, Usd, UsdGeom, Vt

    rate = meshes.fps or 1.0
    codes = meshes.clock * rate
    codes = np.where(np.abs(codes - codes.round()) < 1e-6, codes.round(), codes)
    stage = Usd.Stage.CreateNew(str(target))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetTimeCodesPerSecond(rate)
    stage.SetFramesPerSecond(rate)
    stage.SetStartTimeCode(float(codes[0]))
    stage.SetEndTimeCode(float(codes[-1]))
    root = UsdGeom.Xform.Define(stage, "/sequence")
    stage.SetDefaultPrim(root.GetPrim())
    low, high = meshes.vertices.min(axis=(0, 1)), meshes.vertices.max(axis=(0, 1))
    center = (low + high) / 2
    if meshes.up != "y":
        x, y, z, w = upright_quaternion(meshes.up)
        root.AddOrientOp().Set(Gf.Quatf(w, x, y, z))  # outside of the translation
    root.AddTranslateOp(UsdGeom.XformOp.PrecisionDouble).Set(Gf.Vec3d(*center.tolist()))

    mesh = UsdGeom.Mesh.Define(stage, "/sequence/surface")
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(meshes.faces), 3, np.int32)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(np.ascontiguousarray(meshes.faces.ravel())))
    local = (meshes.vertices - center).astype(np.float32)  # [T, V, 3]
    normals = vertex_normals(local, meshes.faces)
    mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    for code, places, directions in zip(codes.tolist(), local, normals, strict=True):
        mesh.CreatePointsAttr().Set(_vectors(places), code)
        mesh.CreateNormalsAttr().Set(_vectors(directions), code)
        mesh.CreateExtentAttr().Set(_vectors(np.stack([places.min(axis=0), places.max(axis=0)])), code)

    values = UsdGeom.PrimvarsAPI(mesh)
    if meshes.colors is not None:
        linear = (meshes.colors / np.float32(255)) ** np.float32(2.2)
        mesh.CreateDisplayColorPrimvar(UsdGeom.Tokens.vertex).Set(_vectors(linear.astype(np.float32)))
    if meshes.confidence is not None:
        confidence = values.CreatePrimvar("confidence", Sdf.ValueTypeNames.FloatArray, UsdGeom.Tokens.vertex)
        confidence.Set(Vt.FloatArray.FromNumpy(meshes.confidence.astype(np.float32)))
    if meshes.texture is not None:
        uv = meshes.texture.uv * np.array([1, -1], np.float32) + np.array([0, 1], np.float32)  # v points up
        st = values.CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying)
        st.Set(Vt.Vec2fArray.FromNumpy(uv))
        st.SetIndices(Vt.IntArray.FromNumpy(meshes.texture.faces.ravel()))
    _add_material(stage, mesh, TEXTURE if textured else None, colored=meshes.colors is not None)
    if textured and meshes.texture is not None:
        (target.parent / TEXTURE).write_bytes(png_bytes(meshes.texture.image))
    stage.GetRootLayer().Save()
    return target


def _vectors(array: NDArray[np.float32]) -> Any:
    from pxr import Vt

    return Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(array))


def _add_material(stage: Any, mesh: Any, texture: str | None, *, colored: bool) -> None:
    """A matte surface that shows the texture, or else the colors of vertices, or else grey."""
    from pxr import Gf, Sdf, UsdShade

    material = UsdShade.Material.Define(stage, "/sequence/matte")
    shader = UsdShade.Shader.Define(stage, "/sequence/matte/surface")
    shader.CreateIdAttr("UsdPreviewSurface")
    shader.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(0.85)
    shader.CreateInput("metallic", Sdf.ValueTypeNames.Float).Set(0.0)
    color = shader.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f)
    color.Set(Gf.Vec3f(0.6, 0.63, 0.67))
    if texture is not None or colored:
        reader = UsdShade.Shader.Define(stage, "/sequence/matte/reader")
        kind, name = ("float2", "st") if texture else ("float3", "displayColor")
        reader.CreateIdAttr(f"UsdPrimvarReader_{kind}")
        reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set(name)
        types = {"float2": Sdf.ValueTypeNames.Float2, "float3": Sdf.ValueTypeNames.Float3}
        found = reader.CreateOutput("result", types[kind])
        if texture is not None:
            sampler = UsdShade.Shader.Define(stage, "/sequence/matte/texture")
            sampler.CreateIdAttr("UsdUVTexture")
            sampler.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(Sdf.AssetPath(f"./{texture}"))
            sampler.CreateInput("sourceColorSpace", Sdf.ValueTypeNames.Token).Set("sRGB")
            for side in ("wrapS", "wrapT"):
                sampler.CreateInput(side, Sdf.ValueTypeNames.Token).Set("clamp")
            sampler.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(found)
            found = sampler.CreateOutput("rgb", Sdf.ValueTypeNames.Float3)
        color.ConnectToSource(found)
    output = shader.CreateOutput("surface", Sdf.ValueTypeNames.Token)
    material.CreateSurfaceOutput().ConnectToSource(output)
    UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)
