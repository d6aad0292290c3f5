rule train_classifier:
    input:
        **stage("train_classifier"),
        data=prepared("images"),
    output:
        model="<results>/classifier/trained.safetensors",
        history="<results>/classifier/history.csv",
        training="<results>/classifier/training.json",
    log:
        "<results>/logs/train_classifier.log",
    benchmark:
        "<results>/benchmarks/train_classifier.tsv"
    priority: 90
    conda:
        "../envs/torch.yaml"
    threads: config["threads"]
    resources:
        **growing(GPUS, mem_mb=3000),
        runtime=120,
    params:
        settings=options(config["images"]["classifier"] | {"seed": config["images"]["classifier_seed"]} | DEVICE),
        folder=lambda wildcards, output: os.path.dirname(output.model),
        limit=time_limit,
    shell:
        "python {input.script:q} --data {input.data:q} --output {params.folder:q} --threads {threads}"
        " --max-seconds {params.limit} {params.settings} > {log:q} 2>&1"


rule import_classifier:
    input:
        **stage("import_classifier"),
        weights=local(config["images"]["feature_weights"]) if config["images"]["feature_weights"] else [],
    output:
        "<results>/classifier/imported.safetensors",
    log:
        "<results>/logs/import_classifier.log",
    benchmark:
        "<results>/benchmarks/import_classifier.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        **growing(mem_mb=1000, runtime=10),
    shell:
        "python {input.script:q} --weights {input.weights:q} --output {output:q} > {log:q} 2>&1"


rule evaluate_classifier:
    input:
        **stage("evaluate_classifier"),
        data=prepared("images"),
        classifier=classifier_weights(),
    output:
        "<results>/classifier/accuracy.json",
    log:
        "<results>/logs/evaluate_classifier.log",
    benchmark:
        "<results>/benchmarks/evaluate_classifier.tsv"
    conda:
        "../envs/torch.yaml"
    threads: config["threads"]
    resources:
        **growing(GPUS, mem_mb=2000, runtime=30),
    params:
        device=config["device"],
    shell:
        "python {input.script:q} --data {input.data:q} --classifier {input.classifier:q} --output {output:q}"
        " --device {params.device} --threads {threads} > {log:q} 2>&1"


rule plot_confusion:
    input:
        **stage("plot_confusion"),
        accuracy=rules.evaluate_classifier.output,
    output:
        **figure("confusion", "Images"),
    log:
        "<results>/logs/plot_confusion.log",
    benchmark:
        "<results>/benchmarks/plot_confusion.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=1000, runtime=10),
    shell:
        "python {input.script:q} --evaluation {input.accuracy:q} --output {output.png:q} > {log:q} 2>&1"


# One file of weights, two ways to make it: the model's kind decides.
rule train_vae:
    input:
        **stage("train_vae"),
        own=lambda wildcards: own_files(IMAGE_MODELS[wildcards.model]),
        data=prepared("images"),
    output:
        model="<results>/runs/{model}/seed{seed}/model.safetensors",
        history="<results>/runs/{model}/seed{seed}/history.csv",
        training="<results>/runs/{model}/seed{seed}/training.json",
    log:
        "<results>/logs/train_vae/{model}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/train_vae/{model}_seed{seed}.tsv"
    wildcard_constraints:
        model=one_of(of_kind("vae")),
    priority: 70
    conda:
        "../envs/torch.yaml"
    threads: config["threads"]
    resources:
        **growing(GPUS, mem_mb=4000),
        runtime=720,
    params:
        settings=lambda wildcards: image_options(wildcards.model),
        folder=lambda wildcards, output: os.path.dirname(output.model),
        limit=time_limit,
    shell:
        "python {input.script:q} --data {input.data:q} --output {params.folder:q} --name {wildcards.model}"
        " --seed {wildcards.seed} --threads {threads} --max-seconds {params.limit} {params.settings} > {log:q} 2>&1"


