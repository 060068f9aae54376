"""How fast the tunnel is, beside others on the same machine in the same run.

Each contender joins two network namespaces in its own way; the same load then goes
through each, one after the other and round by round, so that what disturbs the machine
disturbs all of them. Figures of different runs or machines are not comparable; the
ratios of one run are.
"""
