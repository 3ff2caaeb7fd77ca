"""Settings of all sites at once: `attention=relu` for three attentions, `ffn=gelu` for two FFNs."""

from hydra.core.override_parser.overrides_parser import OverridesParser

from reluformer.analysis.ffn import FFN_SITES
from reluformer.errors import UserError
from reluformer.model.transformer import SITES


def at_sites(override: str) -> list[str]:
    """`attention=relu` and `attention.center=row` at the three sites, `ffn` at the two."""
    key, equals, value = override.partition("=")
    group, dot, setting = key.partition(".")
    sites = {"attention": SITES, "ffn": FFN_SITES}.get(group)
    if not equals or sites is None:
        return [override]
    if dot:
        return [f"model.{site}.{setting}={value}" for site in sites]
    return [f"{group}@model.{site}={value}" for site in sites]


def is_sweep(override: str) -> bool:
    """Whether it stands for several values, such as a,b or glob(*)."""
    return OverridesParser.create().parse_override(override).is_sweep_override()


def at_all_sites(overrides: list[str], multirun: bool) -> list[str]:
    """A command line, in which what names a single site comes before what stands for all of them.

    Raises UserError for several values at once, which Hydra would take for a grid of the sites.
    """
    named = {override.partition("=")[0] for override in overrides}
    found = []
    for override in overrides:
        parts = at_sites(override)
        if len(parts) > 1 and multirun and is_sweep(parts[0]):
            raise UserError(
                f"`{override}` with -m would mix values between the sites: a comparison runs one "
                "after another (reluformer-compare), or name a site: " + parts[0].partition("=")[0]
            )
        found += [part for part in parts if part == override or part.partition("=")[0] not in named]
    return found
