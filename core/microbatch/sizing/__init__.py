"""How large a ubatch may be: ask the policy, enforce the bounds, recover from memory, report."""