rule train_gan:
    input:
        **stage("train_gan"),
        own=lambda wildcards: own_files(IMAGE_MODELS[wildcards.model]),
        data=prepared("images"),
        classifier=classifier_weights(),
    output:
        model="<results>/runs/{model}/seed{seed}/model.safetensors",
        history="<results>/runs/{model}/seed{seed}/history.csv",
        training="<results>/runs/{model}/seed{seed}/training.json",
        frames="<results>/runs/{model}/seed{seed}/frames.npz",
    log:
        "<results>/logs/train_gan/{model}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/train_gan/{model}_seed{seed}.tsv"
    wildcard_constraints:
        model=one_of(of_kind("gan")),
    priority: 90
    conda:
        "../envs/torch.yaml"
    threads: config["threads"]
    resources:
        **growing(GPUS, mem_mb=4000),
        runtime=1440,
    params:
        settings=lambda wildcards: image_options(wildcards.model),
        folder=lambda wildcards, output: os.path.dirname(output.model),
        limit=time_limit,
    shell:
        "python {input.script:q} --data {input.data:q} --classifier {input.classifier:q} --output {params.folder:q}"
        " --name {wildcards.model} --seed {wildcards.seed} --threads {threads}"
        " --max-seconds {params.limit} {params.settings} > {log:q} 2>&1"


rule sample:
    input:
        **stage("sample"),
        model="<results>/runs/{model}/seed{seed}/model.safetensors",
    output:
        directory("<results>/runs/{model}/seed{seed}/samples"),
    log:
        "<results>/logs/sample/{model}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/sample/{model}_seed{seed}.tsv"
    wildcard_constraints:
        model=one_of(with_network("generator")),
    priority: 60
    conda:
        "../envs/torch.yaml"
    threads: config["threads"]
    resources:
        **growing(GPUS, mem_mb=2000, runtime=30),
    params:
        images=config["images"]["evaluation"]["samples"],
        seed=config["images"]["evaluation"]["sample_seed"],
        noise=lambda wildcards: noise(wildcards.model),
        own=lambda wildcards: own_networks(IMAGE_MODELS[wildcards.model], "generator", "encoder"),
        device=config["device"],
    shell:
        "python {input.script:q} --weights {input.model:q} --output {output:q} --count {params.images} --seed {params.seed}"
        " {params.noise} {params.own} --device {params.device} --threads {threads} > {log:q} 2>&1"


# The samples of a model from elsewhere. It comes first: what is wrong with them shows before any training.
rule import_samples:
    input:
        **stage("import_samples"),
    output:
        samples=directory("<results>/runs/{model}/seed{seed}/samples"),
        images="<results>/runs/{model}/seed{seed}/images.npz",
        about="<results>/runs/{model}/seed{seed}/import.json",
    log:
        "<results>/logs/import_samples/{model}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/import_samples/{model}_seed{seed}.tsv"
    wildcard_constraints:
        model=one_of(of_kind("samples", "external")),
    priority: 100
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=3000, runtime=120),
    params:
        origin=origin,
        images=config["images"]["evaluation"]["samples"],
        pool=config["images"]["evaluation"]["pool"],
        order=config["images"]["evaluation"]["sample_seed"],
        folder=lambda wildcards, output: os.path.dirname(output.about),
    shell:
        "python {input.script:q} {params.origin[options]} --name {wildcards.model} --seed {wildcards.seed}"
        " --count {params.images} --pool {params.pool} --order-seed {params.order} --output {params.folder:q}"
        " > {log:q} 2>&1"


# The first seed's, where a person and score_fid.py look for them.
rule publish_samples:
    input:
        of_first_seed("samples"),
    output:
        directory("<results>/samples/{model}"),
    log:
        "<results>/logs/publish_samples/{model}.log",
    benchmark:
        "<results>/benchmarks/publish_samples/{model}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=100, runtime=5),
    shell:
        "cp -R {input:q} {output:q} > {log:q} 2>&1"


