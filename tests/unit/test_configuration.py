"""The configuration: defaults, faults named with their remedy, options made from the schema."""

import argparse
import datetime
import os
from pathlib import Path

import pytest
import yaml
from genlab import InputError, configuration, consistency
from genlab.data import arrays, counts
from genlab.kinds import KINDS, seeds_of

ROOT = Path(__file__).parents[2]


def load(name):
    return yaml.safe_load((ROOT / name).read_text())


def test_the_schema_is_one():
    import jsonschema

    jsonschema.Draft202012Validator.check_schema(configuration.load_schema())


def test_config_yaml_says_what_the_defaults_are():
    assert configuration.complete(load("config.yaml")) == configuration.complete({})


@pytest.mark.parametrize("name", ["full", "gpu", "likelihood", "overnight", "smoke"])
def test_the_other_files_are_valid_and_have_their_own_results(name):
    assert configuration.complete(load(f"config/{name}.yaml"))["results"] != configuration.complete({})["results"]


def test_every_key_has_a_description_and_a_default():
    schema = configuration.load_schema()

    def check(properties, path, required=("urls",)):
        for key, child in properties.items():
            reference = child.get("$ref")
            child = (schema["$defs"][reference.rsplit("/", 1)[-1]] if reference else {}) | child
            assert child.get("description", "").endswith("."), f"{path}{key}"
            assert "default" in child or key in required, f"{path}{key}"
            check(child.get("properties", {}), f"{path}{key}.")

    check(schema["properties"], "")
    for kind in KINDS:
        definition = schema["$defs"][f"image_{kind}"]
        properties = dict(definition["properties"])
        assert properties.pop("kind") == {"const": kind}
        check(properties, f"image_{kind}.", definition.get("required", ()))


def test_each_kind_of_image_model_has_its_branch_and_its_stage():
    models = configuration.load_schema()["properties"]["images"]["properties"]["models"]["additionalProperties"]
    assert models["properties"]["kind"]["enum"] == list(KINDS)
    branches = {part["if"]["properties"]["kind"]["const"]: part["then"]["$ref"] for part in models["allOf"]}
    assert branches == {kind: f"#/$defs/image_{kind}" for kind in KINDS}
    for kind, networks in KINDS.items():
        assert networks[:1] in (("generator",), ())
        stage = f"train_{kind}" if networks else "import_samples"
        assert (ROOT / "workflow" / "scripts" / f"{stage}.py").exists()


def test_samples_from_elsewhere_are_numbered_in_place_of_seeds():
    assert seeds_of({"kind": "samples", "samples": ["a", "b", "c"]}, [7, 8]) == [1, 2, 3]
    assert seeds_of({"kind": "gan"}, [7, 8]) == seeds_of({"kind": "external"}, [7, 8]) == [7, 8]


def test_files_that_are_not_there_are_all_named(tmp_path):
    (tmp_path / "there").mkdir()
    models = {
        "a": {"kind": "samples", "samples": [str(tmp_path / "there"), "gone"]},
        "b": {"kind": "external", "command": "x {output} {count} {seed}", "files": ["lost.py"]},
    }
    config = configuration.complete({"images": {"models": models, "feature_weights": "none.pt"}})
    with pytest.raises(InputError) as caught:
        consistency.check_files(config)
    assert str(caught.value).splitlines() == [
        "configuration: images.feature_weights: none.pt: no such file or folder",
        "  images.models.a.samples: gone: no such file or folder",
        "  images.models.b.files: lost.py: no such file or folder",
    ]


def test_a_command_is_handed_all_it_needs():
    models = {"a": {"kind": "external", "command": "draw {output} {seed}"}}
    with pytest.raises(InputError, match=r"images.models.a.command: \{count\} missing"):
        configuration.complete({"images": {"models": models}})


def test_the_official_checksums_are_those_that_name_a_file_official():
    files = configuration.complete({})["data"]
    for name, dataset in (("binarized_mnist", "Binarized MNIST"), ("images", "SVHN")):
        known = files[name]["files"]
        assert set(known) == set(arrays.OFFICIAL[dataset])
        for split, digests in arrays.OFFICIAL[dataset].items():
            assert {key: known[split][key] for key in digests} == digests


@pytest.fixture
def models():
    """The models of a configuration that takes the default one away and adds one."""
    given = {"likelihood": {"models": {"vae": None, "deep": {"architecture": "residual"}}}}
    return configuration.complete(given)["likelihood"]["models"]


