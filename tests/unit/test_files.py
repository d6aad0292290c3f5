"""Files: whole or not at all, readable by others, strict JSON, digests."""

import ast
import errno
import os
import socket
import subprocess
import sys

import pytest
from genlab import ComputationError, InputError, files
from stage import SCRIPTS

STAGES = sorted(path.stem for path in SCRIPTS.glob("*.py"))


def test_atomic_leaves_nothing_of_a_failed_write(tmp_path):
    path = tmp_path / "new" / "result.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and [p.name for p in path.parent.iterdir()] == ["result.txt"]


def test_leftovers_of_killed_processes_are_deleted_and_those_of_living_ones_are_not(tmp_path):
    path = tmp_path / "a [1].csv"
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    mark = f".{path.name}.{socket.gethostname()}-"
    of_killed, of_living, of_another = (
        tmp_path / f"{mark}{killed.pid}.part.csv",
        tmp_path / f"{mark}{os.getppid()}.part.csv",
        tmp_path / f".{path.name}.elsewhere-{killed.pid}.part.csv",
    )
    (tmp_path / f"{mark}{killed.pid}.old").mkdir()
    for file in (of_killed, of_living, of_another):
        file.touch()
    files.write_text(path, "whole")
    assert {file.name for file in tmp_path.iterdir()} == {path.name, of_living.name, of_another.name}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_no_wrong_input_and_named_by_the_output(tmp_path, number):
    (tmp_path / "x").write_text("old")
    message = r"x: cannot be written .*what was there is unchanged; make room"
    with pytest.raises(ComputationError, match=message), files.atomic(tmp_path / "x"):
        raise OSError(number, os.strerror(number))
    assert (tmp_path / "x").read_text() == "old"


WRITERS = {"to_csv", "savez", "savez_compressed", "save", "savefig", "save_file", "savemat", "tofile"}
OURS = {"amat.write", "arrays.write", "svhn.write_mat"}


@pytest.mark.parametrize("name", STAGES)
def test_no_stage_writes_but_by_a_temporary_file(name):
    for call in ast.walk(ast.parse((SCRIPTS / f"{name}.py").read_text())):
        if not isinstance(call, ast.Call):
            continue
        function, words = ast.unparse(call.func), [ast.unparse(word) for word in call.args]
        if function == "checkpoints.save":  # which writes by a temporary file itself
            continue
        if function in OURS or function.split(".")[-1] in WRITERS or (function == "open" and "'w'" in words):
            assert words[0] == "temporary", ast.unparse(call)
        assert not function.endswith((".write_bytes", ".open", "mkdir")), ast.unparse(call)
        if function.endswith(".write_text"):
            assert function == "files.write_text", ast.unparse(call)


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_results_have_the_mode_of_other_new_files_whatever_wrote_them_and_no_umask_is_touched(tmp_path, umask):
    before = os.umask(umask)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "umask", lambda mask: pytest.fail("another thread's files would get this mask"))
            for mode in (0o600, 0o666):
                with files.atomic(tmp_path / "x") as temporary:
                    temporary.touch(mode=mode)
                assert (tmp_path / "x").stat().st_mode & 0o777 == 0o666 & ~umask
    finally:
        os.umask(before)


def test_nothing_is_published_where_nothing_was_written(tmp_path):
    with pytest.raises(FileNotFoundError, match="x"), files.atomic(tmp_path / "x"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_json_is_read_as_written(tmp_path):
    files.write_json(tmp_path / "a.json", {"x": [1, 2.5, None]})
    assert files.read_json(tmp_path / "a.json") == {"x": [1, 2.5, None]}


def test_nan_is_not_written_to_json(tmp_path):
    with pytest.raises(ComputationError, match=r"b\.json: not written, for a number in it is not finite"):
        files.write_json(tmp_path / "b.json", {"x": float("nan")})
    assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "[NaN]", "[-Infinity]", "[1e999]", f"[{'9' * 400}]"])
def test_what_is_no_json_is_refused_by_name(tmp_path, text):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(InputError, match=r"c\.json: not a JSON file"):
        files.read_json(tmp_path / "c.json")


