"""What a result carries so that it can be traced."""

import json

from genlab import cli, provenance


def test_provenance_is_json_and_names_versions(tmp_path):
    options = cli.parser("A stage.", seed=True).parse_args(["--seed", "4"])
    content = json.loads(json.dumps(provenance.record(options, data="abc")))
    assert content["settings"] == {"seed": 4} and content["data"] == "abc"
    assert content["versions"]["numpy"].startswith("2.")