def test_null_takes_an_entry_of_a_table_away(models):
    assert list(models) == ["deep"]


def test_defaults_reach_the_entries_of_a_table(models):
    assert models["deep"]["latents"] == 100


@pytest.mark.parametrize(
    "given", [{"sha256": "5a" * 32, "bytes": None}, {"urls": ["http://example.org/train_32x32.mat"]}]
)
def test_part_of_a_file_s_description_leaves_the_rest_as_it_is(given):
    official = configuration.complete({})["data"]["images"]["files"]
    files = configuration.complete({"data": {"images": {"files": {"train": dict(given)}}}})["data"]["images"]["files"]
    assert files["train"] == official["train"] | given and files["test"] == official["test"]
    assert files["train"]["urls"] and files["train"]["md5"]


def test_the_old_name_of_the_image_data_still_works():
    config = {"data": {"images": {"source": "embedded", "embedded": {"train": 500}}}}  # of config.yaml
    config["data"]["svhn"] = {"source": "official", "embedded": {"seed": 3}}  # of somebody's file
    found = configuration.complete(config)["data"]
    assert "svhn" not in found and found["images"]["source"] == "official"
    assert found["images"]["embedded"] == {"train": 500, "test": 2000, "seed": 3}


OWN = {"source": "folder", "train": "flowers/train", "test": "flowers/test"}


@pytest.mark.parametrize(
    "images, message",
    [
        (OWN | {"test": ""}, "data.images.test: '' with source: folder; name your images"),
        (
            OWN | {"source": "official"},
            "data.images.train: 'flowers/train' with source: official; source: folder or npz",
        ),
        (OWN | {"source": "npz"}, "data.images.train: 'flowers/train' with source: npz; the two do not fit"),
        (OWN | {"train": "x.npz"}, "data.images.train: 'x.npz' with source: folder; the two do not fit"),
        (OWN | {"train": "flowers/test"}, "data.images.test: 'flowers/test' are the training images too; give others"),
        (OWN | {"title": "a $b$"}, "data.images.title: 'a $b$' does not match"),
    ],
)
def test_images_of_one_s_own_are_named_wholly(images, message):
    with pytest.raises(InputError) as caught:
        configuration.complete({"data": {"images": images}})
    assert message in str(caught.value)


def test_images_of_one_s_own_must_be_there(tmp_path):
    config = configuration.complete({"data": {"images": OWN | {"train": str(tmp_path)}}})
    with pytest.raises(InputError, match=r"^configuration: data.images.test: flowers/test: no such file or folder$"):
        consistency.check_files(config)


def test_images_of_one_s_own_are_no_files_to_fetch():
    names = [dataset for dataset, *_ in consistency.data_files(configuration.complete({"data": {"images": OWN}}))]
    assert names == ["binarized_mnist"] * 3


def test_a_feature_network_needs_weights():
    with pytest.raises(InputError, match=r"images.feature_weights: inception has weights in a file; name it"):
        configuration.complete({"images": {"feature_network": "inception"}})
    with pytest.raises(InputError, match=r"images.feature_network: 'resnet' does not match"):
        configuration.complete({"images": {"feature_network": "resnet"}})


def test_who_names_one_image_model_wants_no_other():
    models = configuration.complete({"images": {"models": {"a": {"kind": "gan"}}}})["images"]["models"]
    assert list(models) == ["a"]


@pytest.mark.parametrize("nothing", [None, "null", "None"])  # as text from --config
def test_nothing_takes_an_image_model_away(nothing):
    assert list(
        configuration.complete({"images": {"models": {"vae": {"kind": "vae"}, "gan": nothing}}})["images"]["models"]
    ) == ["vae"]


def test_numbers_that_come_as_text_are_read():
    # Nested values of --config, and 1e-3 in YAML 1.1.
    given = {
        "seeds": ["1", "2"],
        "likelihood": {"models": {"vae": {"epochs": "3", "learning_rate": "1e-3"}, "x": "null"}},
    }
    config = configuration.complete(given)
    assert config["seeds"] == [1, 2] and list(config["likelihood"]["models"]) == ["vae"]
    vae = config["likelihood"]["models"]["vae"]
    assert (vae["epochs"], vae["learning_rate"]) == (3, 0.001)


