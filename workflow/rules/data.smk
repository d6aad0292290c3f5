rule fetch:
    input:
        **stage("fetch"),
    output:
        "<resources>/official/{file}",
    log:
        "<results>/logs/fetch/{file}.log",
    benchmark:
        "<results>/benchmarks/fetch/{file}.tsv"
    retries: 1
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=500, runtime=120),
    params:
        options=lambda wildcards: fetch_options(wildcards.file),
        # A function of the output is no reason to rerun: a mirror says where from, not what.
        mirrors=lambda wildcards, output: shlex.join(config["data"]["mirrors"]),
    shell:
        "python {input.script:q} --output {output:q} {params.options} --mirror {params.mirrors} > {log:q} 2>&1"


rule render_digits:
    input:
        **stage("render_digits"),
    output:
        "<resources>/embedded/{file}",
    log:
        "<results>/logs/render_digits/{file}.log",
    benchmark:
        "<results>/benchmarks/render_digits/{file}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=2000, runtime=30),
    params:
        options=lambda wildcards: render_options(wildcards.file),
    shell:
        "python {input.script:q} --output {output:q} {params.options} > {log:q} 2>&1"


rule prepare_binarized_mnist:
    input:
        **stage("prepare_binarized_mnist"),
        train=data_file("binarized_mnist", "train"),
        valid=data_file("binarized_mnist", "valid"),
        test=data_file("binarized_mnist", "test"),
    output:
        prepared("binarized_mnist"),
    log:
        "<results>/logs/prepare_binarized_mnist.log",
    benchmark:
        "<results>/benchmarks/prepare_binarized_mnist.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=1000, runtime=15),
    params:
        source=config["data"]["binarized_mnist"]["source"],
    shell:
        "python {input.script:q} --train {input.train:q} --valid {input.valid:q} --test {input.test:q}"
        " --source {params.source} --output {output:q} > {log:q} 2>&1"


# Two ways to the prepared images: from SVHN or its stand-in, or from folders of one's own.
rule prepare_svhn:
    input:
        **stage("prepare_svhn"),
        train=data_file("images", "train"),
        test=data_file("images", "test"),
    output:
        prepared_svhn(),
    log:
        "<results>/logs/prepare_svhn.log",
    benchmark:
        "<results>/benchmarks/prepare_svhn.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=2000, runtime=15),
    params:
        source=config["data"]["images"]["source"],
        split=split_options(),
    shell:
        "python {input.script:q} --train {input.train:q} --test {input.test:q}"
        " --source {params.source} {params.split} --output {output:q} > {log:q} 2>&1"


# It comes first: what is wrong with the images shows before any training.
rule prepare_images:
    input:
        **stage("prepare_images"),
    output:
        prepared_own_images(),
    log:
        "<results>/logs/prepare_images.log",
    benchmark:
        "<results>/benchmarks/prepare_images.tsv"
    priority: 100
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=3000, runtime=60),
    params:
        own=lambda wildcards: own_image_options(),  # reads the images, so only for this job
        split=split_options(),
    shell:
        "python {input.script:q} {params.own[options]} {params.split} --output {output:q} > {log:q} 2>&1"


rule plot_data:
    input:
        **stage("plot_data"),
        binarized_mnist=prepared("binarized_mnist"),
        images=prepared("images"),
    output:
        **figure("data", "Data"),
    log:
        "<results>/logs/plot_data.log",
    benchmark:
        "<results>/benchmarks/plot_data.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=1000, runtime=15),
    shell:
        "python {input.script:q} --binarized-mnist {input.binarized_mnist:q} --images {input.images:q}"
        " --output {output.png:q} > {log:q} 2>&1"


rule data:
    input:
        raw_files("binarized_mnist"),
        raw_files("images"),
        prepared("binarized_mnist"),
        prepared("images"),
        rules.plot_data.output,
