"""From the option `policy` to a policy object: one name, or a chain of names.

Invariant: an explicit user size wins over learning. When the user sets a count or a budget and names no
policy, that count or budget is what is used; a budget that was set also caps what a named policy answers.
Ubatches that take turns are for overlap, which needs a number of them and no best size, so `pingpong` follows
the count where no policy is named.
"""

from __future__ import annotations

from microbatch.errors import ConfigError
from microbatch.extend.chain import Chain, checked
from microbatch.extend.protocols import SizingPolicy
from microbatch.loading.plugins import Plugins
from microbatch.options.policy_options import options_of
from microbatch.options.sources import Resolved


def policy_for(resolved: Resolved, plugins: Plugins) -> SizingPolicy:
    """The policy for these options; raises UnknownNameError with the near match."""
    names = policy_names(resolved)
    given = resolved.config.policy_options
    made = [(name, plugins.policy(name, **options_of(given, name, names))) for name in names]
    return checked(made[0][1], made[0][0]) if len(made) == 1 else Chain(made)


def policy_names(resolved: Resolved) -> tuple[str, ...]:
    """Names of the policies in the order they are asked."""
    if not resolved.explicit("policy"):
        counted = resolved.explicit("num_ubatches") or resolved.config.schedule == "pingpong"
        budget = cap_set(resolved) is not None
        chosen = [name for name, asked in (("fixed", counted), ("tokens", budget)) if asked]
        if chosen:
            return tuple(chosen)
    names = tuple(part.strip() for part in resolved.config.policy.split(",") if part.strip())
    if not names:
        raise ConfigError("policy is empty; name one, such as 'auto'")
    return names


def cap_set(resolved: Resolved) -> int | None:
    """The budget of a ubatch where the user set it, anyhow; None for the default."""
    return resolved.config.max_tokens_per_ubatch if resolved.explicit("max_tokens_per_ubatch") else None
