rule train_binary_vae:
    input:
        **stage("train_binary_vae"),
        own=lambda wildcards: own_files(BINARY_MODELS[wildcards.model]),
        data=prepared("binarized_mnist"),
    output:
        model="<results>/runs/binary_{model}/seed{seed}/model.safetensors",
        history="<results>/runs/binary_{model}/seed{seed}/history.csv",
        training="<results>/runs/binary_{model}/seed{seed}/training.json",
    log:
        "<results>/logs/train_binary_vae/{model}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/train_binary_vae/{model}_seed{seed}.tsv"
    wildcard_constraints:
        model=one_of(BINARY_MODELS),
    priority: 80
    conda:
        "../envs/torch.yaml"
    threads: config["threads"]
    resources:
        **growing(GPUS, mem_mb=3000),
        runtime=240,
    params:
        settings=lambda wildcards: options(BINARY_MODELS[wildcards.model] | DEVICE),
        # The checkpoint lies there too, undeclared: Snakemake deletes the outputs of a killed job, and it must stay.
        folder=lambda wildcards, output: os.path.dirname(output.model),
        limit=time_limit,
    shell:
        "python {input.script:q} --data {input.data:q} --output {params.folder:q} --name {wildcards.model}"
        " --seed {wildcards.seed} --threads {threads} --max-seconds {params.limit} {params.settings} > {log:q} 2>&1"


rule estimate_likelihood:
    input:
        **stage("estimate_likelihood"),
        model=rules.train_binary_vae.output.model,
        data=prepared("binarized_mnist"),
    output:
        estimate="<results>/runs/binary_{model}/seed{seed}/log_likelihood.json",
        curve="<results>/runs/binary_{model}/seed{seed}/log_likelihood.csv",
    log:
        "<results>/logs/estimate_likelihood/{model}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/estimate_likelihood/{model}_seed{seed}.tsv"
    priority: 80
    conda:
        "../envs/torch.yaml"
    threads: config["threads"]
    resources:
        **growing(GPUS, mem_mb=2000),
        runtime=120,
    params:
        settings=options(config["likelihood"]["evaluation"] | DEVICE),
        own=lambda wildcards: own_networks(BINARY_MODELS[wildcards.model], "architecture"),
        limit=time_limit,
    shell:
        "python {input.script:q} --weights {input.model:q} --data {input.data:q} --output {output.estimate:q}"
        " --max-seconds {params.limit} --threads {threads} {params.settings} {params.own} > {log:q} 2>&1"


# Part of `all` only with `likelihood.bracket`: minutes for a few images. Else ask for
# results/runs/binary_vae/seed1/bracket.json, say.
rule bracket_likelihood:
    input:
        **stage("bracket_likelihood"),
        model=rules.train_binary_vae.output.model,
        data=prepared("binarized_mnist"),
    output:
        summary="<results>/runs/binary_{model}/seed{seed}/bracket.json",
        table="<results>/runs/binary_{model}/seed{seed}/bracket.csv",
    log:
        "<results>/logs/bracket_likelihood/{model}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/bracket_likelihood/{model}_seed{seed}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: config["threads"]
    resources:
        **growing(GPUS, mem_mb=2000),
        runtime=240,
    params:
        settings=options(config["likelihood"]["annealing"] | DEVICE),
        own=lambda wildcards: own_networks(BINARY_MODELS[wildcards.model], "architecture"),
        limit=time_limit,
    shell:
        "python {input.script:q} --weights {input.model:q} --data {input.data:q} --output {output.summary:q}"
        " --max-seconds {params.limit} --threads {threads} {params.settings} {params.own} > {log:q} 2>&1"


# The brackets that figures and the report show.
BRACKETS = [rules.bracket_likelihood.output.summary] if config["likelihood"]["bracket"] else []
BRACKETS = expand(BRACKETS, seed=config["seeds"][0], allow_missing=True)


rule summarise_likelihood:
    input:
        **stage("summarise_likelihood"),
        estimates=expand(rules.estimate_likelihood.output.estimate, seed=config["seeds"], allow_missing=True),
        curves=expand(rules.estimate_likelihood.output.curve, seed=config["seeds"], allow_missing=True),
        # Snakemake forgets why a failed job had to run. All that the table rests on is therefore named here
        # (files, code, and settings below), lest after a failure upstream an old table look current.
        upstream=[
            *raw_files("binarized_mnist"),
            prepared("binarized_mnist"),
            *expand(rules.train_binary_vae.output.model, seed=config["seeds"], allow_missing=True),
        ],
        upstream_code=code("render_digits", "prepare_binarized_mnist", "train_binary_vae", "estimate_likelihood"),
    output:
        text=report(
            "<results>/log_likelihood_{model}.txt", caption="../report/log_likelihood.rst", category="Likelihood"
        ),
        json="<results>/log_likelihood_{model}.json",
        csv="<results>/log_likelihood_{model}.csv",
    log:
        "<results>/logs/summarise_likelihood/{model}.log",
    benchmark:
        "<results>/benchmarks/summarise_likelihood/{model}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=500, runtime=10),
    params:
        upstream=lambda wildcards: [
            config["data"]["binarized_mnist"],
            BINARY_MODELS[wildcards.model],
            config["likelihood"]["evaluation"],
            config["device"],
        ],
    shell:
        "python {input.script:q} --estimates {input.estimates:q} --curves {input.curves:q} --output {output.text:q} > {log:q} 2>&1"


