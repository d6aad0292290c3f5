rule estimate_divergences:
    input:
        **stage("estimate_divergences"),
    output:
        table="<results>/divergences.csv",
        summary="<results>/divergences.json",
    log:
        "<results>/logs/estimate_divergences.log",
    benchmark:
        "<results>/benchmarks/estimate_divergences.tsv"
    priority: 60
    conda:
        "../envs/torch.yaml"
    threads: config["threads"]
    resources:
        **growing(mem_mb=2000),
        runtime=20,
    params:
        settings=options(config["divergences"]["estimation"]),
        seeds=config["divergences"]["seeds"],
        limit=time_limit,
    shell:
        "python {input.script:q} --output {output.table:q} --seeds {params.seeds} --threads {threads}"
        " --max-seconds {params.limit} {params.settings} > {log:q} 2>&1"


rule plot_divergences:
    input:
        **stage("plot_divergences"),
        table=rules.estimate_divergences.output.table,
        summary=rules.estimate_divergences.output.summary,
    output:
        **figure("divergences", "Divergences"),
    log:
        "<results>/logs/plot_divergences.log",
    benchmark:
        "<results>/benchmarks/plot_divergences.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=1000, runtime=10),
    shell:
        "python {input.script:q} --table {input.table:q} --summary {input.summary:q} --output {output.png:q} > {log:q} 2>&1"


rule estimate_density:
    input:
        **stage("estimate_density"),
    output:
        table="<results>/density.csv",
        summary="<results>/density.json",
        histogram="<results>/density_histogram.csv",
    log:
        "<results>/logs/estimate_density.log",
    benchmark:
        "<results>/benchmarks/estimate_density.tsv"
    priority: 60
    conda:
        "../envs/torch.yaml"
    threads: config["threads"]
    resources:
        **growing(mem_mb=2000),
        runtime=20,
    params:
        settings=options(config["divergences"]["density"]),
        seeds=config["divergences"]["seeds"],
        limit=time_limit,
    shell:
        "python {input.script:q} --output {output.table:q} --seeds {params.seeds} --threads {threads}"
        " --max-seconds {params.limit} {params.settings} > {log:q} 2>&1"


rule plot_density:
    input:
        **stage("plot_density"),
        table=rules.estimate_density.output.table,
        summary=rules.estimate_density.output.summary,
        histogram=rules.estimate_density.output.histogram,
    output:
        **figure("density", "Divergences"),
    log:
        "<results>/logs/plot_density.log",
    benchmark:
        "<results>/benchmarks/plot_density.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=1000, runtime=10),
    shell:
        "python {input.script:q} --table {input.table:q} --summary {input.summary:q} --histogram {input.histogram:q}"
        " --output {output.png:q} > {log:q} 2>&1"


rule divergences:
    input:
        rules.estimate_divergences.output,
        rules.plot_divergences.output,
        rules.estimate_density.output,
        rules.plot_density.output,
