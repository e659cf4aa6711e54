"""The way of one step: device, plan, the parts, recovery, memory guard, outcome, report.

Nothing here cuts, joins or waits by itself: it calls the rooms that do, in order.
"""
