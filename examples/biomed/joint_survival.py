# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # One survival analysis over four hospitals, none of which shares a patient
#
# Two hospitals in Suzhou and two centres in Singapore treated women with node-positive breast cancer. They want to
# know whether hormone therapy prolongs recurrence-free survival. Each has about 170 patients: too few alone. None
# may hand its records to another, and a border lies between them.
#
# This notebook asks the question once and gets the answer that all 686 patients together give.
#
# ## Before anything else: what leaves, who sees it, what is not protected
#
# **What leaves a hospital.** Not a row, not a patient id. In each round a hospital adds up numbers over its own
# patients (how many had an event in an interval; the slope of the likelihood) and hides them under random masks that
# cancel in the sum of all four. What travels is the masked numbers, keys, and signatures. The list is at the end, in
# bytes.
#
# **Who sees what.** All four hospitals see each round's *exact total* over the four, small cells included. What is
# published is made of those totals, and small cells are merged or withheld first.
#
# **What the protocol does not protect.**
#
# - *Hospitals that work together.* Two of them can subtract their own part and see the total of the other two. Three
#   of them see the fourth's totals. The grid of 180 days, finer than the intervals that are published, is part of
#   what they see.
# - *Lies.* A hospital that enters wrong numbers gets a wrong answer for everyone, and nobody notices.
# - *The answer itself.* There is no differential privacy here: the published numbers are exact.
# - *The law.* The decision below is the outcome of rule packs, not legal advice.
#
# **What is pretended.** The patients are those of a public German trial (GBSG2), dealt out to four made-up
# hospitals, and the grade "level 4" is put on so that the rules have something to say.

# %%
from pathlib import Path

import matplotlib.pyplot as plt

import xbcompute as xb
from xbcompute.client import plots

folder = Path("gbsg2") if Path("gbsg2").is_dir() else Path("examples/biomed/gbsg2")
study = xb.Study.load(folder / "study.toml")
study

# %% [markdown]
# ## The question is a file
#
# Each hospital reads it before it agrees to anything: what is asked, for what purpose, who gets the answer.

# %%
print((folder / "study.toml").read_text(encoding="utf-8").split("[[analysis]]", 1)[0])

# %% [markdown]
# ## Ask what policy says, then run
#
# `simulate` starts one process a hospital on this machine, each with its own data, certificate and ledger; they talk
# over mutual TLS as they would across the border. Each looks at the study under its own jurisdiction's rules, and
# the strictest answer wins.
#
# [V], [V2], [M] and [D] say how far a rule can be trusted: read in the law itself, read second hand, from memory, or
# a choice of this project.

# %%
with xb.simulate(folder) as hospitals:
    decision = hospitals.explain(study)
    run = hospitals.run(study)

decision

# %% [markdown]
# ## The patients
#
# The first table of any paper. No minimum and no maximum, since those belong to one patient.

# %%
run["baseline"].summary

# %%
run["grade"]

# %% [markdown]
# ## Kaplan–Meier
#
# An interval is published only when both curves have at least ten events in it and at least ten patients who left
# without one; otherwise it is merged with the next. So the curves step at the ends of five intervals. A number at
# risk stands at the start of its interval.
#
# Read the last step with care: in a long interval, whoever left early counts as at risk to its end, and that holds a
# curve up. A finer grid would be truer and would show more; with more patients the rule gives a finer one by itself.

# %%
groups = {"no": "no hormone therapy", "yes": "hormone therapy"}
_ = plots.kaplan_meier(run["km"], labels=groups, time_label="days", survival_label="recurrence-free survival")

# %%
run["km"]

# %%
run["km"].curve("yes")

# %% [markdown]
# ## Cox model
#
# Each hospital keeps a baseline hazard of its own, so that a difference between hospitals is not mistaken for an
# effect. The columns are those of lifelines.

# %%
run["cox"].summary.to_pandas().round(4)

# %%
names = {
    "horTh[T.yes]": "hormone therapy, at age 0",
    "age": "age, by year",
    "tsize": "tumour size, by mm",
    "tgrade[T.II]": "grade II to I",
    "tgrade[T.III]": "grade III to I",
    "log_nodes": "log(1 + positive nodes)",
    "age:horTh[T.yes]": "age × hormone therapy",
}
_ = plots.forest(run["cox"], labels=names)

# %% [markdown]
# The model has an interaction with age, so "hormone therapy" alone is its effect at age 0, which nobody is. At 55
# years it is

# %%
import math

effect = run["cox"].coef["horTh[T.yes]"] + 55 * run["cox"].coef["age:horTh[T.yes]"]
print(f"hazard ratio of hormone therapy at 55 years: {math.exp(effect):.2f}")
print("\n".join(run["cox"].details()))

# %% [markdown]
# ## Is it right?
#
# Here, and only here, we can look: the data are public, so we can do what the hospitals may not, and put all rows
# into one table. lifelines, fitted tightly on that table with the hospital as stratum, must give the same
# coefficients.

# %%
import numpy as np
import pandas as pd
from lifelines import CoxPHFitter

tables = [pd.read_csv(file).assign(hospital=file.parent.name) for file in sorted(folder.glob("sites/*/gbsg2.csv"))]
rows = pd.concat(tables, ignore_index=True)
design = pd.DataFrame(
    {
        "horTh[T.yes]": (rows["horTh"] == "yes").astype(float),
        "age": rows["age"],
        "tsize": rows["tsize"],
        "tgrade[T.II]": (rows["tgrade"] == "II").astype(float),
        "tgrade[T.III]": (rows["tgrade"] == "III").astype(float),
        "log_nodes": np.log1p(rows["pnodes"]),
        "age:horTh[T.yes]": rows["age"] * (rows["horTh"] == "yes"),
        "time": rows["time"],
        "cens": rows["cens"],
        "hospital": rows["hospital"],
    }
)
tight = {"precision": 1e-14, "r_precision": 1e-14}
pooled = CoxPHFitter().fit(design, "time", "cens", strata=["hospital"], fit_options=tight)
side = pd.DataFrame({"joint": run["cox"].summary["coef"], "pooled": pooled.params_})
side["difference"] = side["joint"] - side["pooled"]
print(f"largest difference: {side['difference'].abs().max():.0e}")
side.round(6)[["joint", "pooled"]]

# %% [markdown]
# ## What left
#
# Every message went through each hospital's gate, which counted it and wrote it down. `opened-total` has no bytes of
# its own: it is what the masked numbers added up to, and the hospitals learnt it.

# %%
left = run.crossings.to_pandas().groupby(["kind", "grade"])[["frames", "bytes"]].sum()
left

# %%
_ = plots.crossings(run)

# %% [markdown]
# The record of the run is in each hospital's ledger, signed, and countersigned by the others; anyone with the public
# keys can check a ledger's file without asking its owner.

# %%
run.ledger

# %% [markdown]
# ## What policy refuses
#
# The same study with one more wish, the rows themselves:

# %%
greedy = (folder / "study.toml").read_text(
    encoding="utf-8"
) + '\n[[analysis]]\nid = "rows"\nkind = "extract"\ncolumns = ["age", "time"]\n'
asked = Path("study_with_rows.toml")
asked.write_text(greedy, encoding="utf-8")
with xb.simulate(folder, in_process=True) as hospitals:
    refused = hospitals.explain(xb.Study.load(asked))
asked.unlink()
plt.close("all")
print(refused.verdict)
print(refused.reasons("en")[0])
print(refused.reasons("zh")[0])
