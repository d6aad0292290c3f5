from snakemake.utils import min_version

min_version("9.27")


configfile: str(workflow.current_basedir.join("config.yaml"))


# Long jobs have high priorities: else one may begin last, and run alone.
include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/divergences.smk"
include: "workflow/rules/likelihood.smk"
include: "workflow/rules/images.smk"
include: "workflow/rules/metrics.smk"
include: "workflow/rules/report.smk"


# A target rule lists intermediate results too: a failed rerun of one of them must not
# leave an older number behind that looks current.
rule all:
    default_target: True
    input:
        rules.data.input,
        rules.divergences.input,
        rules.likelihood.input,
        rules.images.input,
        rules.metrics.input,
        rules.write_up.input,