@pytest.mark.parametrize(
    "config, message",
    [
        ({"sede": [1]}, "sede: unknown key; did you mean seeds?"),
        ({"likelihood": {"models": {"vae": {"batchsize": 3}}}}, "vae.batchsize: unknown key; did you mean batch_size?"),
        ({"data": {"images": {"zzz": 1}}}, "data.images.zzz: unknown key; known keys here: source"),
        ({"likelihood": {"models": {"vae": {"epochs": 0}}}}, "vae.epochs: 0 is less than the minimum of 1"),
        ({"data": {"images": {"source": "web"}}}, "data.images.source: 'web' is not one of ['embedded', 'official', "),
        ({"seeds": []}, "seeds: [] should be non-empty"),
        ({"seeds": [1, 1]}, "seeds: [1, 1] has non-unique elements"),
        ({"likelihood": {"models": {"my_vae": {}}}}, "A name is made of letters, digits and dashes."),
        ({"data": {"images": {"files": {"train": {"urls": ["x"], "md5": "abc"}}}}}, "train.md5: 'abc' does not match"),
        ({"likelihood": {"models": {"vae": {"learning_rate": float("inf")}}}}, "rate: 'inf' is not of type 'number'"),
        ({"threads": "two"}, "threads: 'two' is not of type 'integer'"),
        ({"threads": "1.5"}, "threads: 1.5 is not of type 'integer'"),
        ({"data": []}, "data: [] is not a section of keys"),
        ({"images": {"models": {"a": {"kind": "gan", "epocs": 1}}}}, "a.epocs: unknown key; did you mean epochs?"),
        ({"images": {"models": {"a": {"kind": "vae", "critic_width": 8}}}}, "a.critic_width: unknown key"),
        ({"images": {"models": {"a": {"kind": "gan", "penalty_weight": 0}}}}, "a.penalty_weight: 0 is less than"),
        ({"images": {"models": {"a": {"kind": "gan", "critic_group": -1}}}}, "a.critic_group: -1 is less than"),
        ({"images": {"models": {"a": {"kind": "flow"}}}}, "a.kind: 'flow' is not one of ['vae', 'gan', "),
        ({"images": {"models": {"a": {"epochs": 3}}}}, "images.models.a: 'kind' is a required property"),
        ({"images": {"models": {"noise": {"kind": "gan"}}}}, "images.models.noise: the reference of uniform"),
        ({"images": {"evaluation": {"sample_seed": 2}}}, "images.evaluation.pool_seed: 2 is sample_seed too"),
        ({"likelihood": {"models": {"vae": {"dropout": 0.1}}}}, "likelihood.models.vae.dropout: 0.1, which only the"),
        ({"likelihood": {"models": {"vae": {"width": 64}}}}, "likelihood.models.vae.width: 64, which only the"),
        (
            {"likelihood": {"bracket": True, "evaluation": {"samples": 300}}},
            "evaluation.samples: 300, and brackets compare with 1, 10, 50, 200, 1000, 5000; give one of these",
        ),
        (
            {"likelihood": {"models": {"vae": {"posterior": "flow", "objective": "dreg", "samples_per_image": 2}}}},
            "likelihood.models.vae.posterior: flow, and the gradient of objective: dreg is that of a Gaussian; give "
            "elbo or iwae",
        ),
        (
            {"likelihood": {"models": {"vae": {"posterior": "flow", "prior": "vamp"}}}},
            "likelihood.models.vae.posterior: flow, and prior: vamp is made of Gaussian posteriors; give another prior",
        ),
        (
            {"likelihood": {"models": {"vae": {"objective": "dreg"}}}},
            "likelihood.models.vae.objective: dreg of one sample is the ELBO; give samples_per_image: 2 or more",
        ),
        ({"images": {"models": {"a": {"kind": "vae", "objective": "iwae"}}}}, "images.models.a.objective: iwae of one"),
        ({"likelihood": {"bracket": True, "annealing": {"images": 1}}}, "annealing.images: 1; likelihood.bracket"),
    ],
)  # fmt: skip
def test_faults_are_named(config, message):
    with pytest.raises(InputError) as error:
        configuration.complete(config)
    assert message in str(error.value)


@pytest.fixture
def image_models():
    given = {"images": {"models": {"a": {"kind": "gan", "epochs": "7"}, "b": {"kind": "vae"}}}}
    return configuration.complete(given)["images"]["models"]


def test_an_image_model_gets_the_defaults_of_its_kind(image_models):
    gan, vae = image_models["a"], image_models["b"]
    assert gan["epochs"] == 7 and gan["penalty_weight"] == 10 and "objective" not in gan
    assert vae["objective"] == "elbo" and "penalty_weight" not in vae


