# The whole run, as the stages of the report find it in the results folder.
run_files = [target.input for target in (rules.data, rules.divergences, rules.likelihood, rules.images, rules.metrics)]


# The configuration with all its defaults, for stages that need all of it: a command would be too long for it. The
# file changes with its content alone, and it is written here and not when rules are read: a dry run writes nothing,
# and a storage gets the file as any other. A template, because Snakemake starts `run` by an interpreter whose path it
# does not quote.
rule write_configuration:
    input:
        source_files("report", "configuration.json"),
    output:
        "<results>/configuration.json",
    log:
        "<results>/logs/write_configuration.log",
    localrule: True
    params:
        # A function, whose text is taken as it is: a program's command holds {output}.
        configuration=lambda wildcards: json.dumps(config, indent=2, allow_nan=False),
    template_engine:
        "jinja2"


rule plot_workflow:
    input:
        **stage("plot_workflow"),
        rules=source_files("rules", "*.smk"),
        configuration=rules.write_configuration.output,
    output:
        **figure("workflow", "Provenance"),
    log:
        "<results>/logs/plot_workflow.log",
    benchmark:
        "<results>/benchmarks/plot_workflow.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=1000, runtime=10),
    params:
        # Functions of the output are no reason to rerun: where the project and Python lie says nothing of the graph.
        python=lambda wildcards, output: sys.executable,
        snakefile=lambda wildcards, output: str(SCRIPTS.parent / "Snakefile"),
    shell:
        "{params.python:q} -m snakemake all --forceall --rulegraph dot --snakefile {params.snakefile:q}"
        " --replace-workflow-config --configfile {input.configuration:q} 2> {log:q} | python {input.script:q} --graph -"
        " --omit all plot_workflow export_tables write_configuration write_report --output {output.png:q} 2>> {log:q}"


rule export_tables:
    input:
        **stage("export_tables"),
        run=run_files,
        upstream_code=code(*computing_stages()),
        configuration=rules.write_configuration.output,
    output:
        expand("<results>/tables/{table}.{suffix}", table=TABLES, suffix=("md", "tex")),
    log:
        "<results>/logs/export_tables.log",
    benchmark:
        "<results>/benchmarks/export_tables.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=500, runtime=10),
    params:
        tables=lambda wildcards, output: os.path.dirname(output[0]),
    shell:
        "python {input.script:q} --results {params.tables:q}/.. --configuration {input.configuration:q}"
        " --output {params.tables:q} > {log:q} 2>&1"


rule write_report:
    input:
        **stage("write_report"),
        run=run_files,
        upstream_code=code(*computing_stages()),
        configuration=rules.write_configuration.output,
        tables=rules.export_tables.output,
        figures=figure_files(),
        workflow=rules.plot_workflow.output,
        data=prepared("images"),
        page=source_files("report", "*"),
    output:
        report("<results>/report.html", caption="../report/report.rst", category="Report"),
    log:
        "<results>/logs/write_report.log",
    benchmark:
        "<results>/benchmarks/write_report.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=1000, runtime=10),
    params:
        results=lambda wildcards, output: os.path.dirname(output[0]),
    shell:
        "python {input.script:q} --results {params.results:q} --configuration {input.configuration:q}"
        " --data {input.data:q} --output {output:q} > {log:q} 2>&1"


rule write_up:
    input:
        rules.write_configuration.output,
        rules.plot_workflow.output,
        rules.export_tables.output,
        rules.write_report.output,


# Prints the main numbers of this run, wherever its results lie, whether or not anything else had to be done.
rule numbers:
    input:
        table="<results>/tables/acceptance.md",
        scores=expand(rules.summarise_fid.output.text, model=IMAGE_MODELS),
        report=rules.write_report.output,
    log:
        "<results>/logs/numbers.log",
    localrule: True
    conda:
        "../envs/data.yaml"
    resources:
        **growing(mem_mb=100, runtime=5),
    shell:
        "(tail -n +2 {input.table:q}; echo;"
        ' for file in {input.scores:q}; do head -n 1 "$file"; done; echo;'
        " echo The report: {input.report:q}) > {log:q} && cat {log:q}"
