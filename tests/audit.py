"""Look for known vulnerabilities of the packages in the lock; for `make audit`.

usage: audit.py COMMAND ...    the command that runs pip-audit

Exit code 0 if every package was looked up and none is known to be vulnerable, 1 if one is, and 2 if a package could not
be looked up: pip-audit alone calls that a success.
"""

import json
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements.txt"
OPTIONS = ["--requirement", LOCK, "--require-hashes", "--disable-pip", "--vulnerability-service", "osv"]


def main():
    words = [*sys.argv[1:], *OPTIONS, "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(words, capture_output=True, text=True)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = (done.stderr.strip() or "no answer").splitlines()[-1][:300]
        fail(f"nothing was checked: no database of vulnerabilities is at hand ({reason})", 2)
    known = [(package, each) for package in packages for each in package.get("vulns", ())]
    for package, each in known:
        remedy = f"mended in {', '.join(each['fix_versions'])}" if each["fix_versions"] else "not mended yet"
        print(f"{package['name']} {package['version']}: {each['id']}, {remedy}")
    if known:
        fail(f"{len(known)} known vulnerabilities; run make lock, or leave the package out", 1)
    if unseen := [package["name"] for package in packages if "skip_reason" in package]:
        fail(f"{len(unseen)} of {len(packages)} packages were not checked: {', '.join(unseen)[:200]}", 2)
    if not packages:
        fail("nothing was checked: the lock is empty", 2)
    print(f"{len(packages)} packages checked, none known to be vulnerable")


def fail(message, code):
    print(f"audit.py: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