@pytest.mark.parametrize(("name", "definition"), [("a", "image_gan"), ("b", "image_vae")])
def test_the_defaults_of_a_kind_are_those_of_its_stage(image_models, name, definition):
    parser = argparse.ArgumentParser()
    configuration.add_options(parser, definition)
    settings = configuration.settings(parser.parse_args([]), definition)
    of_training = {k: v for k, v in image_models[name].items() if k not in configuration.NOT_OF_TRAINING}
    assert settings | {"epochs": 7} == of_training | {"epochs": 7}


@pytest.mark.parametrize("given, noise", [("True", True), ("false", False), (True, True)])
def test_a_truth_value_may_be_text(given, noise):
    config = configuration.complete({"images": {"models": {"a": {"kind": "vae", "noise": given}}}})
    assert config["images"]["models"]["a"]["noise"] is noise


def test_all_faults_are_told_at_once():
    with pytest.raises(InputError) as error:
        configuration.complete({"sede": [1], "threads": 0})
    assert "sede" in str(error.value) and "threads" in str(error.value)


def test_options_of_a_stage_are_those_of_the_schema():
    parser = argparse.ArgumentParser()
    configuration.add_options(parser, "binary_vae")
    settings = configuration.settings(parser.parse_args([]), "binary_vae")
    assert settings == configuration.complete({})["likelihood"]["models"]["vae"]
    settings = configuration.settings(parser.parse_args(["--batch-size", "7", "--schedule", "constant"]), "binary_vae")
    assert (settings["batch_size"], settings["schedule"]) == (7, "constant")


@pytest.mark.parametrize(
    "words",
    [
        ["--epochs", "0"],
        ["--epochs", "x"],
        ["--average-decay", "1"],
        ["--average-decay", "nan"],
        ["--learning-rate", "inf"],
    ],
)
def test_options_out_of_range_are_refused(words, capsys):
    parser = argparse.ArgumentParser()
    configuration.add_options(parser, "binary_vae")
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(words)
    assert stop.value.code == 2 and words[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    "key, message",
    [
        (datetime.date(2026, 11, 26), "likelihood.models.2026-11-26: a key that is read as a date; quote the name"),
        (False, "likelihood.models.False: a key that is read as true or false; quote the name"),
        (None, "likelihood.models.None: a key that is read as nothing; quote the name"),
    ],
)
def test_names_that_yaml_does_not_read_as_text_are_refused(key, message):
    with pytest.raises(InputError) as caught:
        configuration.complete({"likelihood": {"models": {key: {}}}})
    assert str(caught.value) == f"configuration: {message}"


def test_a_name_of_digits_is_taken_as_its_text():
    found = configuration.complete({"images": {"models": {5: {"kind": "gan"}}}})
    assert list(found["images"]["models"]) == ["5"]


def test_a_section_whose_keys_are_all_comments_has_its_defaults():
    assert configuration.complete({"images": None, "likelihood": None}) == configuration.complete({})


@pytest.mark.parametrize(
    "given, taken", [("./out", "out"), ("out/", "out"), ("a//b/../c", "a/c"), ("~/out", os.path.expanduser("~/out"))]
)
def test_folders_are_written_in_one_way(given, taken):
    assert configuration.complete({"results": given})["results"] == taken


def embedded(**counts):
    """A configuration of so many stand-in images."""
    return {"data": {"images": {"embedded": counts}}}


