# {set} is a folder of one set of images: references/noise, runs/gan/seed1, runs/vae/seed1/reconstructions, ...
wildcard_constraints:
    set=one_of(image_sets()),


rule extract_features:
    input:
        **stage("extract_features"),
        data=prepared("images"),
        classifier=classifier_weights(),
        features=[] if OF_CLASSIFIER else [feature_weights(), *feature_code()],
        model=set_model,
    output:
        "<results>/{set}/features.npz",
    log:
        "<results>/logs/extract_features/{set}.log",
    benchmark:
        "<results>/benchmarks/extract_features/{set}.tsv"
    priority: 60
    conda:
        "../envs/torch.yaml"
    threads: config["threads"]
    resources:
        **growing(GPUS, mem_mb=3000, runtime=60),
    params:
        source=set_options,
        images=config["images"]["evaluation"]["pool"],
        network=feature_options(),
        device=config["device"],
    shell:
        "python {input.script:q} {params.source} --data {input.data:q} --classifier {input.classifier:q} --output {output:q}"
        " {params.network} --count {params.images} --device {params.device} --threads {threads} > {log:q} 2>&1"


rule evaluate_features:
    input:
        **stage("evaluate_features"),
        features=rules.extract_features.output,
        test="<results>/references/test/features.npz",
        train="<results>/references/train/features.npz",
    output:
        metrics="<results>/{set}/metrics.json",
        curve="<results>/{set}/fid_curve.csv",
        nearest="<results>/{set}/nearest.npz",
    log:
        "<results>/logs/evaluate_features/{set}.log",
    benchmark:
        "<results>/benchmarks/evaluate_features/{set}.tsv"
    priority: 60
    conda:
        "../envs/data.yaml"
    threads: config["threads"]
    resources:
        # For the features of all training images in float64: 512 numbers an image, of other networks up to 2,048.
        **growing(mem_mb=3000 if OF_CLASSIFIER else 6000, runtime=60),
    params:
        images=config["images"]["evaluation"]["samples"],
        seed=config["images"]["evaluation"]["sample_seed"],
        folder=lambda wildcards, output: os.path.dirname(output.metrics),
    shell:
        "python {input.script:q} --features {input.features:q} --test {input.test:q} --train {input.train:q}"
        " --output {params.folder:q} --count {params.images} --seed {params.seed} --threads {threads} > {log:q} 2>&1"


rule compare:
    input:
        **stage("compare"),
        metrics=expand(rules.evaluate_features.output.metrics, set=image_sets()),
        likelihoods=binary_runs(rules.estimate_likelihood.output.estimate),
        # As in summarise_likelihood: all that the numbers rest on, lest old ones look current.
        upstream=[
            *(raw_files("images") + raw_files("binarized_mnist")),
            *(prepared("images"), prepared("binarized_mnist"), feature_weights()),
            *origins(IMAGE_MODELS),
            *binary_runs(rules.train_binary_vae.output.model),
        ],
        upstream_code=code(*compared_stages()),
    output:
        summary=report("<results>/summary.csv", caption="../report/summary.rst", category="Comparison"),
        comparison=report("<results>/comparison.csv", caption="../report/comparison.rst", category="Comparison"),
    log:
        "<results>/logs/compare.log",
    benchmark:
        "<results>/benchmarks/compare.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=500, runtime=10),
    params:
        upstream=[
            config["data"],
            *map(image_settings, IMAGE_MODELS),
            BINARY_MODELS,
            config["likelihood"]["evaluation"],
            config["device"],
        ],
        metrics=lambda wildcards, input: files.in_braces(input.metrics),
        likelihoods=lambda wildcards, input: files.in_braces(input.likelihoods),
        folder=lambda wildcards, output: os.path.dirname(output.summary),
    shell:
        "python {input.script:q} --metrics {params.metrics} --likelihoods {params.likelihoods} --output {params.folder:q}"
        " > {log:q} 2>&1"


rule plot_summary:
    input:
        **stage("plot_summary"),
        summary=rules.compare.output.summary,
    output:
        **figure("summary", "Comparison"),
    log:
        "<results>/logs/plot_summary.log",
    benchmark:
        "<results>/benchmarks/plot_summary.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=1000, runtime=10),
    shell:
        "python {input.script:q} --summary {input.summary:q} --output {output.png:q} > {log:q} 2>&1"


rule plot_fid_curve:
    input:
        **stage("plot_fid_curve"),
        metrics=expand(rules.evaluate_features.output.metrics, set=image_sets(curves=True)),
        curves=expand(rules.evaluate_features.output.curve, set=image_sets(curves=True)),
    output:
        **figure("fid_curve", "Comparison"),
    log:
        "<results>/logs/plot_fid_curve.log",
    benchmark:
        "<results>/benchmarks/plot_fid_curve.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=1000, runtime=10),
    params:
        metrics=lambda wildcards, input: files.in_braces(input.metrics),
        curves=lambda wildcards, input: files.in_braces(input.curves),
    shell:
        "python {input.script:q} --metrics {params.metrics} --curves {params.curves} --output {output.png:q} > {log:q} 2>&1"


rule plot_nearest:
    input:
        **stage("plot_nearest"),
        nearest=of_first_seed("nearest.npz"),
        test="<results>/references/test/nearest.npz",
        data=prepared("images"),
    output:
        **figure("nearest_{model}", "Comparison"),
    log:
        "<results>/logs/plot_nearest/{model}.log",
    benchmark:
        "<results>/benchmarks/plot_nearest/{model}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=1000, runtime=10),
    shell:
        "python {input.script:q} --nearest {input.nearest:q} --test {input.test:q} --data {input.data:q}"
        " --output {output.png:q} > {log:q} 2>&1"


rule metrics:
    input:
        expand(rules.evaluate_features.output, set=image_sets()),
        rules.compare.output,
        comparisons(rules.plot_summary, rules.plot_fid_curve),
        expand(rules.plot_nearest.output, model=IMAGE_MODELS),
