"""From the option `policy` to a policy object: one name, or a chain of names.

Invariant: an explicit user size wins over learning. When the user sets a count or a budget and names no
policy, that count or budget is what is used.
"""

from __future__ import annotations

from microbatch.errors import ConfigError
from microbatch.extend.chain import Chain, checked
from microbatch.extend.protocols import SizingPolicy
from microbatch.loading.plugins import Plugins
from microbatch.options.sources import Resolved


def policy_for(resolved: Resolved, plugins: Plugins) -> SizingPolicy:
    """The policy for these options; raises UnknownNameError with the near match."""
    names = policy_names(resolved)
    if len(names) == 1:
        return checked(plugins.policy(names[0]), names[0])
    return Chain([(name, plugins.policy(name)) for name in names])


def policy_names(resolved: Resolved) -> tuple[str, ...]:
    """Names of the policies in the order they are asked."""
    if not resolved.explicit("policy"):
        chosen = [
            name
            for name, field in (("fixed", "num_ubatches"), ("tokens", "max_tokens_per_ubatch"))
            if resolved.explicit(field)
        ]
        if chosen:
            return tuple(chosen)
    names = tuple(part.strip() for part in resolved.config.policy.split(",") if part.strip())
    if not names:
        raise ConfigError("policy is empty; name one, such as 'auto'")
    return names
