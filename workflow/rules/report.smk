# The whole run, as the stages of the report find it in the results folder.
run_files = [
    rules.data.input,
    rules.divergences.input,
    rules.likelihood.input,
    rules.images.input,
    rules.metrics.input,
]


rule plot_workflow:
    input:
        **stage("plot_workflow"),
        rules=source_files("rules", "*.smk"),
    output:
        png=report("<results>/figures/workflow.png", caption="../report/workflow.rst", category="Provenance"),
        pdf="<results>/figures/workflow.pdf",
    log:
        "<results>/logs/plot_workflow.log",
    benchmark:
        "<results>/benchmarks/plot_workflow.tsv"
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        configuration=json.dumps(config),
        # Functions of the output are no reason to rerun: where the project and Python lie says nothing of the graph.
        python=lambda wildcards, output: sys.executable,
        snakefile=lambda wildcards, output: str(SCRIPTS.parent / "Snakefile"),
    shell:
        "{params.python:q} -m snakemake all --forceall --rulegraph dot --snakefile {params.snakefile:q}"
        " --replace-workflow-config --configfile <(echo {params.configuration:q}) 2> {log:q}"
        " | python {input.script:q} --graph - --omit all plot_workflow export_tables write_report --output {output.png:q} 2>> {log:q}"


rule export_tables:
    input:
        **stage("export_tables"),
        run=run_files,
        upstream_code=code(*computing_stages()),
    output:
        expand("<results>/tables/{table}.{suffix}", table=TABLES, suffix=("md", "tex")),
    log:
        "<results>/logs/export_tables.log",
    benchmark:
        "<results>/benchmarks/export_tables.tsv"
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(10),
    params:
        configuration=json.dumps(config),
        tables=lambda wildcards, output: os.path.dirname(output[0]),
    shell:
        "echo {params.configuration:q} | python {input.script:q} --results {params.tables:q}/.. --configuration -"
        " --output {params.tables:q} > {log:q} 2>&1"


rule write_report:
    input:
        **stage("write_report"),
        run=run_files,
        upstream_code=code(*computing_stages()),
        tables=rules.export_tables.output,
        figures=figure_files(),
        workflow=rules.plot_workflow.output,
        data=prepared("svhn"),
        page=source_files("report", "*"),
    output:
        report("<results>/report.html", caption="../report/report.rst", category="Report"),
    log:
        "<results>/logs/write_report.log",
    benchmark:
        "<results>/benchmarks/write_report.tsv"
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        configuration=json.dumps(config),
        results=lambda wildcards, output: os.path.dirname(output[0]),
    shell:
        "echo {params.configuration:q} | python {input.script:q} --results {params.results:q} --configuration -"
        " --data {input.data:q} --output {output:q} > {log:q} 2>&1"


rule write_up:
    input:
        rules.plot_workflow.output,
        rules.export_tables.output,
        rules.write_report.output,


# Prints the main numbers of this run, wherever its results lie, whether or not anything else had to be done.
rule numbers:
    input:
        likelihoods=expand(rules.summarise_likelihood.output.text, model=BINARY_MODELS),
        scores=expand(rules.summarise_fid.output.text, model=IMAGE_MODELS),
        report=rules.write_report.output,
    log:
        "<results>/logs/numbers.log",
    localrule: True
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=growing(100),
        runtime=growing(5),
    shell:
        '(for file in {input.likelihoods:q}; do echo; cat "$file"; done; echo;'
        ' for file in {input.scores:q}; do head -n 1 "$file"; done; echo;'
        " echo The report: {input.report:q}) | tee {log:q}"
