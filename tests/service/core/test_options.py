import subprocess
import sys

import pytest

from service.core.jobs.formats import MAX_MORPH_FRAMES, Format
from service.core.jobs.option_faults import OptionsError
from service.core.jobs.options import Animation, Color, Options, Quality, parse_options


def test_defaults() -> None:
    assert parse_options([]) == Options()
    assert Options().formats == (Format.GLB,)


def test_formats_can_be_repeated_or_comma_separated() -> None:
    fields = [("formats", "glb,obj"), ("formats", "glb"), ("frames", "33"), ("metadata", '{"take": 4}')]
    options = parse_options(fields)
    assert options.formats == (Format.GLB, Format.OBJ)
    assert options.frames == 33
    assert options.metadata == {"take": 4}


@pytest.mark.parametrize(
    ("fields", "key", "words"),
    [
        ([("resolutoin", "64")], "resolutoin", "is not an option"),
        ([("formats", "fbx")], "formats", "glb"),
        ([("formats", "")], "formats", "glb"),
        ([("frames", "1")], "frames", "frames: found '1', wanted at least 2"),
        ([("frames", "many")], "frames", "frames: found 'many', wanted a whole number"),
        ([("fps", "nan")], "fps", "finite number"),
        ([("playback_fps", "1e-300")], "playback_fps", "at least 0.01"),
        ([("fps", "5e-324")], "fps", "at least 1e-06"),
        ([("duration", "1e-300")], "duration", "at least 0.01"),
        ([("threshold", "1")], "threshold", "less than 1"),
        ([("simplify", "3")], "simplify", "at least 4"),
        ([("color", "red")], "color", "correspondence"),
        ([("metadata", "{")], "metadata", "is not valid JSON"),
        ([("metadata", "[1]")], "metadata", "metadata: found [1], wanted an object"),
        ([("metadata", '"' + "x" * 17_000 + '"')], "metadata", "16384"),
        ([("metadata", "null")], "metadata", "metadata: found null, wanted an object"),
        ([("name", "")], "name", "name: found '', wanted 1 or more characters"),
        ([("model", "x" * 101)], "model", "…, wanted at most 100 characters"),
        ([("compress", "maybe")], "compress", "compress: found 'maybe', wanted true or false"),
        ([("webhook_url", "https://h:70000/")], "webhook_url", "webhook_url has an invalid host or port"),
        ([("frames", "5"), ("frames", "6")], "frames", "given twice"),
        ([("frames", "5"), ("fps", "6")], "options", "exclude each other"),
        ([("expires_in", "1")], "expires_in", "at least 60"),
    ],
)
def test_each_fault_names_its_field(fields: list[tuple[str, str]], key: str, words: str) -> None:
    with pytest.raises(OptionsError) as refusal:
        parse_options(fields)
    assert [fault.key for fault in refusal.value.faults] == [key]
    assert words in refusal.value.faults[0].message


def test_all_faults_are_reported_at_once() -> None:
    with pytest.raises(OptionsError) as refusal:
        parse_options([("frames", "1"), ("colour", "none"), ("threshold", "2")])
    assert {fault.key for fault in refusal.value.faults} == {"frames", "colour", "threshold"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Options(frames=201, animation=Animation.MORPH), "morph holds at most 200"),
        (
            Options(fps=1000, animation=Animation.MORPH),
            "fps: found 501 output frames, glb with animation morph holds at most 200",
        ),
        (Options(fps=1000), None),
        (Options(fps=1000, formats=(Format.OBJ,), animation=Animation.MORPH), None),
        (Options(frames=201, formats=(Format.PLY, Format.NPZ)), None),
        (Options(fps=1), "found 1 output frame in 0.5 s"),
        (Options(fps=2), None),
        (Options(), None),
    ],
)
def test_a_result_longer_than_its_files_can_hold_is_refused(options: Options, words: str | None) -> None:
    if words is None:
        options.check_length(seconds=0.5, frames=17)
    else:
        with pytest.raises(OptionsError, match=words):
            options.check_length(seconds=0.5, frames=17)


def test_large_numbers_of_output_frames_are_readable() -> None:
    with pytest.raises(OptionsError, match="found 24,000,001 output frames, glb holds at most 1,000"):
        Options(fps=24).check_length(seconds=1e6, frames=17)


def test_names_and_limits_are_the_models() -> None:
    from model.meshes.glb import MAX_MORPH_FRAMES as LIMIT
    from model.reconstruction.quality import DEFAULT, QUALITIES

    assert MAX_MORPH_FRAMES == LIMIT
    assert set(Quality) == set(QUALITIES)
    assert Options().quality == DEFAULT


def test_options_need_no_numpy() -> None:
    code = "import sys; sys.modules['numpy'] = None; import service.core.jobs.views"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        (Options(color=Color.INPUT), ["color"]),
        (Options(color=Color.INPUT, texture=64), ["color", "texture"]),
        (Options(color=Color.CORRESPONDENCE), []),
    ],
)
def test_options_that_need_colors_are_refused_without_them(options: Options, keys: list[str]) -> None:
    options.check_colors(True)
    found: list[str] = []
    try:
        options.check_colors(False)
    except OptionsError as refusal:
        found = [fault.key for fault in refusal.faults]
    assert found == keys
