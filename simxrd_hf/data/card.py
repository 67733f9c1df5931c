"""The dataset card."""
from simxrd_hf.data.parquet import write_whole
from simxrd_hf.data.plan import GLOBS
def describe(job, *, title="SimXRD", licence="other"):
    lines=["---","configs:"]
    for c in job.recipe.configs:
        lines+=[f"- config_name: {c}","  data_files:"]
        for s,g in GLOBS[c].items(): lines+=[f"  - split: {s}",f'    path: "{g}"']
    lines+=["---","","# "+title,""]
    write_whole(job.work/"README.md","\n".join(lines))