rule score_fid:
    input:
        **stage("score_fid"),
        samples="<results>/runs/{model}/seed{seed}/samples",
        data=prepared("images"),
        features=feature_weights(),
        own=feature_code(),
    output:
        "<results>/runs/{model}/seed{seed}/fid.json",
    log:
        "<results>/logs/score_fid/{model}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/score_fid/{model}_seed{seed}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: config["threads"]
    resources:
        **growing(GPUS, mem_mb=2000, runtime=30),
    params:
        draws=config["images"]["evaluation"]["floor_draws"],
        network=config["images"]["feature_network"],
        device=config["device"],
    shell:
        "python {input.script:q} {input.samples:q} --model {input.features:q} --feature-network {params.network:q}"
        " --reference {input.data:q} --output {output:q}"
        " --name {wildcards.model} --seed {wildcards.seed} --floor-draws {params.draws} --device {params.device}"
        " --threads {threads} > {log:q} 2>&1"


# On demand: all models' samples on one page, ranked. The stage is made for samples from elsewhere.
rule score_samples:
    input:
        **stage("score_samples"),
        samples=expand(rules.publish_samples.output, model=IMAGE_MODELS),
        data=prepared("images"),
        features=feature_weights(),
        own=feature_code(),
    output:
        multiext("<results>/leaderboard/leaderboard", ".html", ".md", ".tex", ".csv", ".json"),
        "<results>/leaderboard/pairs.csv",
    log:
        "<results>/logs/score_samples.log",
    benchmark:
        "<results>/benchmarks/score_samples.tsv"
    conda:
        "../envs/torch.yaml"
    threads: config["threads"]
    resources:
        **growing(GPUS, mem_mb=2000, runtime=30),
    params:
        draws=config["images"]["evaluation"]["floor_draws"],
        network=config["images"]["feature_network"],
        device=config["device"],
        folder=lambda wildcards, output: os.path.dirname(output[0]),
    shell:
        "python {input.script:q} {input.samples:q} --model {input.features:q} --feature-network {params.network:q}"
        " --reference {input.data:q}"
        " --output {params.folder:q} --floor-draws {params.draws} --device {params.device} --threads {threads}"
        " > {log:q} 2>&1"


rule summarise_fid:
    input:
        **stage("summarise_fid"),
        scores=of_seeds("fid.json"),
        # As in summarise_likelihood: all that the number rests on, lest an old one look current.
        upstream=[*raw_files("images"), prepared("images"), feature_weights()],
        origins=lambda wildcards: origins([wildcards.model]),
        upstream_code=lambda wildcards: code(*image_preparation(), *trainers(wildcards.model), "score_fid"),
    output:
        text=report("<results>/fid_{model}.txt", caption="../report/fid.rst", category="Images"),
        json="<results>/fid_{model}.json",
    log:
        "<results>/logs/summarise_fid/{model}.log",
    benchmark:
        "<results>/benchmarks/summarise_fid/{model}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=500, runtime=10),
    params:
        upstream=lambda wildcards: [config["data"]["images"], image_settings(wildcards.model), config["device"]],
    shell:
        "python {input.script:q} --scores {input.scores:q} --output {output.text:q} > {log:q} 2>&1"


rule evaluate_samples:
    input:
        **stage("evaluate_samples"),
        samples="<results>/runs/{model}/seed{seed}/samples",
        data=prepared("images"),
        classifier=classifier_weights(),
    output:
        statistics="<results>/runs/{model}/seed{seed}/statistics.json",
        spectrum="<results>/runs/{model}/seed{seed}/spectrum.csv",
    log:
        "<results>/logs/evaluate_samples/{model}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/evaluate_samples/{model}_seed{seed}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: config["threads"]
    resources:
        **growing(GPUS, mem_mb=2000, runtime=30),
    params:
        draws=config["images"]["evaluation"]["floor_draws"],
        device=config["device"],
        folder=lambda wildcards, output: os.path.dirname(output.statistics),
    shell:
        "python {input.script:q} --samples {input.samples:q} --data {input.data:q} --classifier {input.classifier:q}"
        " --output {params.folder:q} --name {wildcards.model} --seed {wildcards.seed} --floor-draws {params.draws}"
        " --device {params.device} --threads {threads} > {log:q} 2>&1"


