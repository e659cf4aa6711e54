"""What recorded steps did when: who records it, the bars, the figures, the pictures, and what a doctor says.

Here lives everything that looks at a step from outside; nothing here decides how a step runs.
"""