rule sample_binary_vae:
    input:
        **stage("sample_binary_vae"),
        model=rules.train_binary_vae.output.model,
        data=prepared("binarized_mnist"),
    output:
        "<results>/runs/binary_{model}/seed{seed}/images.npz",
    log:
        "<results>/logs/sample_binary_vae/{model}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/sample_binary_vae/{model}_seed{seed}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: config["threads"]
    resources:
        **growing(GPUS, mem_mb=2000, runtime=10),
    params:
        device=config["device"],
        own=lambda wildcards: own_networks(BINARY_MODELS[wildcards.model], "architecture"),
    shell:
        "python {input.script:q} --weights {input.model:q} --data {input.data:q} --output {output:q}"
        " --seed {wildcards.seed} --device {params.device} --threads {threads} {params.own} > {log:q} 2>&1"


# Of any VAE's run: binary_{model} here, or a model of images.smk.
rule plot_learning_curves:
    input:
        **stage("plot_learning_curves"),
        history=expand("<results>/runs/{run}/seed{seed}/history.csv", seed=config["seeds"], allow_missing=True),
        training=expand("<results>/runs/{run}/seed{seed}/training.json", seed=config["seeds"], allow_missing=True),
    output:
        **figure("learning_curves_{run}", lambda wildcards: "Likelihood" if "binary_" in wildcards.run else "Images"),
    log:
        "<results>/logs/plot_learning_curves/{run}.log",
    benchmark:
        "<results>/benchmarks/plot_learning_curves/{run}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=1000, runtime=10),
    shell:
        "python {input.script:q} --history {input.history:q} --training {input.training:q} --output {output.png:q} > {log:q} 2>&1"


rule plot_digits:
    input:
        **stage("plot_digits"),
        images=f"<results>/runs/binary_{{model}}/seed{config['seeds'][0]}/images.npz",
    output:
        **figure("reconstructions_binary_{model}", "Likelihood", "reconstructions", key="reconstructions_"),
        **figure("samples_binary_{model}", "Likelihood", "samples", key="samples_"),
    log:
        "<results>/logs/plot_digits/{model}.log",
    benchmark:
        "<results>/benchmarks/plot_digits/{model}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=1000, runtime=10),
    shell:
        "python {input.script:q} --images {input.images:q}"
        " --output {output.reconstructions_png:q} {output.samples_png:q} > {log:q} 2>&1"


rule plot_log_likelihood:
    input:
        **stage("plot_log_likelihood"),
        table=rules.summarise_likelihood.output.csv,
        summary=rules.summarise_likelihood.output.json,
        bracket=BRACKETS,
    output:
        **figure("log_likelihood_{model}", "Likelihood"),
    log:
        "<results>/logs/plot_log_likelihood/{model}.log",
    benchmark:
        "<results>/benchmarks/plot_log_likelihood/{model}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=1000, runtime=10),
    shell:
        "python {input.script:q} --table {input.table:q} --summary {input.summary:q} --bracket {input.bracket:q}"
        " --output {output.png:q} > {log:q} 2>&1"


rule plot_ladder:
    input:
        **stage("plot_ladder"),
        summaries=expand(rules.summarise_likelihood.output.json, model=BINARY_MODELS),
        brackets=expand(BRACKETS, model=BINARY_MODELS),
    output:
        **figure("ladder", "Likelihood"),
    log:
        "<results>/logs/plot_ladder.log",
    benchmark:
        "<results>/benchmarks/plot_ladder.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=1000, runtime=10),
    shell:
        "python {input.script:q} --summaries {input.summaries:q} --brackets {input.brackets:q}"
        " --output {output.png:q} > {log:q} 2>&1"


rule likelihood:
    input:
        raw_files("binarized_mnist"),
        prepared("binarized_mnist"),
        binary_runs(rules.train_binary_vae.output.model),
        binary_runs(rules.estimate_likelihood.output.estimate),
        expand(rules.sample_binary_vae.output, model=BINARY_MODELS, seed=config["seeds"][0]),
        expand(rules.summarise_likelihood.output.text, model=BINARY_MODELS),
        expand(rules.plot_learning_curves.output, run=[f"binary_{model}" for model in BINARY_MODELS]),
        expand(rules.plot_digits.output, model=BINARY_MODELS),
        expand(rules.plot_log_likelihood.output, model=BINARY_MODELS),
        expand(BRACKETS, model=BINARY_MODELS),
        rules.plot_ladder.output if len(BINARY_MODELS) > 1 else [],