rule explore_latents:
    input:
        **stage("explore_latents"),
        model="<results>/runs/{model}/seed{seed}/model.safetensors",
        data=prepared("images"),
        classifier=classifier_weights(),
    output:
        latents="<results>/runs/{model}/seed{seed}/latents.npz",
        table="<results>/runs/{model}/seed{seed}/interpolation.csv",
        summary="<results>/runs/{model}/seed{seed}/latents.json",
    log:
        "<results>/logs/explore_latents/{model}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/explore_latents/{model}_seed{seed}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: config["threads"]
    resources:
        **growing(GPUS, mem_mb=2000, runtime=30),
    params:
        settings=options(config["images"]["exploration"] | DEVICE),
        own=lambda wildcards: own_networks(IMAGE_MODELS[wildcards.model], "generator", "encoder"),
        folder=lambda wildcards, output: os.path.dirname(output.latents),
    shell:
        "python {input.script:q} --weights {input.model:q} --data {input.data:q} --classifier {input.classifier:q}"
        " --output {params.folder:q} --seed {wildcards.seed} --threads {threads} {params.settings} {params.own}"
        " > {log:q} 2>&1"


rule reconstruct_images:
    input:
        **stage("reconstruct_images"),
        model="<results>/runs/{model}/seed{seed}/model.safetensors",
        data=prepared("images"),
    output:
        images="<results>/runs/{model}/seed{seed}/reconstructions.npz",
        elbo="<results>/runs/{model}/seed{seed}/elbo.json",
    log:
        "<results>/logs/reconstruct_images/{model}_seed{seed}.log",
    benchmark:
        "<results>/benchmarks/reconstruct_images/{model}_seed{seed}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: config["threads"]
    resources:
        **growing(GPUS, mem_mb=2000, runtime=10),
    params:
        device=config["device"],
        own=lambda wildcards: own_networks(IMAGE_MODELS[wildcards.model], "generator", "encoder"),
    shell:
        "python {input.script:q} --weights {input.model:q} --data {input.data:q} --output {output.images:q}"
        " --elbo {output.elbo:q} --seed {wildcards.seed} --device {params.device} --threads {threads} {params.own}"
        " > {log:q} 2>&1"


rule plot_gan_training:
    input:
        **stage("plot_gan_training"),
        history=of_seeds("history.csv"),
        training=of_seeds("training.json"),
        frames=of_first_seed("frames.npz"),
    output:
        **figure("training_{model}", "Images", "gan_training"),
        **figure("frames_{model}", "Images", key="frames_"),
    log:
        "<results>/logs/plot_gan_training/{model}.log",
    benchmark:
        "<results>/benchmarks/plot_gan_training/{model}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=1000, runtime=10),
    shell:
        "python {input.script:q} --history {input.history:q} --training {input.training:q} --frames {input.frames:q}"
        " --output {output.png:q} {output.frames_png:q} > {log:q} 2>&1"


rule plot_latents:
    input:
        **stage("plot_latents"),
        latents=of_first_seed("latents.npz"),
    output:
        **figure("latents_{model}", "Images"),
    log:
        "<results>/logs/plot_latents/{model}.log",
    benchmark:
        "<results>/benchmarks/plot_latents/{model}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=1000, runtime=10),
    shell:
        "python {input.script:q} --latents {input.latents:q} --output {output.png:q} > {log:q} 2>&1"


