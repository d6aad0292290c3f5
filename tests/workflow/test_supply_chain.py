"""What comes from elsewhere: packages known to be vulnerable, what the Actions may do, and checkouts by git."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SOUND = {"name": "numpy", "version": "2.0", "vulns": []}
VULNERABLE = {"name": "pillow", "version": "1.0", "vulns": [{"id": "CVE-1", "fix_versions": ["1.1", "2.0"]}]}
UNMENDED = {"name": "yte", "version": "3.0", "vulns": [{"id": "CVE-2", "fix_versions": []}]}
UNSEEN = {"name": "torch", "skip_reason": "not found"}


def answer(*packages):
    return json.dumps({"dependencies": packages, "fixes": []})


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        (answer(SOUND, SOUND), 0, "2 packages checked, none known to be vulnerable"),
        (answer(SOUND, VULNERABLE), 1, "pillow 1.0: CVE-1, mended in 1.1, 2.0"),
        (answer(UNMENDED, UNSEEN), 1, "yte 3.0: CVE-2, not mended yet"),
        (answer(UNMENDED, VULNERABLE), 1, "audit.py: 2 known vulnerabilities"),
        (answer(SOUND, UNSEEN), 2, "audit.py: 1 of 2 packages were not checked: torch"),
        (answer(), 2, "audit.py: nothing was checked: the lock is empty"),
        ("", 2, "audit.py: nothing was checked: no database of vulnerabilities is at hand (a: no network)"),
        ("No known vulnerabilities found", 2, "audit.py: nothing was checked"),
    ],
)
def test_an_audit_passes_only_if_every_package_was_looked_up(tmp_path, said, code, words):
    (tmp_path / "said").write_text(said)
    program = (
        f"import sys; sys.stderr.write('Traceback\\na: no network'); print(open({str(tmp_path / 'said')!r}).read())"
    )
    command = [sys.executable, ROOT / "tests" / "audit.py", sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == code and words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("\n") == (code > 0)


def test_the_actions_may_only_read():
    for file in (ROOT / ".github" / "workflows").glob("*.yml"):
        content = yaml.load(file.read_text(), yaml.BaseLoader)
        assert content["permissions"] == {"contents": "read"}
        assert not any("permissions" in job for job in content["jobs"].values())
        assert set(content["on"]) <= {"push", "pull_request"}  # not pull_request_target, which runs others' code
        assert not re.search(r"secrets\.|github\.(event|head_ref)", file.read_text())
        for job in content["jobs"].values():
            (checkout,) = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
            assert checkout["with"] == {"persist-credentials": "false"}


@pytest.mark.skipif(not shutil.which("git") or not (ROOT / ".git").exists(), reason="no checkout by git")
def test_a_checkout_for_crlf_is_the_same_to_the_byte(tmp_path):
    words = ["git", "-c", "core.autocrlf=true", "-c", "core.eol=crlf", "clone", "--quiet", ROOT, tmp_path / "clone"]
    subprocess.run(words, check=True, capture_output=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=tmp_path / "clone", capture_output=True, text=True, check=True
    )
    names = listed.stdout.split("\0")[:-1]
    wrong = [name for name in names if b"\r\n" in (tmp_path / "clone" / name).read_bytes() and name[-4:] != ".png"]
    assert len(names) > 200 and wrong == []
    (tmp_path / "squeue").write_text("#!/bin/sh\necho COMPLETED\n")
    (tmp_path / "squeue").chmod(0o755)
    script = tmp_path / "clone" / "profiles" / "cluster-generic" / "status-slurm.sh"
    path = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([script, "1"], env=path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "success\n")