@pytest.mark.parametrize("value", ["[]", "[true]", '["1"]', "1"])
def test_a_list_of_numbers_holds_numbers(tmp_path, value):
    (tmp_path / "d.json").write_text(f'{{"a": {value}}}')
    with pytest.raises(InputError, match=r"d\.json: 'a' is "):
        files.read_json(tmp_path / "d.json", {"a": [files.NUMBER]})


def test_json_must_have_the_fields_that_are_asked_for(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": {"x.y": 2, "none": null}, "b": "3"}')
    content = files.read_json(path, {"a/x.y": files.NUMBER, "a/none": float | None, "b": str})
    assert content == {"a": {"x.y": 2, "none": None}, "b": "3"}
    for fields, message in (
        ({"a/z": int}, "a.json: 'a/z' is missing; remake it"),
        ({"b/z": int}, "a.json: 'b/z' is missing; remake it"),
        ({"a/none": float}, "a.json: 'a/none' is null; remake it"),
        ({"b": files.NUMBER}, "a.json: 'b' is \"3\"; remake it"),
    ):
        with pytest.raises(InputError, match=message):
            files.read_json(path, fields)


def test_checksum(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # the test vector of FIPS 180
    assert files.checksum(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_content_of_a_folder_is_what_is_read_of_it(tmp_path):
    """Linked folders count, hidden ones do not, and a folder linked into itself does not end in a circle."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "cat.png").write_bytes(b"cat")
    (tmp_path / "train").mkdir()
    empty = files.content_checksum(tmp_path / "train")
    (tmp_path / "train" / "cats").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "train" / "again").symlink_to(tmp_path / "train")
    linked = files.content_checksum(tmp_path / "train")
    (tmp_path / "train" / ".hidden").mkdir()
    (tmp_path / "train" / ".hidden" / "dog.png").write_bytes(b"dog")
    assert files.content_checksum(tmp_path / "train") == linked != empty
    (tmp_path / "elsewhere" / "cat.png").write_bytes(b"cow")
    assert files.content_checksum(tmp_path / "train") != linked


def test_digests(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert files.digests(tmp_path / "x") == {
        "bytes": 3,
        "md5": "900150983cd24fb0d6963f7d28e17f72",
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }


def test_read_field():
    content = {"data": {"title": "digits"}, "k": 200, "mean": -3, "nan": float("nan"), "flag": True}
    assert files.read_field(content, "data.title", str, "f") == "digits"
    assert files.read_field(content, "mean", float, "f") == -3
    for field, kind, message in (
        ("data.name", str, "f: 'data.name' is missing; expected a text"),
        ("k.more", int, "f: 'k.more' is missing; expected a whole number"),
        ("data", str, '\'data\' is {"title": "digits"}; expected a text'),
        ("nan", float, "'nan' is NaN; expected a finite number"),
        ("flag", int, "'flag' is true; expected a whole number"),
    ):
        with pytest.raises(InputError, match=message.replace("{", r"\{").replace("}", r"\}")):
            files.read_field(content, field, kind, "f")
    with pytest.raises(InputError, match="is missing"):
        files.read_field([1, 2], "k", int, "f")


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ([f"a b/{x}/{y}/n.csv" for x in ("vae", "g{a,n}") for y in ("s1", "s2")], "'a b'/{vae,'g{a,n}'}/{s1,s2}/n.csv"),
        (["r/1/x", "r/2/x", "ref/x", "r/1/2/x"], "r/{1,2}/x ref/x r/1/2/x"),
        (["a/1", "b/2"], "a/1 b/2"),  # no combinations of their parts
        (["one"], "one"),
        ([], ""),
    ],
)
def test_bash_expands_braces_to_the_paths_in_their_order(paths, words):
    assert files.in_braces(paths) == words
    expanded = subprocess.run(["bash", "-c", f"printf '%s\\n' {words}"], capture_output=True, text=True, check=True)
    assert expanded.stdout.splitlines() == (paths or [""])