rule plot_interpolation:
    input:
        **stage("plot_interpolation"),
        latents=of_first_seed("latents.npz"),
        table=of_first_seed("interpolation.csv"),
    output:
        **figure("interpolation_{model}", "Images"),
    log:
        "<results>/logs/plot_interpolation/{model}.log",
    benchmark:
        "<results>/benchmarks/plot_interpolation/{model}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=1000, runtime=10),
    shell:
        "python {input.script:q} --latents {input.latents:q} --table {input.table:q} --output {output.png:q} > {log:q} 2>&1"


rule plot_reconstructions:
    input:
        **stage("plot_reconstructions"),
        images=of_first_seed("reconstructions.npz"),
    output:
        **figure("reconstructions_{model}", "Images", "image_reconstructions"),
    log:
        "<results>/logs/plot_reconstructions/{model}.log",
    benchmark:
        "<results>/benchmarks/plot_reconstructions/{model}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=1000, runtime=10),
    shell:
        "python {input.script:q} --images {input.images:q} --output {output.png:q} > {log:q} 2>&1"


rule plot_samples:
    input:
        **stage("plot_samples"),
        samples=expand("<results>/samples/{model}", model=IMAGE_MODELS),
        data=prepared("images"),
    output:
        **figure("samples", "Images", "image_samples"),
    log:
        "<results>/logs/plot_samples.log",
    benchmark:
        "<results>/benchmarks/plot_samples.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=1000, runtime=10),
    params:
        names=" ".join(IMAGE_MODELS),
    shell:
        "python {input.script:q} --samples {input.samples:q} --names {params.names} --data {input.data:q}"
        " --output {output.png:q} > {log:q} 2>&1"


rule plot_image_statistics:
    input:
        **stage("plot_image_statistics"),
        statistics=firsts(rules.evaluate_samples.output.statistics, IMAGE_MODELS),
        spectra=firsts(rules.evaluate_samples.output.spectrum, IMAGE_MODELS),
    output:
        **figure("image_statistics", "Images"),
    log:
        "<results>/logs/plot_image_statistics.log",
    benchmark:
        "<results>/benchmarks/plot_image_statistics.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=1000, runtime=10),
    shell:
        "python {input.script:q} --statistics {input.statistics:q} --spectra {input.spectra:q} --output {output.png:q} > {log:q} 2>&1"


rule plot_fid:
    input:
        **stage("plot_fid"),
        scores=expand(rules.summarise_fid.output.json, model=IMAGE_MODELS),
    output:
        **figure("fid", "Images"),
    log:
        "<results>/logs/plot_fid.log",
    benchmark:
        "<results>/benchmarks/plot_fid.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=1000, runtime=10),
    shell:
        "python {input.script:q} --scores {input.scores:q} --output {output.png:q} > {log:q} 2>&1"


rule images:
    input:
        raw_files("images"),
        prepared("images"),
        classifier_weights(),
        rules.evaluate_classifier.output,
        rules.plot_confusion.output,
        runs("<results>/runs/{model}/seed{seed}/model.safetensors", with_network("generator")),
        runs("<results>/runs/{model}/seed{seed}/samples", IMAGE_MODELS),
        runs(rules.import_samples.output, of_kind("samples", "external")),
        runs(rules.score_fid.output, IMAGE_MODELS),
        runs(rules.evaluate_samples.output, IMAGE_MODELS),
        firsts(rules.explore_latents.output, with_network("generator")),
        expand(rules.publish_samples.output, model=IMAGE_MODELS),
        expand(rules.summarise_fid.output, model=IMAGE_MODELS),
        expand(rules.plot_latents.output, model=with_network("generator")),
        expand(rules.plot_interpolation.output, model=with_network("generator")),
        expand(rules.plot_learning_curves.output, run=with_network("encoder")),
        firsts(rules.reconstruct_images.output, with_network("encoder")),
        expand(rules.plot_reconstructions.output, model=with_network("encoder")),
        expand(rules.plot_gan_training.output, model=with_network("critic")),
        comparisons(rules.plot_samples, rules.plot_image_statistics, rules.plot_fid),