@pytest.mark.parametrize(
    "config, message",
    [
        ({"results": "."}, "results: '.' is this folder or one above; name a folder for it alone"),
        ({"resources": "../"}, "resources: '../' is this folder or one above"),
        ({"results": "-out"}, "results: '-out' does not match"),
        ({"results": "a{b}"}, "results: 'a{b}' does not match"),
        ({"results": "./-out"}, "results: './-out' begins with a dash"),
        ({"results": datetime.date(2026, 11, 26)}, "results: 2026-11-26 is read as a date; quote it"),
        ({"seeds": 3}, "seeds: 3 is not a list, as in [1, 2]"),
        ({"seeds": "1,2,3"}, "seeds: '1,2,3' is not a list, as in [1, 2]"),
        (
            {"images": {"models": {"a": {"kind": "gan"}, "A": {"kind": "gan"}}}},
            "models.A: another name differs only in",
        ),
        ({"report": {"thresholds": {"elbo_valid": 96}}}, "elbo_valid: 96 is greater than the maximum of 0"),
    ],
)
def test_what_could_only_fail_later_is_refused_at_once(config, message):
    with pytest.raises(InputError) as caught:
        configuration.complete(config)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "config, message",
    [
        ({"images": {"evaluation": {"samples": 19}}}, "images.evaluation.samples: 19; metrics need 20 or more"),
        (
            {"images": {"evaluation": {"pool": 500}}},
            "images.evaluation.pool: 500; metrics are taken on sets of 1000; give as many",
        ),
        (embedded(train=1000), "data.images: 900 training images; metrics are taken on sets of 1000; give as many"),
        (embedded(test=19), "data.images: the test images: 19; metrics need 20 or more"),
        ({"data": {"images": {"valid_fraction": 1e-5}}}, "leaves 0 validation images; two or more are needed"),
        (
            {"images": {"models": {"g": {"kind": "gan", "epochs": 1, "batch_size": 900, "critic_steps": 11}}}},
            "images.models.g.critic_steps: 11, and the critic has 10 updates in all",
        ),
        (
            {"images": {"models": {"x": {"kind": "external", "command": "{output} {count} {seed}", "draw": 999}}}},
            "images.models.x.draw: 999, fewer than images.evaluation.samples, 1000; give as many, or 0",
        ),
        (
            {"images": {"models": {"g": {"kind": "gan", "critic_group": 1}}}},
            "critic_group: 1, and a single",
        ),
        (
            {"images": {"models": {"g": {"kind": "gan", "critic_group": 4, "critic": "mine.py:Critic"}}}},
            "images.models.g.critic_group: 4, which only the project's critic has; leave it at 0",
        ),
    ],
)
def test_numbers_of_images_that_do_not_fit_are_refused(config, message):
    config = configuration.complete(config)
    with pytest.raises(InputError) as caught:
        consistency.check_sizes(config, counts.of_images(config))
    assert message in str(caught.value)


def test_without_image_models_no_number_of_images_is_too_small():
    config = configuration.complete(embedded(train=10, test=2) | {"images": {"models": {"vae": None, "gan": None}}})
    consistency.check_sizes(config, counts.of_images(config))


def test_numbers_of_images_are_those_of_the_source(tmp_path):
    images = {"source": "official", "valid_fraction": 0.25}
    found = counts.of_images(configuration.complete({"data": {"images": images}}))
    assert found == {"train": 54943, "valid": 18314, "test": 26032}
    other = images | {"files": {"train": {"md5": "5a" * 16}}}
    assert counts.of_images(configuration.complete({"data": {"images": other}})) is None
    for name, number in (("train/a", 6), ("train/b", 2), ("train/.hidden", 5), ("test/a", 3)):
        (tmp_path / name).mkdir(parents=True)
        for index in range(number):
            (tmp_path / name / f"{index}.png").touch()
    own = {"source": "folder", "valid_fraction": 0.25} | {key: str(tmp_path / key) for key in ("train", "test")}
    found = counts.of_images(configuration.complete({"data": {"images": own}}))
    assert found == {"train": 6, "valid": 2, "test": 3}


@pytest.mark.parametrize(
    "config, message",
    [
        ({"data": {"mirrors": ["no folder", "http://x.org"]}}, "data.mirrors: no folder: no such file or folder"),
        ({"images": {"feature_weights": __file__}}, "test_configuration.py: neither safetensors nor a PyTorch file"),
    ],
)
def test_what_this_machine_lacks_is_named_at_once(config, message):
    with pytest.raises(InputError) as caught:
        consistency.check_files(configuration.complete(config))
    assert str(caught.value).startswith("configuration: ") and message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_key_that_stands_twice_is_refused(tmp_path):
    (tmp_path / "good.yaml").write_text("a: {x: 1}\nb: {x: 2, <<: {y: 1}}\n")
    (tmp_path / "twice.yaml").write_text("seeds: [1]\nimages:\n  models: {}\n  classifier: {}\n  models: {}\n")
    (tmp_path / "odd.yaml").write_bytes(b"\xff\xfe")
    consistency.check_keys([tmp_path / "good.yaml", tmp_path / "odd.yaml", tmp_path / "missing.yaml"])
    with pytest.raises(InputError, match=r"twice.yaml, line 3: the key models stands twice in this section; keep one$"):
        consistency.check_keys([tmp_path / "good.yaml", tmp_path / "twice.yaml"])


def test_a_mirror_may_lie_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mirror").mkdir()
    consistency.check_files(configuration.complete({"data": {"mirrors": ["~/mirror"]}}))
